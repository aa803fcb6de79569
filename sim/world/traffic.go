package world

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"

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

// dialIngress connects to the ingress gateway's Service, whatever host was asked
// for: outside, every name of the mesh resolves to the load balancer.
func (w *World) dialIngress(ctx context.Context, n netx.Network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	ip, ok := w.cluster.ServiceIP(systemNamespace, ingressGateway)
	if !ok {
		return nil, fmt.Errorf("there is no Service %s/%s", systemNamespace, ingressGateway)
	}
	return n.Dial(ctx, net.JoinHostPort(ip.String(), port))
}

// requestIDs makes the x-request-ids of one step: UUIDs that depend on the seed,
// the step and the call only.
func (w *World) requestIDs() func(thread int, call int64) string {
	s := w.o.Seed.Sub(fmt.Sprintf("request/%d", w.sent))
	w.sent++
	return func(thread int, call int64) string {
		var b [16]byte
		s.Bytes(fmt.Sprintf("%d/%d", thread, call), b[:])
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, variant 10 (RFC 9562)
		return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
	}
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	if u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("url %q: expected http://HOST[:PORT]/PATH", text)
	}
	return nil
}
