// Package collector keeps the spans that a world's proxies report, as Zipkin, Jaeger or
// OpenTelemetry's collector or SkyWalking would: what comes in is Zipkin's JSON (version 2),
// OTLP in protobuf, over HTTP and gRPC, and SkyWalking's segments over gRPC; what goes out are traces. It knows no worlds.
package collector

import (
	"encoding/binary"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Span is one span as its reporter told it. Ids are lower-case hexadecimal, or SkyWalking's:
// a span's is SEGMENT.NUMBER.
type Span struct {
	Trace, ID, Parent string // Parent is empty for a root
	Service, Name     string
	Kind              string // "client", "server", else ""
	Start             time.Time
	Duration          time.Duration
	Tags              map[string]string
}

// Trace is the spans of one trace, by start.
type Trace []Span

// Collector keeps spans in memory. Its methods may be called from any goroutine.
type Collector struct {
	mu     sync.Mutex
	traces map[string]Trace
	order  []string // ids, in the order in which they were first heard of
}

// New makes a collector that has heard nothing.
func New() *Collector { return &Collector{traces: map[string]Trace{}} }

// Add keeps spans.
func (c *Collector) Add(spans []Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range spans {
		if c.traces[s.Trace] == nil {
			c.order = append(c.order, s.Trace)
		}
		c.traces[s.Trace] = append(c.traces[s.Trace], s)
	}
}

// Find returns the traces of which a span satisfies f, the latest first, at most limit.
func (c *Collector) Find(limit int, f func(Span) bool) []Trace {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []Trace
	for _, id := range c.order {
		if t := c.traces[id]; slices.ContainsFunc(t, f) {
			t = slices.SortedStableFunc(slices.Values(t), func(a, b Span) int { return a.Start.Compare(b.Start) })
			found = append(found, t)
		}
	}
	slices.SortStableFunc(found, func(a, b Trace) int { return b[0].Start.Compare(a[0].Start) })
	return found[:min(len(found), limit)]
}

// The paths of the APIs.
const (
	zipkinPath = "/api/v2/spans"
	otlpPath   = "/v1/traces"
	otlpMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	skyMethod  = "/skywalking.v3.TraceSegmentReportService/collect"
)

// ServeHTTP implements http.Handler with the APIs for reporting.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	decode, accepted := decodeOTLP, http.StatusOK
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	expected := "application/x-protobuf"
	switch r.URL.Path {
	case zipkinPath:
		decode, accepted, expected = decodeZipkin, http.StatusAccepted, "application/json"
	case otlpPath:
	case otlpMethod:
		c.serveGRPC(w, r, decodeOTLP)
		return
	case skyMethod:
		c.serveGRPC(w, r, decodeSegment)
		return
	default:
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST spans here", http.StatusMethodNotAllowed)
		return
	}
	if kind != expected {
		http.Error(w, "expected "+expected, http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	spans, err := decode(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.Add(spans)
	w.WriteHeader(accepted)
}

// serveGRPC is a method, without compression: each message has spans.
func (c *Collector) serveGRPC(w http.ResponseWriter, r *http.Request, decode func([]byte) ([]Span, error)) {
	status, text := "0", ""
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	for len(body) > 0 && status == "0" {
		if len(body) < 5 || body[0] != 0 || int(binary.BigEndian.Uint32(body[1:])) > len(body)-5 {
			status, text = "13", "expected uncompressed messages"
			break
		}
		end := 5 + int(binary.BigEndian.Uint32(body[1:]))
		spans, err := decode(body[5:end])
		if err != nil {
			status, text = "3", err.Error()
		}
		c.Add(spans)
		body = body[end:]
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
	w.WriteHeader(http.StatusOK)
	if status == "0" {
		_, _ = w.Write(make([]byte, 5)) // an empty message
	}
	w.Header().Set("Grpc-Status", status)
	w.Header().Set("Grpc-Message", text)
}
