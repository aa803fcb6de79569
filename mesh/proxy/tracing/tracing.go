// Package tracing makes the spans of exchanges, as Envoy's tracers do: it continues the
// trace that a request's header fields tell of, or begins one, writes the context that
// the next server is to continue, and reports what was sampled to a collector.
//
// In: requests, and their facts when they are over. Out: header fields, and batches of
// spans over one of the proxy's own clusters. It must not import connection managers,
// routers or clusters: what reaches the collector is given to it.
package tracing

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// Send sends a request of the proxy's own to a cluster and returns the answer, whose
// body has been read.
type Send func(ctx context.Context, cluster string, r *message.Request, timeout time.Duration) (*message.Response, error)

// Options are what a Hub works with.
type Options struct {
	Send  Send
	Seed  seed.Seed
	Stats *stats.Registry
	// NodeID, Service and Zone are the proxy's own, for tags and as the default name of
	// the service that spans belong to.
	NodeID, Service, Zone string
	Getenv                func(string) string // nil: nothing is set
}

// Hub has the tracers of one proxy. Exporters outlive configurations: tracers with
// equal providers share one. It must be closed.
type Hub struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu        sync.Mutex
	exporters map[string]*exporter
}

// NewHub makes a hub without tracers.
func NewHub(o Options) *Hub {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	h := &Hub{o: o, exporters: map[string]*exporter{}}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Close gives up what was not reported yet, as Envoy does at its end.
func (h *Hub) Close() {
	h.cancel()
	h.mu.Lock()
	for _, e := range h.exporters {
		e.close()
	}
	h.mu.Unlock()
	h.tasks.Wait()
}

// Tracer makes the spans of one connection manager. It is immutable.
type Tracer struct {
	hub      *Hub
	config   *snapshot.Tracing
	provider *snapshot.TraceProvider
	exporter *exporter
	service  string
	tags     []tag
	ids      seed.Seed
}

// Tracer returns the tracer of a configuration that has a provider.
func (h *Hub) Tracer(c *snapshot.Tracing) (*Tracer, error) {
	t := &Tracer{hub: h, config: c, provider: c.Provider, service: c.Provider.ServiceName, ids: h.o.Seed.Sub("trace")}
	if t.service == "" {
		t.service = h.o.Service
	}
	for _, config := range c.Tags {
		made, err := h.tag(config)
		if err != nil {
			return nil, err
		}
		t.tags = append(t.tags, made)
	}
	key := fmt.Sprintf("%+v", *c.Provider)
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.exporter = h.exporters[key]; t.exporter == nil {
		t.exporter = newExporter(h, c.Provider, key)
		h.exporters[key] = t.exporter
	}
	return t, nil
}

// tag is a custom tag, compiled.
type tag struct {
	name  string
	value func(x *accesslog.Exchange) string
}

func (h *Hub) tag(c snapshot.TraceTag) (tag, error) {
	t := tag{name: c.Name}
	find := func(*accesslog.Exchange) string { return c.Literal }
	switch {
	case c.Environment != "":
		value := h.o.Getenv(c.Environment)
		find = func(*accesslog.Exchange) string { return value }
	case c.Header != "":
		find = func(x *accesslog.Exchange) string { return x.RequestField(c.Header) }
	case len(c.Metadata) > 0:
		find = func(x *accesslog.Exchange) string { return accesslog.MetadataText(x.Stream.Metadata, c.Metadata) }
	case c.Format != "":
		f, err := accesslog.CompileFormat(c.Format)
		if err != nil {
			return t, fmt.Errorf("tag %s: %w", c.Name, err)
		}
		find = func(x *accesslog.Exchange) string { return string(f.AppendHeader(nil, x)) }
	}
	t.value = func(x *accesslog.Exchange) string {
		if v := find(x); v != "" {
			return v
		}
		return c.Default
	}
	return t, nil
}
