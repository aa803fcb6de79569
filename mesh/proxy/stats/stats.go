// Package stats has the proxy's metrics: counters, gauges and histograms under
// Envoy's names, and Istio's standard metrics.
//
// In: increments, without locks. Out: text as at Envoy's /stats, and Prometheus'
// exposition format. It imports nothing of ours.
package stats

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Counter only grows. The zero value is ready to use, a nil Counter counts nothing.
type Counter struct{ v atomic.Uint64 }

// Inc adds one.
func (c *Counter) Inc() { c.Add(1) }

// Add adds n.
func (c *Counter) Add(n uint64) {
	if c != nil {
		c.v.Add(n)
	}
}

// Value returns the count.
func (c *Counter) Value() uint64 {
	if c == nil {
		return 0
	}
	return c.v.Load()
}

// Gauge goes up and down. A nil Gauge counts nothing.
type Gauge struct {
	v    atomic.Int64
	read atomic.Pointer[func() int64] // nil: the value is v
}

// Add adds n, which may be negative.
func (g *Gauge) Add(n int64) {
	if g != nil {
		g.v.Add(n)
	}
}

// Set replaces the value.
func (g *Gauge) Set(n int64) {
	if g != nil {
		g.v.Store(n)
	}
}

// Value returns the value.
func (g *Gauge) Value() int64 {
	if g == nil {
		return 0
	}
	if read := g.read.Load(); read != nil {
		return (*read)()
	}
	return g.v.Load()
}

// bounds are the upper ends of a histogram's buckets, Envoy's defaults: fit for milliseconds and bytes.
var bounds = [...]float64{0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000}

// Histogram counts values in fixed buckets. A nil Histogram counts nothing.
type Histogram struct {
	buckets [len(bounds) + 1]atomic.Uint64
	sum     atomic.Uint64 // bits of a float64
}

// Record adds one value.
func (h *Histogram) Record(v float64) {
	if h == nil {
		return
	}
	i, _ := slices.BinarySearch(bounds[:], v)
	h.buckets[i].Add(1)
	for {
		old := h.sum.Load()
		if h.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+v)) {
			return
		}
	}
}

// Snapshot returns the cumulative bucket counts, the last of which is the number
// of all values, and their sum.
func (h *Histogram) Snapshot() (cumulative []uint64, sum float64) {
	total := uint64(0)
	for i := range h.buckets {
		total += h.buckets[i].Load()
		cumulative = append(cumulative, total)
	}
	return cumulative, math.Float64frombits(h.sum.Load())
}

// Label is one name and value of a Prometheus series.
type Label struct{ Name, Value string }

// metric is one series: its name at /stats, and its family and labels for Prometheus.
type metric struct {
	text, family string
	labels       []Label
	counter      *Counter
	gauge        *Gauge
	histogram    *Histogram
}

// Registry holds all metrics of one proxy. The zero value is ready to use.
type Registry struct {
	mu      sync.RWMutex
	metrics map[string]*metric
	order   []*metric // by text name; nil: not sorted since there is a new one, or one less
}

// get returns the metric of a text name, made at first use.
func (r *Registry) get(text, family string, labels []Label, fill func(*metric)) *metric {
	r.mu.RLock()
	m := r.metrics[text]
	r.mu.RUnlock()
	if m != nil {
		return m
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.metrics[text]; m != nil {
		return m
	}
	if r.metrics == nil {
		r.metrics = map[string]*metric{}
	}
	m = &metric{text: text, family: sanitize(family), labels: slices.Clone(labels)}
	fill(m)
	r.metrics[text], r.order = m, nil
	return m
}

// Counter returns a counter by its full names. One text name always gives the same counter.
func (r *Registry) Counter(text, family string, labels ...Label) *Counter {
	return r.get(text, family, labels, func(m *metric) { m.counter = new(Counter) }).counter
}

// Gauge returns a gauge by its full names.
func (r *Registry) Gauge(text, family string, labels ...Label) *Gauge {
	return r.get(text, family, labels, func(m *metric) { m.gauge = new(Gauge) }).gauge
}

// Histogram returns a histogram by its full names.
func (r *Registry) Histogram(text, family string, labels ...Label) *Histogram {
	return r.get(text, family, labels, func(m *metric) { m.histogram = new(Histogram) }).histogram
}

// Remove forgets the metric of a text name. Who holds it goes on counting for nobody.
func (r *Registry) Remove(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.metrics, text)
	r.order = nil
}

