package expect

import (
	"maps"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Result is what a step found.
type Result interface {
	// JSON is the result as results.json has it; durations are seconds.
	JSON() map[string]any
	value() *object
}

// Traffic is the result of request, load and finish.
type Traffic struct {
	Count     int64
	Errors    int64  // calls with no answer
	Error     string // text of the first
	Status    map[string]int64
	GRPC      map[string]int64 // gRPC's own statuses
	Flags     map[string]int64 // of the caller's proxy
	Workloads map[string]int64 // who answered
	Pods      map[string]int64
	Attempts  map[string]int64 // requests that reached each workload
	Latency   Percentiles      // from the intended start
	Service   Percentiles      // from the send
	QPS       float64
	Seconds   float64
	Body      string // of the first answer, as are the others
	Headers   map[string]string
	Protocol  string
	TLS       TLS
	Kinds     map[string]int64 // of errors
	Sockets   int64            // connections that carried a call
	PerSecond []Second         // by the intended start, from the first one's
}

// Second is one second of a step's calls. Latency is from the intended start.
type Second struct {
	Calls, Errors int64
	P50, P99      time.Duration
}

// Percentiles summarize a distribution.
type Percentiles struct{ Min, Avg, P50, P90, P99, P999, Max time.Duration }

// TLS is the client's own session; empty where it spoke in plain text.
type TLS struct{ Version, Peer string }

// Applied is the result of apply.
type Applied struct {
	Objects  int
	Warnings []string
	Rejected []string
}

// Endpoint is a workload's endpoints as one client's proxy sees them.
type Endpoint struct {
	Ejected, Healthy bool
	Active           int
}

// OK tells whether every call was answered, HTTP below 400 and gRPC with its status 0.
// No call at all is not OK.
func (t *Traffic) OK() bool {
	if t == nil || t.Count == 0 || t.Errors > 0 {
		return false
	}
	for status := range t.Status {
		if len(status) != 3 || status >= "400" {
			return false
		}
	}
	for status := range t.GRPC {
		if status != "0" {
			return false
		}
	}
	return true
}

func (p Percentiles) fields() map[string]ref.Val {
	d := func(d time.Duration) ref.Val { return types.Duration{Duration: d} }
	return map[string]ref.Val{"min": d(p.Min), "avg": d(p.Avg), "p50": d(p.P50), "p90": d(p.P90), "p99": d(p.P99),
		"p999": d(p.P999), "max": d(p.Max)}
}

func (p Percentiles) json() map[string]any {
	return map[string]any{"min": p.Min.Seconds(), "avg": p.Avg.Seconds(), "p50": p.P50.Seconds(), "p90": p.P90.Seconds(),
		"p99": p.P99.Seconds(), "p999": p.P999.Seconds(), "max": p.Max.Seconds()}
}

func (t *Traffic) value() *object {
	latency := t.Latency.fields()
	latency["service"] = &object{percentilesType, t.Service.fields()}
	return &object{trafficType, map[string]ref.Val{
		"count": types.Int(t.Count), "errors": types.Int(t.Errors), "error": types.String(t.Error),
		"status": newCountMap(t.Status), "grpc": newCountMap(t.GRPC), "flags": newCountMap(t.Flags), "workloads": newCountMap(t.Workloads),
		"pods": newCountMap(t.Pods), "attempts": newCountMap(t.Attempts),
		"latency": &object{latencyType, latency}, "qps": types.Double(t.QPS), "seconds": types.Double(t.Seconds),
		"body": types.String(t.Body), "headers": headerMap(t.Headers), "protocol": types.String(t.Protocol),
		"tls":        &object{tlsType, map[string]ref.Val{"version": types.String(t.TLS.Version), "peer": types.String(t.TLS.Peer)}},
		"errorKinds": newCountMap(t.Kinds), "sockets": types.Int(t.Sockets), "perSecond": types.NewRefValList(types.DefaultTypeAdapter, seconds(t.PerSecond)),
	}}
}

func seconds(list []Second) []ref.Val {
	all := make([]ref.Val, len(list))
	for i, s := range list {
		all[i] = &object{secondType, map[string]ref.Val{"calls": types.Int(s.Calls), "errors": types.Int(s.Errors),
			"p50": types.Duration{Duration: s.P50}, "p99": types.Duration{Duration: s.P99}}}
	}
	return all
}

// secondsInReport is how many seconds a report keeps one by one: ten minutes.
const secondsInReport = 600

func headerMap(headers map[string]string) traits.Mapper {
	if headers == nil {
		headers = map[string]string{}
	}
	return types.NewStringStringMap(types.DefaultTypeAdapter, headers)
}

// bodyInReport is how much of a body a report keeps, in bytes.
const bodyInReport = 2048

// JSON implements Result. Long bodies are cut.
func (t *Traffic) JSON() map[string]any {
	latency := t.Latency.json()
	latency["service"] = t.Service.json()
	m := map[string]any{
		"count": t.Count, "errors": t.Errors, "status": counts(t.Status), "flags": counts(t.Flags),
		"workloads": counts(t.Workloads), "pods": counts(t.Pods), "attempts": counts(t.Attempts),
		"latency": latency, "qps": t.QPS, "seconds": t.Seconds, "protocol": t.Protocol, "sockets": t.Sockets,
	}
	if n := len(t.PerSecond); n > 1 && n <= secondsInReport {
		list := make([]map[string]any, n)
		for i, s := range t.PerSecond {
			list[i] = map[string]any{"calls": s.Calls, "errors": s.Errors, "p50": s.P50.Seconds(), "p99": s.P99.Seconds()}
		}
		m["perSecond"] = list
	}
	if len(t.Kinds) > 0 {
		m["errorKinds"] = counts(t.Kinds)
	}
	if len(t.GRPC) > 0 {
		m["grpc"] = counts(t.GRPC)
	}
	if t.Error != "" {
		m["error"] = t.Error
	}
	if t.Body != "" {
		m["body"] = t.Body[:min(len(t.Body), bodyInReport)]
	}
	if len(t.Headers) > 0 {
		m["headers"] = maps.Clone(t.Headers)
	}
	if t.TLS != (TLS{}) {
		m["tls"] = map[string]any{"version": t.TLS.Version, "peer": t.TLS.Peer}
	}
	return m
}

func counts(m map[string]int64) map[string]int64 {
	if m == nil {
		return map[string]int64{}
	}
	return maps.Clone(m)
}

func (a *Applied) value() *object {
	list := func(s []string) ref.Val { return types.NewStringList(types.DefaultTypeAdapter, s) }
	return &object{appliedType, map[string]ref.Val{"objects": types.Int(a.Objects), "warnings": list(a.Warnings), "rejected": list(a.Rejected)}}
}

// JSON implements Result.
func (a *Applied) JSON() map[string]any {
	return map[string]any{"objects": a.Objects, "warnings": append([]string{}, a.Warnings...), "rejected": append([]string{}, a.Rejected...)}
}

func (e Endpoint) value() *object {
	return &object{endpointType, map[string]ref.Val{"ejected": types.Bool(e.Ejected), "healthy": types.Bool(e.Healthy), "active": types.Int(e.Active)}}
}
