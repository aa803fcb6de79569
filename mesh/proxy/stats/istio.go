package stats

import (
	"slices"
	"strings"
	"sync"
)

// Workload is one end of a call as Istio's metrics name it; empty fields read "unknown".
type Workload struct {
	Name, Namespace, Principal, App, Version string
	CanonicalService, CanonicalRevision      string
	Cluster                                  string
}

// Call has the labels of one finished HTTP call, or of one connection (Protocol "tcp",
// no Code), in Istio's standard metrics. It is comparable: series are looked up by it.
type Call struct {
	Reporter            string // "source" or "destination"
	Source, Destination Workload
	Service             string // FQDN
	ServiceName         string
	ServiceNamespace    string
	Protocol            string // "http", "grpc" or "tcp"
	Code                int
	GRPCStatus          string
	Flags               string
	ConnectionSecurity  string // "mutual_tls", "none", "unknown"
	// Shape, where it is not nil, changes the labels; Values are what it made of the
	// call. It has to be comparable.
	Shape  Shape
	Values string
}

// Shape changes metrics.
type Shape interface {
	// Labels returns the labels of a metric ("requests_total") for the values of a
	// call; false: the metric is not wanted.
	Labels(metric string, standard []Label, values string) ([]Label, bool)
}

// Istio makes Istio's standard metrics in a registry.
type Istio struct {
	registry *Registry
	mu       sync.RWMutex
	series   map[Call]*series
}

type series struct {
	requests                       *Counter
	duration, request, resp        *Histogram
	opened, closed, sent, received *Counter
}

// NewIstio makes the standard metrics of a registry.
func NewIstio(r *Registry) *Istio { return &Istio{registry: r, series: map[Call]*series{}} }

// Record counts one finished call: its duration in milliseconds, and the bytes of
// both bodies.
func (i *Istio) Record(c Call, milliseconds float64, requestBytes, responseBytes int64) {
	s := i.find(c)
	s.requests.Inc()
	s.duration.Record(milliseconds)
	s.request.Record(float64(requestBytes))
	s.resp.Record(float64(responseBytes))
}

// Opened counts a connection that came.
func (i *Istio) Opened(c Call) { i.find(c).opened.Inc() }

// Closed counts a connection that has ended, with the bytes of the client and those of
// the server.
func (i *Istio) Closed(c Call, received, sent int64) {
	s := i.find(c)
	s.closed.Inc()
	s.received.Add(uint64(received))
	s.sent.Add(uint64(sent))
}

func (i *Istio) find(c Call) *series {
	i.mu.RLock()
	s := i.series[c]
	i.mu.RUnlock()
	if s != nil {
		return s
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if s := i.series[c]; s != nil {
		return s
	}
	s = i.make(c)
	i.series[c] = s
	return s
}

func (i *Istio) make(c Call) *series {
	labels := c.labels()
	shaped := func(name string) (string, []Label, bool) {
		own, wanted := labels, true
		if c.Shape != nil {
			own, wanted = c.Shape.Labels(strings.TrimPrefix(name, "istio_"), slices.Clone(labels), c.Values)
		}
		return "istiocustom." + name + "." + renderLabels(own), own, wanted
	}
	counter := func(name string) *Counter {
		text, labels, wanted := shaped(name)
		if !wanted {
			return nil
		}
		return i.registry.Counter(text, name, labels...)
	}
	histogram := func(name string) *Histogram {
		text, labels, wanted := shaped(name)
		if !wanted {
			return nil
		}
		return i.registry.Histogram(text, name, labels...)
	}
	if c.Protocol == "tcp" {
		return &series{
			opened: counter("istio_tcp_connections_opened_total"), closed: counter("istio_tcp_connections_closed_total"),
			sent: counter("istio_tcp_sent_bytes_total"), received: counter("istio_tcp_received_bytes_total"),
		}
	}
	return &series{
		requests: counter("istio_requests_total"), duration: histogram("istio_request_duration_milliseconds"),
		request: histogram("istio_request_bytes"), resp: histogram("istio_response_bytes"),
	}
}

// labels are the labels in the order in which Istio's proxies write them.
func (c Call) labels() []Label {
	ls := []Label{{"reporter", c.Reporter}}
	ls = append(ls, c.Source.labels("source")...)
	ls = append(ls, c.Destination.labels("destination")...)
	ls = append(ls,
		Label{"destination_service", known(c.Service)},
		Label{"destination_service_name", known(c.ServiceName)},
		Label{"destination_service_namespace", known(c.ServiceNamespace)},
		Label{"request_protocol", c.Protocol})
	if c.Protocol != "tcp" {
		ls = append(ls, Label{"response_code", itoa(c.Code)}, Label{"grpc_response_status", c.GRPCStatus})
	}
	return append(ls, Label{"response_flags", c.Flags}, Label{"connection_security_policy", c.ConnectionSecurity})
}

func (w Workload) labels(side string) []Label {
	return []Label{
		{side + "_workload", known(w.Name)},
		{side + "_workload_namespace", known(w.Namespace)},
		{side + "_principal", known(w.Principal)},
		{side + "_app", known(w.App)},
		{side + "_version", known(w.Version)},
		{side + "_canonical_service", known(w.CanonicalService)},
		{side + "_canonical_revision", known(w.CanonicalRevision)},
		{side + "_cluster", known(w.Cluster)},
	}
}

func known(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
