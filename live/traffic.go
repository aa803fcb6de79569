package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/load/remote"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// agentPort is where the agents of test Pods listen, on their localhost.
const agentPort = 15099

const clientName = "windtunnel-client"

func (w *World) clientNamespace() string { return w.names.suffix + "-outside" }

func usesClient(s *spec.Scenario) bool {
	return slices.ContainsFunc(s.Steps, func(st spec.Step) bool {
		from := ""
		if st.Request != nil {
			from = st.Request.From
		} else if st.Load != nil {
			from = st.Load.From
		}
		return from == fromIngress || from == fromOutside
	})
}

// startClient runs the Pod of the clients outside the mesh.
func (w *World) startClient(ctx context.Context) error {
	if err := w.makeNamespace(ctx, w.clientNamespace(), map[string]string{"istio-injection": "disabled"}); err != nil {
		return err
	}
	return w.runPod(ctx, clientName, map[string]any{"terminationGracePeriodSeconds": int64(1), "containers": []any{map[string]any{
		"name": "client", "image": w.env.ClientImage, "imagePullPolicy": "IfNotPresent", "args": []any{"agent"}}}})
}

// account waits for the account of a new namespace, which is made after it.
func (w *World) account(ctx context.Context, namespace string) error {
	return w.until(ctx, func() (string, error) {
		found, err := w.client.Get(ctx, kube.Resource("v1", "ServiceAccount"), namespace, "default")
		if found == nil {
			return "the namespace " + namespace + " has no account", err
		}
		return "", err
	})
}

func forwardKey(p *pod, port int) string { return fmt.Sprintf("%s/%s/%d", p.Namespace, p.Name, port) }

// forwards are the ways to ports of Pods.
type forwards struct {
	mu        sync.Mutex
	addresses map[string]string // by namespace/pod/port
}

// forward leads to a port of a Pod for as long as the world lives.
func (w *World) forward(p *pod, port int) (string, error) {
	key := forwardKey(p, port)
	w.forwards.mu.Lock()
	address, ok := w.forwards.addresses[key]
	w.forwards.mu.Unlock()
	if ok {
		return address, nil
	}
	address, err := w.client.Forward(w.ctx, p.Namespace, p.Name, port)
	if err == nil {
		w.forwards.mu.Lock()
		w.forwards.addresses[key] = address
		w.forwards.mu.Unlock()
	}
	return address, err
}

// forget drops a way that leads nowhere any more: the next one is made anew.
func (w *World) forget(p *pod, port int) {
	w.forwards.mu.Lock()
	defer w.forwards.mu.Unlock()
	delete(w.forwards.addresses, forwardKey(p, port))
}

// origin is where calls come from.
type origin struct {
	pod   string // empty outside the mesh
	agent string // address of its agent
	via   string // what is dialled in place of the URL's host
}

// hostPort is where a URL leads.
func hostPort(target string) (host, port string, err error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", "", err
	}
	if port = u.Port(); port != "" {
		return u.Hostname(), port, nil
	}
	if u.Scheme == "https" || u.Scheme == "wss" {
		return u.Hostname(), "443", nil
	}
	return u.Hostname(), "80", nil
}

func (w *World) origin(ctx context.Context, from, target string) (origin, error) {
	var o origin
	p := &pod{Pod: emptyPod(w.clientNamespace())}
	p.Name = clientName
	switch from {
	case fromIngress, fromOutside:
		host, port, err := hostPort(target)
		if err != nil {
			return o, err
		}
		switch {
		case from == fromIngress:
			at, err := w.ingress(ctx, w.names.host(host), port)
			if err != nil {
				return o, err
			}
			host = at.name + "." + at.namespace
		case !strings.Contains(host, "."):
			host += "." + w.names.namespace("") // where the scenario's names are short for
		default:
			host = w.names.host(host)
		}
		o.via = net.JoinHostPort(host, port)
	default:
		pods, err := w.podsOf(from)
		if err != nil {
			return o, err
		}
		p = pods[0]
		o.pod = p.Name
	}
	var err error
	o.agent, err = w.forward(p, agentPort)
	return o, err
}

// call makes what an agent is asked for.
func (w *World) call(target string, method string, headers map[string]string, body string, t *spec.TLS, protocol, via string) *remote.Call {
	w.sent++
	s := seed.New(w.seed).Sub("traffic").Uint64(fmt.Sprintf("%s/%d", w.names.suffix, w.sent))
	c := &remote.Call{URL: w.names.url(target), Method: method, Headers: w.headers(headers), Body: []byte(body), Seed: s, Protocol: protocol, Via: via}
	if t != nil {
		c.TLS = &load.TLS{SNI: t.SNI, CA: t.CA, Cert: t.Cert, Key: t.Key, Insecure: t.Mode == "insecure"}
	}
	return c
}

