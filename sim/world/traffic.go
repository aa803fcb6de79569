package world

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Clients outside the cluster. Their addresses are private, as a node's is, which
// clients of a load balancer seem to come from.
const (
	fromIngress = "ingress" // through the ingress gateway
	fromOutside = "outside" // without a sidecar, straight at the Service
)

var (
	ingressClient = netip.MustParseAddr("192.168.65.10")
	outsideClient = netip.MustParseAddr("192.168.65.11")
)

// origin is where calls come from.
type origin struct {
	pod     string // empty outside the cluster
	network netx.Network
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
}

func (w *World) origin(from string) (origin, error) {
	switch from {
	case fromIngress:
		host, err := w.client(fromIngress, ingressClient)
		if err != nil {
			return origin{}, err
		}
		n := host.Network(appUser, appUser)
		return origin{network: n, dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return w.dialIngress(ctx, n, addr)
		}}, nil
	case fromOutside:
		host, err := w.client(fromOutside, outsideClient)
		if err != nil {
			return origin{}, err
		}
		return direct("", host.Network(appUser, appUser)), nil
	}
	nodes, err := w.podsOf(from)
	if err != nil {
		return origin{}, err
	}
	n := nodes[0]
	uid := appUser
	if len(n.pod.Spec.Containers) > 0 {
		for _, c := range n.pod.Spec.Containers {
			if c.Name != inject.ProxyContainer {
				uid = user(n.pod, c)
				break
			}
		}
	}
	return direct(n.pod.Name, n.host.Network(uid, uid)), nil
}

func direct(pod string, n netx.Network) origin {
	return origin{pod: pod, network: n, dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return n.Dial(ctx, addr)
	}}
}

// dialIngress connects to the Service of the gateway that has the host that was asked
// for: outside, the names of Gateways resolve to their load balancers.
func (w *World) dialIngress(ctx context.Context, n netx.Network, addr string) (net.Conn, error) {
	entry, err := w.ingressAddress(addr)
	if err != nil {
		return nil, err
	}
	return n.Dial(ctx, entry.String())
}

// Send implements run.World.
func (w *World) Send(ctx context.Context, r *spec.Request) ([]run.Exchange, error) {
	from, target, err := w.target(ctx, r.From, r.URL, r.Method, r.Headers)
	if err != nil {
		return nil, err
	}
	target.TLS, target.Protocol = clientTLS(r.TLS), r.Protocol
	target.Body = []byte(r.Body)
	target.Filler, target.KeepOpen = r.BodyBytes, r.KeepOpen
	target.Timeout = r.Timeout
	found, err := load.Send(ctx, load.SendOptions{Target: target, Count: r.Count, Parallel: r.Parallel, Interval: r.Interval})
	if found == nil {
		return nil, err
	}
	return exchanges(from.pod, found), err
}

// Load implements run.World.
func (w *World) Load(ctx context.Context, l *spec.Load) (run.Load, error) {
	from, target, err := w.target(ctx, l.From, l.URL, l.Method, l.Headers)
	if err != nil {
		return nil, err
	}
	o := LoadOptions(l)
	o.Dial, o.Seed = target.Dial, target.Seed
	return run.Background(func() ([]run.Exchange, error) {
		found, err := load.Run(ctx, o)
		if found == nil {
			return nil, err
		}
		return exchanges(from.pod, found), err
	}), nil
}

// LoadOptions are a load step's, but for where it begins (Dial) and its Seed.
func LoadOptions(l *spec.Load) load.Options {
	o := load.Options{
		Target: load.Target{URL: l.URL, Method: l.Method, Headers: l.Headers, Body: []byte(l.Body), TLS: clientTLS(l.TLS), Protocol: l.Protocol},
		QPS:    l.QPS, Connections: l.Connections, Calls: l.Calls, Duration: l.Duration, WarmUp: l.WarmUp,
		Shape: load.Shape{Jitter: l.Jitter, Arrival: l.Arrival},
	}
	for _, u := range l.URLs {
		of := load.URL{URL: u.URL, Method: u.Method, Headers: u.Headers, Weight: u.Weight}
		if u.Body != "" {
			of.Body = []byte(u.Body)
		}
		o.URLs = append(o.URLs, of)
	}
	for _, g := range l.Stages {
		o.Stages = append(o.Stages, load.Stage{From: g.From, To: g.To, Duration: g.Duration})
	}
	return o
}

// target is what the calls of one step have in common.
func (w *World) target(ctx context.Context, from, url, method string, headers map[string]string) (origin, load.Target, error) {
	leave, err := w.enter(ctx)
	if err != nil {
		return origin{}, load.Target{}, err
	}
	defer leave()
	o, err := w.origin(from)
	if err != nil {
		return origin{}, load.Target{}, err
	}
	w.sent++
	s := w.o.Seed.Sub(fmt.Sprintf("traffic/%d", w.sent))
	return o, load.Target{Dial: o.dial, URL: url, Method: method, Headers: headers, Seed: s}, nil
}

// clientTLS is what a step's client does itself.
func clientTLS(t *spec.TLS) *load.TLS {
	if t == nil {
		return nil
	}
	return &load.TLS{SNI: t.SNI, CA: t.CA, Cert: t.Cert, Key: t.Key, Insecure: t.Mode == "insecure"}
}

// exchanges are a load's records as the engine knows them.
func exchanges(pod string, found *load.Result) []run.Exchange {
	list := make([]run.Exchange, len(found.Records))
	for i, r := range found.Records {
		list[i] = run.Exchange{
			RequestID: r.ID, Intended: r.Intended, Sent: r.Sent, Done: r.Done, Client: pod,
			Status: r.Status, GRPC: r.GRPC, Error: r.Error, Kind: r.Kind, Socket: r.Socket, Protocol: r.Protocol, Bytes: r.Bytes,
		}
		if r.TLS != nil {
			list[i].TLS = &run.PeerTLS{Version: r.TLS.Version, Peer: r.TLS.Peer}
		}
	}
	if found.First != nil && len(list) > 0 {
		list[0].Headers, list[0].Body = found.First.Headers, string(found.First.Body)
	}
	return list
}

// Dialer connects as a workload does, or as a client outside ("ingress", "outside").
func (w *World) Dialer(from string) (load.Dialer, error) {
	o, err := w.origin(from)
	return o.dial, err
}
