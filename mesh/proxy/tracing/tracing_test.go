package tracing_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/tracing"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// reports are what a hub sent.
type reports struct {
	sent []*message.Request
	at   []time.Time
	fail bool
}

func (r *reports) send(_ context.Context, cluster string, q *message.Request, _ time.Duration) (*message.Response, error) {
	if cluster != "collector" {
		return nil, errors.New("wrong cluster " + cluster)
	}
	r.sent, r.at = append(r.sent, q), append(r.at, time.Now())
	if r.fail {
		return &message.Response{Status: 503}, nil
	}
	return &message.Response{Status: 202}, nil
}

func newHub(t *testing.T, r *reports) (*tracing.Hub, *stats.Registry) {
	t.Helper()
	registry := new(stats.Registry)
	h := tracing.NewHub(tracing.Options{Send: r.send, Seed: seed.New(1), Stats: registry, NodeID: "node", Service: "reviews.default"})
	t.Cleanup(h.Close)
	return h, registry
}

func config(p snapshot.TraceProvider) *snapshot.Tracing {
	p.Cluster, p.Path, p.Timeout = "collector", "/api/v2/spans", time.Second
	return &snapshot.Tracing{Provider: &p, MaxPathLength: 256}
}

func request(sampled, inbound bool, fields ...string) *message.Request {
	s := &message.Stream{Start: time.Now(), Conn: &message.Conn{ID: 1, Inbound: inbound, Remote: netip.MustParseAddrPort("10.0.0.1:5"), Local: netip.MustParseAddrPort("10.0.0.2:80")}}
	if sampled {
		s.TraceReason = message.TraceSampled
	}
	r := &message.Request{Method: "GET", Scheme: "http", Authority: "ratings:9080", Path: "/ratings/0", Stream: s}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

const (
	trace = "463ac35c9f6413ad48485a3953bb6124"
	span  = "a2fb4a1d1a96d312"
)

func TestContext(t *testing.T) {
	zipkin, otel := snapshot.TraceProvider{}, snapshot.TraceProvider{Protocol: snapshot.OTLPGRPC}
	both := snapshot.TraceProvider{W3C: true}
	for _, c := range []struct {
		name     string
		provider snapshot.TraceProvider
		sampled  bool // what the request id says
		fields   []string
		want     []string // NAME=PREFIX of what the next server gets
		trace    string   // "": a new one
	}{
		{"a new trace", zipkin, true, nil, []string{"x-b3-sampled=1"}, ""},
		{"a new one, not sampled", zipkin, false, nil, []string{"x-b3-sampled=0"}, ""},
		{"b3", zipkin, false, []string{"x-b3-traceid", strings.ToUpper(trace), "x-b3-spanid", span, "x-b3-sampled", "1"}, []string{"x-b3-parentspanid=" + span, "x-b3-sampled=1"}, trace},
		{"b3 undecided", zipkin, true, []string{"x-b3-traceid", trace, "x-b3-spanid", span}, []string{"x-b3-sampled=1"}, trace},
		{"b3 debug", zipkin, false, []string{"x-b3-flags", "1"}, []string{"x-b3-sampled=1"}, ""},
		{"b3 single", zipkin, true, []string{"b3", trace + "-" + span + "-0"}, []string{"x-b3-sampled=0", "b3=" + trace + "-", "x-b3-parentspanid=" + span}, trace},
		{"b3 single decision", zipkin, true, []string{"b3", "0"}, []string{"x-b3-sampled=0"}, ""},
		{"b3 too short", zipkin, true, []string{"x-b3-traceid", "12", "x-b3-spanid", span}, []string{"x-b3-sampled=1"}, ""},
		{"b3 all zero", zipkin, true, []string{"x-b3-traceid", strings.Repeat("0", 32), "x-b3-spanid", span}, []string{"x-b3-sampled=1"}, ""},
		{"w3c", otel, false, []string{"traceparent", "00-" + trace + "-" + span + "-01"}, []string{"traceparent=00-" + trace + "-"}, trace},
		{"w3c not sampled", otel, true, []string{"traceparent", "00-" + trace + "-" + span + "-00"}, []string{"traceparent=00-" + trace + "-"}, trace},
		{"w3c later version", otel, true, []string{"traceparent", "cc-" + trace + "-" + span + "-01-more"}, []string{"traceparent=00-" + trace + "-"}, trace},
		{"w3c too long", otel, true, []string{"traceparent", "00-" + trace + "-" + span + "-01-more"}, []string{"traceparent=00-"}, ""},
		{"w3c ignores b3", otel, true, []string{"b3", trace + "-" + span + "-1"}, []string{"traceparent=00-"}, ""},
		{"zipkin ignores w3c", zipkin, true, []string{"traceparent", "00-" + trace + "-" + span + "-01"}, []string{"x-b3-sampled=1"}, ""},
		{"zipkin with w3c", both, true, []string{"traceparent", "00-" + trace + "-" + span + "-01"}, []string{"x-b3-traceid=" + trace, "traceparent=00-" + trace}, trace},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _ := newHub(t, &reports{})
			tracer, err := h.Tracer(config(c.provider))
			if err != nil {
				t.Fatal(err)
			}
			r := request(c.sampled, false, c.fields...)
			s := tracer.Start(r, "op")
			if c.trace != "" && s.TraceID() != c.trace || c.trace == "" && (s.TraceID() == trace || len(s.TraceID()) != 32) {
				t.Errorf("trace %s, want %q", s.TraceID(), c.trace)
			}
			if s.SpanID() == span || len(s.SpanID()) != 16 {
				t.Errorf("span %s", s.SpanID())
			}
			for _, want := range c.want {
				name, prefix, _ := strings.Cut(want, "=")
				if got := r.Header.Get(name); !strings.HasPrefix(got, prefix) {
					t.Errorf("%s is %q, want %q", name, got, prefix)
				}
			}
		})
	}
}