// headers are a call's, for the scenario's names in this cluster.
func (w *World) headers(headers map[string]string) map[string]string {
	var found map[string]string
	for k, v := range headers {
		if found == nil {
			found = make(map[string]string)
		}
		if strings.EqualFold(k, "host") {
			v = w.names.host(v)
		}
		found[k] = v
	}
	return found
}

// ask has the agent make the calls, and waits for their lines in the access logs.
func (w *World) ask(ctx context.Context, o origin, c *remote.Call) ([]run.Exchange, error) {
	found, err := remote.Ask(ctx, http.DefaultClient, "http://"+o.agent, c)
	if found == nil {
		return nil, err
	}
	list := make([]run.Exchange, len(found.Records))
	for i, r := range found.Records {
		list[i] = run.Exchange{RequestID: r.ID, Intended: r.Intended, Sent: r.Sent, Done: r.Done, Client: o.pod,
			Status: r.Status, GRPC: r.GRPC, Error: r.Error, Kind: r.Kind, Socket: r.Socket, Protocol: r.Protocol, Bytes: r.Bytes}
		if r.TLS != nil {
			list[i].TLS = &run.PeerTLS{Version: r.TLS.Version, Peer: r.TLS.Peer}
		}
	}
	if found.First != nil && len(list) > 0 {
		list[0].Headers = make(map[string]string, len(found.First.Headers))
		for k, v := range found.First.Headers {
			list[0].Headers[k] = w.names.scenario(v)
		}
		list[0].Body = w.names.scenario(string(found.First.Body))
	}
	if err != nil {
		return list, err
	}
	return list, w.arrived(ctx, list)
}

// Lines of the access logs come through the container runtime and the API server.
const (
	quiet        = 600 * time.Millisecond
	arrivalLimit = 10 * time.Second
)

// arrived waits until the log has a line of each call that was answered, and nothing new
// has come for a while.
func (w *World) arrived(ctx context.Context, calls []run.Exchange) error {
	want := make(map[string]bool, len(calls))
	for _, e := range calls {
		if !(e.Status == 0 && e.Error != "") {
			want[e.RequestID] = true
		}
	}
	begin, last, known, seen := time.Now(), time.Now(), 0, 0
	for time.Since(begin) < arrivalLimit {
		log := w.log.all()
		for _, s := range log[seen:] {
			delete(want, run.Untraced(s.RequestID))
		}
		seen = len(log)
		if seen != known {
			known, last = seen, time.Now()
		}
		if len(want) == 0 && time.Since(last) >= quiet || time.Since(last) >= 5*quiet {
			return nil
		}
		if err := w.Sleep(ctx, poll/4); err != nil {
			return err
		}
	}
	return nil
}

// Send implements run.World.
func (w *World) Send(ctx context.Context, r *spec.Request) ([]run.Exchange, error) {
	o, err := w.origin(ctx, r.From, r.URL)
	if err != nil {
		return nil, err
	}
	c := w.call(r.URL, r.Method, r.Headers, r.Body, r.TLS, r.Protocol, o.via)
	c.Filler, c.KeepOpen, c.Timeout = r.BodyBytes, r.KeepOpen, r.Timeout
	c.Send = &remote.Send{Count: r.Count, Parallel: r.Parallel, Interval: r.Interval}
	return w.ask(ctx, o, c)
}

// Load implements run.World.
func (w *World) Load(ctx context.Context, l *spec.Load) (run.Load, error) {
	o, err := w.origin(ctx, l.From, l.Addresses()[0])
	if err != nil {
		return nil, err
	}
	c := w.call(l.URL, l.Method, l.Headers, l.Body, l.TLS, l.Protocol, o.via)
	for i, u := range l.URLs {
		if i > 0 && o.via != "" {
			if next, err := w.origin(ctx, l.From, u.URL); err != nil || next.via != o.via {
				return nil, errors.Join(err, fmt.Errorf("load: from %s all URLs of a load have to lead to one host and port, %s is another", l.From, u.URL))
			}
		}
		c.URLs = append(c.URLs, load.URL{URL: w.names.url(u.URL), Method: u.Method, Headers: w.headers(u.Headers), Weight: u.Weight})
		if u.Body != "" {
			c.URLs[i].Body = []byte(u.Body)
		}
	}
	if len(c.URLs) > 0 {
		c.URL = ""
	}
	c.Load = &remote.Load{QPS: l.QPS, Connections: l.Connections, Calls: l.Calls, Duration: l.Duration, WarmUp: l.WarmUp,
		Shape: load.Shape{Jitter: l.Jitter, Arrival: l.Arrival}}
	for _, g := range l.Stages {
		c.Load.Shape.Stages = append(c.Load.Shape.Stages, load.Stage{From: g.From, To: g.To, Duration: g.Duration})
	}
	return run.Background(func() ([]run.Exchange, error) { return w.ask(ctx, o, c) }), nil
}
