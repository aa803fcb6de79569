package upstream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http1"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http2"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// prober makes the checks of one host, over one connection where that stays open. Its
// connections are not the pool's.
type prober struct {
	cluster *Cluster
	config  *snapshot.HealthCheck
	host    *Host

	conn   net.Conn // HTTP/1
	reader *http1.Reader
	writer *http1.Writer
	shared *http2.Client
	ended  chan struct{} // closed when shared has ended
}

func newProber(c *Cluster, o *snapshot.HealthCheck, h *Host) *prober {
	return &prober{cluster: c, config: o, host: h}
}

func (p *prober) close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
	if p.shared != nil {
		p.shared.Close()
		<-p.ended
		p.shared = nil
	}
}

// check makes one check within the timeout.
func (p *prober) check(ctx context.Context) checkResult {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	by := time.Now().Add(p.config.Timeout)
	var r checkResult
	switch {
	case p.config.TCP != nil:
		r = p.checkTCP(ctx, by)
	case p.config.GRPC != nil:
		r = p.checkGRPC(ctx, by)
	default:
		r = p.checkHTTP(ctx, by)
	}
	if r == unreachable || !p.config.Reuse {
		p.close()
	}
	return r
}

func (p *prober) dial(ctx context.Context, http bool, alpn []string) (net.Conn, bool) {
	c, failure := p.host.connect(ctx, p.target(), Want{ALPN: alpn}, http)
	return c, failure == nil
}

// target is where checks go. What an endpoint says about its own checks counts before
// what the cluster says about all of them (Envoy: Endpoint.HealthCheckConfig).
func (p *prober) target() netip.AddrPort {
	to, own := p.host.Target(), p.host.Endpoint().Check
	if own.Address.IsValid() {
		to = netip.AddrPortFrom(own.Address, to.Port())
	}
	if port := cmp.Or(own.Port, p.config.Port); port != 0 {
		to = netip.AddrPortFrom(to.Addr(), port)
	}
	return to
}

// authority is what a check asks for: the endpoint's, the check's, or the cluster's name.
func (p *prober) authority(checks string) string {
	return cmp.Or(p.host.Endpoint().Check.Hostname, checks, p.cluster.Name)
}

// checkTCP looks for the blocks in what arrives, in order; bytes between them do not matter.
func (p *prober) checkTCP(ctx context.Context, by time.Time) checkResult {
	if p.conn == nil {
		c, ok := p.dial(ctx, false, nil)
		if !ok {
			return unreachable
		}
		p.conn = c
	}
	stop := context.AfterFunc(ctx, func() { _ = p.conn.SetDeadline(past) })
	defer stop()
	_ = p.conn.SetDeadline(by)
	t := p.config.TCP
	if len(t.Send) == 0 && len(t.Receive) == 0 {
		p.close() // that it can be opened is all there is to see
		return passed
	}
	if _, err := p.conn.Write(t.Send); err != nil {
		return unreachable
	}
	var seen []byte
	buffer := make([]byte, 4096)
	for {
		rest, found := seen, 0
		for _, block := range t.Receive {
			i := bytes.Index(rest, block)
			if i < 0 {
				break
			}
			rest, found = rest[i+len(block):], found+1
		}
		if found == len(t.Receive) {
			return passed
		}
		n, err := p.conn.Read(buffer)
		if seen = append(seen, buffer[:n]...); err != nil && n == 0 {
			return unreachable
		}
	}
}

func (p *prober) checkHTTP(ctx context.Context, by time.Time) checkResult {
	o := p.config.HTTP
	q := &message.Request{Method: o.Method, Scheme: "http", Authority: p.authority(o.Host), Path: o.Path,
		Header: message.Header{{Name: "user-agent", Value: "Envoy/HC"}}}
	for _, h := range o.Headers {
		if h.Action == snapshot.AppendOrAdd {
			q.Header.Add(h.Name, h.Value)
		} else {
			q.Header.Set(h.Name, h.Value)
		}
	}
	status, _, ok := p.exchange(ctx, by, q, o.HTTP2)
	within := func(r snapshot.StatusRange) bool { return status >= r.From && status < r.To }
	switch {
	case !ok:
		return unreachable
	case slices.ContainsFunc(o.Expected, within):
		return passed
	case slices.ContainsFunc(o.Retriable, within):
		return unreachable
	default:
		return failed
	}
}