func TestSharedSpan(t *testing.T) {
	h, _ := newHub(t, &reports{})
	tracer, err := h.Tracer(config(snapshot.TraceProvider{Shared: true}))
	if err != nil {
		t.Fatal(err)
	}
	if s := tracer.Start(request(true, true, "x-b3-traceid", trace, "x-b3-spanid", span), ""); s.SpanID() != span {
		t.Errorf("the server's span is %s, want the client's", s.SpanID())
	}
	if s := tracer.Start(request(true, false, "x-b3-traceid", trace, "x-b3-spanid", span), ""); s.SpanID() == span {
		t.Error("the client's span is its caller's")
	}
}

// A batch goes out with its fifth span, the rest at a tick; what is not sampled never does.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &reports{}
		h, registry := newHub(t, out)
		tracer, err := h.Tracer(config(snapshot.TraceProvider{}))
		if err != nil {
			t.Fatal(err)
		}
		again, err := h.Tracer(config(snapshot.TraceProvider{}))
		if err != nil {
			t.Fatal(err)
		}
		end := func(tr *tracing.Tracer, sampled bool) {
			r := request(sampled, false)
			tr.Start(r, "op").End(r, nil, 0, r.Stream)
		}
		for range 4 {
			end(tracer, true)
		}
		end(tracer, false)
		synctest.Wait()
		if len(out.sent) != 0 {
			t.Fatalf("sent after four: %d", len(out.sent))
		}
		end(again, true) // of the next configuration
		synctest.Wait()
		if len(out.sent) != 1 {
			t.Fatalf("sent after five: %d", len(out.sent))
		}
		start := time.Now()
		end(tracer, true)
		time.Sleep(11 * time.Second)
		if len(out.sent) != 2 || out.at[1].Sub(start) > 5*time.Second {
			t.Fatalf("sent %d, the last after %v", len(out.sent), out.at[len(out.at)-1].Sub(start))
		}
		out.fail = true
		end(tracer, true)
		time.Sleep(5 * time.Second)
		v := registry.Values()
		if v["tracing.zipkin.spans_sent"] != 6 || v["tracing.zipkin.reports_dropped"] != 1 || v["tracing.zipkin.timer_flushed"] != 2 {
			t.Errorf("counted %v", v)
		}
		h.Close()
	})
}