// sorted returns all metrics by text name. Others have the same slice.
func (r *Registry) sorted() []*metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.order == nil {
		r.order = slices.SortedFunc(maps.Values(r.metrics), func(a, b *metric) int { return strings.Compare(a.text, b.text) })
	}
	return r.order
}

// Values returns counters and gauges by text name, for tests and the admin port.
func (r *Registry) Values() map[string]int64 {
	values := map[string]int64{}
	for _, m := range r.sorted() {
		switch {
		case m.counter != nil:
			values[m.text] = int64(m.counter.Value())
		case m.gauge != nil:
			values[m.text] = m.gauge.Value()
		}
	}
	return values
}

// ResetCounters sets all counters to zero, as Envoy's /reset_counters.
func (r *Registry) ResetCounters() {
	for _, m := range r.sorted() {
		if m.counter != nil {
			m.counter.v.Store(0)
		}
	}
}

// Scope is a part of a registry: "cluster.NAME." as text, "envoy_cluster_" and the
// label envoy_cluster_name for Prometheus.
type Scope struct {
	registry *Registry
	prefix   string
	family   string
	label    Label
}

// Cluster is the scope of a cluster.
func (r *Registry) Cluster(name string) Scope {
	return Scope{r, "cluster." + name + ".", "envoy_cluster_", Label{"envoy_cluster_name", name}}
}

// HTTP is the scope of a connection manager's stat prefix.
func (r *Registry) HTTP(prefix string) Scope {
	return Scope{r, "http." + prefix + ".", "envoy_http_", Label{"envoy_http_conn_manager_prefix", prefix}}
}

// Counter returns a counter of the scope.
func (s Scope) Counter(name string) *Counter {
	return s.registry.Counter(s.prefix+name, s.family+name, s.label)
}

// Listener is the scope of a listener by its address.
func (r *Registry) Listener(address string) Scope {
	address = strings.ReplaceAll(address, ":", "_")
	return Scope{r, "listener." + address + ".", "envoy_listener_", Label{"envoy_listener_address", address}}
}

// TCP is the scope of a TCP proxy's stat prefix.
func (r *Registry) TCP(prefix string) Scope {
	return Scope{r, "tcp." + prefix + ".", "envoy_tcp_", Label{"envoy_tcp_prefix", prefix}}
}

// GaugeFunc adds a gauge to the scope whose value is read when somebody asks. It takes
// the place of the one of that name.
func (s Scope) GaugeFunc(name string, read func() int64) { s.Gauge(name).read.Store(&read) }

// Gauge returns a gauge of the scope.
func (s Scope) Gauge(name string) *Gauge {
	return s.registry.Gauge(s.prefix+name, s.family+name, s.label)
}

// Histogram returns a histogram of the scope.
func (s Scope) Histogram(name string) *Histogram {
	return s.registry.Histogram(s.prefix+name, s.family+name, s.label)
}

// Codes counts responses by class and by code ("upstream_rq_2xx", "upstream_rq_200").
type Codes struct {
	scope   Scope
	name    string
	all     *Counter
	classes [6]*Counter
	codes   [6]atomic.Pointer[class]
}

// class are the counters of a class's codes, where they are needed: most clusters
// never see most classes.
type class [100]atomic.Pointer[Counter]

// Codes returns the response counters under a name such as "upstream_rq".
func (s Scope) Codes(name string) *Codes {
	c := &Codes{scope: s, name: name, all: s.Counter(name + "_completed")}
	for i := 1; i < len(c.classes); i++ {
		digit := string(rune('0' + i))
		c.classes[i] = s.registry.Counter(s.prefix+name+"_"+digit+"xx", s.family+name+"_xx", Label{"envoy_response_code_class", digit}, s.label)
	}
	return c
}

// Inc counts one response; a status outside [100, 600) counts nowhere.
func (c *Codes) Inc(status int) {
	if c == nil || status < 100 || status >= 600 {
		return
	}
	c.all.Inc()
	c.classes[status/100].Inc()
	c.of(status).Inc()
}

// of is the counter of one code.
func (c *Codes) of(status int) *Counter {
	codes := &c.codes[status/100]
	if codes.Load() == nil {
		codes.CompareAndSwap(nil, new(class))
	}
	counter := &codes.Load()[status%100]
	if counter.Load() == nil {
		code := itoa(status)
		counter.Store(c.scope.registry.Counter(c.scope.prefix+c.name+"_"+code, c.scope.family+c.name, Label{"envoy_response_code", code}, c.scope.label))
	}
	return counter.Load()
}
