package collector_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/tracing"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/sim/collector"
)

// What a proxy reports is what the collector has, whatever they speak.
func TestReports(t *testing.T) {
	for name, p := range map[string]snapshot.TraceProvider{
		"zipkin": {Protocol: snapshot.Zipkin, Path: "/api/v2/spans"},
		"http":   {Protocol: snapshot.OTLPHTTP, Path: "/v1/traces"},
		"grpc":   {Protocol: snapshot.OTLPGRPC},
	} {
		t.Run(name, func(t *testing.T) {
			c := collector.New()
			done := make(chan int, 1)
			h := tracing.NewHub(tracing.Options{Seed: seed.New(1), Stats: new(stats.Registry), NodeID: "node", Service: "reviews.default",
				Send: func(_ context.Context, _ string, r *message.Request, _ time.Duration) (*message.Response, error) {
					q := httptest.NewRequest(r.Method, "http://collector"+r.Path, io.NopCloser(r.Body))
					q.Header.Set("Content-Type", r.Header.Get("content-type"))
					w := httptest.NewRecorder()
					c.ServeHTTP(w, q)
					done <- w.Code
					answer := w.Result()
					return &message.Response{Status: w.Code, Header: message.Header{{Name: "grpc-status", Value: answer.Trailer.Get("grpc-status")}}}, nil
				}})
			defer h.Close()
			p.Timeout = time.Second
			tracer, err := h.Tracer(&snapshot.Tracing{Provider: &p, MaxPathLength: 4, Tags: []snapshot.TraceTag{{Name: "color", Literal: "blue"}}})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Unix(946684800, 5000).UTC()
			for i := range 5 { // a full batch
				s := &message.Stream{Start: start, TraceReason: message.TraceSampled, Duration: 3 * time.Millisecond, Cluster: "inbound|80||",
					Conn: &message.Conn{ID: uint64(i), Inbound: true, Remote: netip.MustParseAddrPort("10.0.0.1:5"), Local: netip.MustParseAddrPort("10.0.0.2:80")}}
				r := &message.Request{Method: "GET", Scheme: "http", Authority: "ratings:9080", Path: "/ratings/0", Stream: s}
				if i == 0 {
					r.Header = message.Header{{Name: "traceparent", Value: "00-463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-01"},
						{Name: "b3", Value: "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-1"}}
				}
				tracer.Start(r, "op").End(r, nil, 503, s)
			}
			if code := <-done; code/100 != 2 {
				t.Fatalf("the collector says %d", code)
			}
			all := c.Find(10, func(collector.Span) bool { return true })
			if len(all) != 5 {
				t.Fatalf("%d traces", len(all))
			}
			found := c.Find(10, func(s collector.Span) bool { return s.Trace == "463ac35c9f6413ad48485a3953bb6124" })
			if len(found) != 1 || len(found[0]) != 1 {
				t.Fatalf("found %v", found)
			}
			got := found[0][0]
			got.Start, got.ID = got.Start.UTC(), ""
			want := collector.Span{Trace: "463ac35c9f6413ad48485a3953bb6124", Parent: "a2fb4a1d1a96d312", Service: "reviews.default", Name: "op",
				Kind: "server", Start: start, Duration: 3 * time.Millisecond, Tags: map[string]string{
					"component": "proxy", "node_id": "node", "zone": "", "http.url": "http://ratings:9080/rat", "http.method": "GET", "http.protocol": "HTTP/1.1",
					"user_agent": "-", "downstream_cluster": "-", "peer.address": "10.0.0.1", "request_size": "0", "response_size": "0", "error": "true",
					"http.status_code": "503", "response_flags": "-", "upstream_cluster": "inbound|80||", "upstream_cluster.name": "inbound|80||", "color": "blue"}}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRefusesWhatItCannotRead(t *testing.T) {
	for _, c := range []struct {
		path, kind, body string
		want             int
	}{
		{"/api/v2/spans", "application/json", "[{}]", http.StatusBadRequest},
		{"/api/v2/spans", "application/x-protobuf", "", http.StatusUnsupportedMediaType},
		{"/v1/traces", "application/x-protobuf", "\x0a\xff", http.StatusBadRequest},
		{"/v1/traces", "application/json", "{}", http.StatusUnsupportedMediaType},
		{"/api/v1/spans", "application/json", "[]", http.StatusNotFound},
	} {
		w := httptest.NewRecorder()
		q := httptest.NewRequest("POST", c.path, nil)
		q.Body = io.NopCloser(strings.NewReader(c.body))
		q.Header.Set("Content-Type", c.kind)
		if collector.New().ServeHTTP(w, q); w.Code != c.want {
			t.Errorf("%s %s: %d, want %d", c.path, c.kind, w.Code, c.want)
		}
	}
}
