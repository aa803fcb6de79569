package spec

import "go.yaml.in/yaml/v3"

// Traces asks for traces: those that a service took part in, or that of one request.
type Traces struct {
	Service   string
	Limit     int
	RequestID string
}

// tracesLimit is how many traces are found by default.
const tracesLimit = 20

func tracesFormat() object[Traces] {
	return object[Traces]{what: "traces", fields: []field[Traces]{
		at("service", "The latest traces in which this service took part, as it calls itself (productpage.default), or without its namespace.",
			workload(), func(t *Traces) *string { return &t.Service }),
		at("limit", "At most so many traces. Default: 20.", whole[int](1, 100_000), func(t *Traces) *int { return &t.Limit }),
		at("requestId", "The traces of the request with this x-request-id, instead.", text(), func(t *Traces) *string { return &t.RequestID }),
	}, rules: func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, t *Traces) {
		if (keys["service"] == nil) == (keys["requestId"] == nil) {
			d.problem(n, "traces needs either a service or a requestId")
		}
		preset(&t.Limit, tracesLimit)
	}, extend: func(s schema) {
		s["oneOf"] = []schema{{"required": []string{"service"}}, {"required": []string{"requestId"}}}
	}}
}
