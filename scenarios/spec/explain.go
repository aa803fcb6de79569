package spec

// Explain asks for the way of one request, which is not sent.
type Explain struct {
	From    string
	URL     string
	Method  string
	Headers map[string]string
}

func explainFormat() object[Explain] {
	return object[Explain]{what: "an explain", fields: []field[Explain]{
		need(at("from", "A workload, a pod, `ingress` (outside, through the gateway) or `outside` (straight at the service).",
			workload(), func(e *Explain) *string { return &e.From })),
		need(at("url", "Where to, with a Kubernetes host; the path goes out as it is written.", address("http", "https"), func(e *Explain) *string { return &e.URL })),
		at("method", "Default: GET.", method(), func(e *Explain) *string { return &e.Method }),
		at("headers", "Host sets the authority.", texts(), func(e *Explain) *map[string]string { return &e.Headers }),
	}}
}
