package engine

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/tracing"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// handler is the request path of one connection manager: it finds the route,
// runs the filters, and sees to the end of the exchange.
type handler struct {
	table *route.Table
	seed  seed.Seed
	chain filter.Handler
	http  *httpStats
	istio *recorder // nil: no metrics of Istio's
	// tracer is nil where no spans are made.
	tracer *tracing.Tracer
	// connect allows CONNECTs, where their route does not say otherwise.
	connect bool
}

// httpStats are Envoy's metrics of a connection manager.
type httpStats struct {
	total, rxReset *stats.Counter
	active         *stats.Gauge
	codes          *stats.Codes
	time           *stats.Histogram
	upgrades       *stats.Counter
	upgraded       *stats.Gauge
	traced         [4]*stats.Counter // by message.TraceReason; nil counters without a tracer
	scope          stats.Scope
}

// traces adds the counters of tracing decisions.
func (h *httpStats) traces(r *stats.Registry, prefix string) {
	for reason, name := range map[message.TraceReason]string{message.NotTraced: "not_traceable", message.TraceSampled: "random_sampling",
		message.TraceByClient: "client_enabled", message.TraceByService: "service_forced"} {
		h.traced[reason] = r.HTTP(prefix).Counter("tracing." + name)
	}
}

// counter counts what filters tell, under a prefix in the connection manager's scope.
func (h *handler) counter(prefix string) func(string) {
	return func(what string) { h.http.scope.Counter(prefix + what).Inc() }
}

func newHTTPStats(r *stats.Registry, prefix string) *httpStats {
	s := r.HTTP(prefix)
	return &httpStats{scope: s, total: s.Counter("downstream_rq_total"), rxReset: s.Counter("downstream_rq_rx_reset"),
		upgrades: s.Counter("downstream_cx_upgrades_total"), upgraded: s.Gauge("downstream_cx_upgrades_active"),
		active: s.Gauge("downstream_rq_active"), codes: s.Codes("downstream_rq"), time: s.Histogram("downstream_rq_time")}
}

// exchange is one request with what follows it to its end. As the response's body it
// hears of that.
type exchange struct {
	filter.Exchange
	handler  *handler
	status   int
	response *message.Response
	inner    message.Body
	bytes    int64
	ended    bool
}

// Serve implements message.Handler.
func (h *handler) Serve(ctx context.Context, r *message.Request) (*message.Response, error) {
	x := &exchange{handler: h}
	x.Request, x.Key = r, route.Key(h.seed, r)
	h.http.total.Inc()
	h.http.active.Add(1)
	x.Table = h.table
	x.Route()
	if r.Method == "CONNECT" && !x.Rule.AllowsConnect(h.connect) {
		return nil, x.fail(&reply.Reply{Status: 403, Details: "upgrade_failed"})
	}
	if h.tracer != nil {
		h.http.traced[r.Stream.TraceReason].Inc()
		operation := ""
		if x.Rule != nil {
			operation = x.Rule.Decorator
		}
		r.Stream.Span = h.tracer.Start(r, operation)
	}
	p, err := h.chain(ctx, &x.Exchange)
	if err != nil {
		return nil, x.fail(err)
	}
	x.status, x.response = p.Status, p
	if p.Upgraded != nil {
		p.Upgraded = x.upgraded(p.Upgraded)
		return p, nil
	}
	if p.Body == nil {
		x.end()
		return p, nil
	}
	x.inner, p.Body = p.Body, x
	return p, nil
}

// fail ends an exchange without an upstream's answer. gRPC clients get a response
// whose header carries the status, as Envoy's local replies.
func (x *exchange) fail(err error) error {
	var r *reply.Reply
	if !errors.As(err, &r) {
		x.end()
		return err
	}
	s := x.Request.Stream
	s.Flags |= r.Flag
	s.Details = r.Details
	if r.Reset {
		x.handler.http.rxReset.Inc()
	} else {
		if route.IsGRPC(x.Request.Header) {
			r = r.ForGRPC()
		}
		x.status = r.Status
	}
	x.response = &message.Response{Status: x.status, Header: r.Header}
	x.end()
	return r
}

// end counts a finished exchange, once.
func (x *exchange) end() {
	if x.ended {
		return
	}
	x.ended = true
	h, s := x.handler, x.Request.Stream
	s.Metadata = x.Metadata
	lasted := time.Since(s.Start)
	now, took := s.Start.Add(lasted), float64(lasted)/float64(time.Millisecond)
	if !s.Times.AnswerBegin.IsZero() {
		s.Times.AnswerEnd = now
	}
	h.http.active.Add(-1)
	h.http.codes.Inc(x.status)
	h.http.time.Record(took)
	if h.istio != nil {
		h.istio.record(x, now, took)
	}
}

// Read implements message.Body.
func (x *exchange) Read(b []byte) (int, error) {
	n, err := x.inner.Read(b)
	x.bytes += int64(n)
	if err != nil {
		if err != io.EOF {
			x.handler.http.rxReset.Inc()
		}
		x.end()
	}
	return n, err
}

// Close implements message.Body.
func (x *exchange) Close() error {
	err := x.inner.Close()
	x.end()
	return err
}

// Ready implements message.ReadyBody.
func (x *exchange) Ready() bool { return message.Ready(x.inner) }

// Trailer implements message.Body.
func (x *exchange) Trailer() message.Header { return x.inner.Trailer() }
