package tracing

import (
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

// Envoy's runtime defaults for both tracers: a batch goes out when it has five spans,
// or at the next tick.
const (
	flushSpans    = 5
	flushInterval = 5 * time.Second
	// pendingBatches bounds what waits for a collector that does not answer.
	pendingBatches = 64
)

// exporter batches the spans of tracers with equal providers.
type exporter struct {
	hub      *Hub
	provider *snapshot.TraceProvider
	batch    int           // spans that go out together
	phase    time.Duration // of the ticks, which are flushInterval apart
	sent     *stats.Counter
	dropped  *stats.Counter
	flushed  *stats.Counter

	mu      sync.Mutex // never held while sending
	spans   []*Span
	pending int
	timer   *time.Timer
	closed  bool
}

func newExporter(h *Hub, p *snapshot.TraceProvider, key string) *exporter {
	prefix := "tracing.opentelemetry."
	switch p.Protocol {
	case snapshot.Zipkin:
		prefix = "tracing.zipkin."
	case snapshot.SkyWalking:
		prefix = "tracing.skywalking."
	}
	counter := func(name string) *stats.Counter {
		return h.o.Stats.Counter(prefix+name, "envoy_"+prefix+name)
	}
	e := &exporter{hub: h, provider: p, phase: h.o.Seed.Sub("trace-flush").Duration(key, flushInterval),
		sent: counter("spans_sent"), dropped: counter("reports_dropped"), flushed: counter("timer_flushed"), batch: flushSpans}
	if p.Protocol == snapshot.SkyWalking { // a segment goes out as soon as it is complete
		e.sent, e.dropped, e.batch = counter("segments_sent"), counter("segments_dropped"), 1
	}
	return e
}

// add takes a finished span.
func (e *exporter) add(s *Span) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	if e.spans = append(e.spans, s); len(e.spans) >= e.batch {
		e.flush()
		return
	}
	if e.timer == nil {
		e.timer = time.AfterFunc(e.untilTick(time.Now()), e.tick)
	}
}

// untilTick is the time to the next tick. Ticks without spans need no timer.
func (e *exporter) untilTick(now time.Time) time.Duration {
	since := (time.Duration(now.UnixNano())%flushInterval - e.phase + flushInterval) % flushInterval
	return flushInterval - since
}

func (e *exporter) tick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.timer = nil
	if !e.closed && len(e.spans) > 0 {
		e.flushed.Inc()
		e.flush()
	}
}

// flush sends what is there. It is called with the lock held.
func (e *exporter) flush() {
	batch := e.spans
	e.spans = nil
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	if e.pending >= pendingBatches {
		e.dropped.Inc()
		return
	}
	e.pending++
	e.hub.tasks.Add(1)
	go e.send(batch)
}

func (e *exporter) send(batch []*Span) {
	defer e.hub.tasks.Done()
	p, err := e.hub.o.Send(e.hub.ctx, e.provider.Cluster, e.request(batch), e.provider.Timeout)
	if err != nil || p.Status/100 != 2 || p.Header.Get("grpc-status") != "" && p.Header.Get("grpc-status") != "0" {
		e.dropped.Inc()
	} else {
		e.sent.Add(uint64(len(batch)))
	}
	e.mu.Lock()
	e.pending--
	e.mu.Unlock()
}

func (e *exporter) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed, e.spans = true, nil
	if e.timer != nil {
		e.timer.Stop()
	}
}

// framed appends a message as gRPC frames it.
func framed(b, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(append(b, 0), uint32(len(message))), message...)
}

// request is the report of a batch.
func (e *exporter) request(batch []*Span) *message.Request {
	p := e.provider
	r := &message.Request{Method: "POST", Scheme: "http", Authority: p.Host, Path: p.Path}
	var body []byte
	switch p.Protocol {
	case snapshot.Zipkin:
		r.Header.Add("content-type", "application/json")
		body = zipkinJSON(batch)
	case snapshot.OTLPHTTP:
		r.Header.Add("content-type", "application/x-protobuf")
		body = otlp(batch)
	case snapshot.OTLPGRPC:
		r.Protocol, r.Path = message.HTTP2, otlpMethod
		r.Header.Add("content-type", "application/grpc")
		r.Header.Add("te", "trailers")
		body = framed(body, otlp(batch))
	case snapshot.SkyWalking:
		r.Protocol, r.Path = message.HTTP2, segmentMethod
		r.Header.Add("content-type", "application/grpc")
		r.Header.Add("te", "trailers")
		for _, s := range batch {
			body = framed(body, s.segment.encode(s))
		}
	}
	for _, f := range p.Headers {
		if f.Action == snapshot.AppendOrAdd {
			r.Header.Add(f.Name, f.Value)
		} else {
			r.Header.Set(f.Name, f.Value)
		}
	}
	if r.Protocol != message.HTTP2 {
		r.Header.Set("content-length", strconv.Itoa(len(body)))
	}
	r.Body, r.ContentLength = message.NewBytes(body, nil), int64(len(body))
	return r
}