// serving is a HealthCheckResponse with the status SERVING, in a gRPC frame.
var serving = []byte{0, 0, 0, 0, 2, 0x08, 1}

func (p *prober) checkGRPC(ctx context.Context, by time.Time) checkResult {
	o := p.config.GRPC
	var m []byte // a HealthCheckRequest: field 1 is the service
	if o.Service != "" {
		m = append(binary.AppendUvarint([]byte{0x0a}, uint64(len(o.Service))), o.Service...)
	}
	m = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
	q := &message.Request{Method: "POST", Scheme: "http", Authority: p.authority(o.Authority), Path: "/grpc.health.v1.Health/Check",
		Header: message.Header{{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"}, {Name: "user-agent", Value: "Envoy/HC"}},
		Body:   message.NewBytes(m, nil), ContentLength: -1}
	status, answer, ok := p.exchange(ctx, by, q, true)
	switch {
	case !ok:
		return unreachable
	case status != 200 || answer.code != "0" || !bytes.Equal(answer.body, serving):
		return failed
	default:
		return passed
	}
}

// answer is what gRPC needs of a response.
type answer struct {
	body []byte
	code string // grpc-status
}

// longest is how much of a response is read.
const longest = 64 << 10

// exchange sends a request and reads all of the response.
func (p *prober) exchange(ctx context.Context, by time.Time, q *message.Request, multiplexed bool) (int, answer, bool) {
	if multiplexed {
		return p.exchange2(ctx, by, q)
	}
	if p.conn == nil {
		c, ok := p.dial(ctx, true, []string{"http/1.1"})
		if !ok {
			return 0, answer{}, false
		}
		p.conn, p.reader, p.writer = c, http1.NewReader(c), http1.NewWriter(c)
	}
	stop := context.AfterFunc(ctx, func() { _ = p.conn.SetDeadline(past) })
	defer stop()
	_ = p.conn.SetDeadline(by)
	if p.writer.WriteRequest(q) != nil {
		return 0, answer{}, false
	}
	r, err := p.reader.ReadResponse(q.Method)
	if err != nil {
		return 0, answer{}, false
	}
	a, ok := read(r)
	if ok && !p.reader.KeepAlive() {
		_ = p.conn.Close()
		p.conn = nil
	}
	return r.Status, a, ok
}

func (p *prober) exchange2(ctx context.Context, by time.Time, q *message.Request) (int, answer, bool) {
	if p.shared != nil && !p.shared.Usable() {
		p.close()
	}
	if p.shared == nil {
		c, ok := p.dial(ctx, true, []string{http2.Protocol})
		if !ok {
			return 0, answer{}, false
		}
		ended := make(chan struct{})
		p.ended = ended
		p.shared = http2.NewClient(c, http2.ClientOptions{OnChange: func() {}, OnClose: func(bool) { close(ended) }})
	}
	s := p.shared.Open()
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(past) })
	defer stop()
	s.SetDeadline(by)
	if s.WriteRequest(q) != nil {
		return 0, answer{}, false
	}
	r, err := s.ReadResponse()
	if err != nil {
		return 0, answer{}, false
	}
	a, ok := read(r)
	return r.Status, a, ok
}

// read takes a response to its end.
func read(r *message.Response) (answer, bool) {
	a := answer{code: r.Header.Get("grpc-status")}
	if r.Body == nil {
		return a, true
	}
	defer r.Body.Close()
	var err error
	if a.body, err = io.ReadAll(io.LimitReader(r.Body, longest)); err != nil {
		return a, false
	}
	if code := r.Body.Trailer().Get("grpc-status"); code != "" {
		a.code = code
	}
	return a, true
}
