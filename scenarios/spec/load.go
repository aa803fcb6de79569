package spec

import (
	"math"
	"time"

	"go.yaml.in/yaml/v3"
)

// Load sends requests at a rate.
type Load struct {
	From        string
	URL         string    // of one URL
	URLs        []LoadURL // of several; URL is empty then
	Method      string
	Headers     map[string]string
	Body        string
	QPS         float64 // 0: as fast as it goes
	Connections int
	Calls       int64
	Duration    time.Duration
	Stages      []Stage // in place of QPS, Calls and Duration
	Jitter      float64 // part of the distance between two calls
	Arrival     string  // uniform, poisson
	WarmUp      time.Duration
	Protocol    string
	TLS         *TLS
	Background  bool
}

// LoadURL is one of a load's URLs. What it does not say is the load's.
type LoadURL struct {
	URL     string
	Method  string
	Headers map[string]string
	Body    string
	Weight  float64 // 0: the URLs are walked in order

	node *yaml.Node // while the load is read
}

// Stage is a part of a load: its rate goes evenly from From to To.
type Stage struct {
	From, To float64 // calls per second
	Duration time.Duration

	start, end bool // which of the two was given
}

// Addresses are the load's URLs, one or several.
func (l *Load) Addresses() []string {
	if len(l.URLs) == 0 {
		return []string{l.URL}
	}
	list := make([]string, len(l.URLs))
	for i, u := range l.URLs {
		list[i] = u.URL
	}
	return list
}

// fastest is the highest rate that a load may have, in calls per second.
const fastest = 1e6

func loadFormat() object[Load] {
	return object[Load]{what: "a load", fields: []field[Load]{
		need(at("from", "A workload, a pod, `ingress` (outside, through the gateway) or `outside` (straight at the service).",
			workload(), func(l *Load) *string { return &l.From })),
		at("url", "Where to, with a Kubernetes host; the path goes out as it is written.", address(schemes()...), func(l *Load) *string { return &l.URL }),
		at("urls", "Several, which each caller walks in order; with weights they are drawn, by the seed.", list(loadURL()), func(l *Load) *[]LoadURL { return &l.URLs }),
		at("method", "Default: GET; POST where there is a body.", method(), func(l *Load) *string { return &l.Method }),
		at("headers", "Host sets the authority.", texts(), func(l *Load) *map[string]string { return &l.Headers }),
		at("body", "The body.", text(), func(l *Load) *string { return &l.Body }),
		at("qps", "Requests per second, over all connections. Default: 0, as fast as it goes.", number(0, fastest), func(l *Load) *float64 { return &l.QPS }),
		at("connections", "Callers, each with a connection of its own. Default: 1.", whole[int](1, 10_000), func(l *Load) *int { return &l.Connections }),
		at("calls", "How many.", whole[int64](1, math.MaxInt32), func(l *Load) *int64 { return &l.Calls }),
		at("duration", "How long, in the world's time.", positive(), func(l *Load) *time.Duration { return &l.Duration }),
		at("stages", "Rates one after the other, steps and ramps, in place of qps, calls and duration.", list(stageFormat().kind()), func(l *Load) *[]Stage { return &l.Stages }),
		at("jitter", "Moves each call by up to this part of the distance to its neighbours, by the seed. Default: 0.", number(0, 0.5), func(l *Load) *float64 { return &l.Jitter }),
		at("arrival", "`uniform`: at even distances; `poisson`: as from many users who know nothing of each other, by the seed. Default: uniform.",
			enum("uniform", "poisson"), func(l *Load) *string { return &l.Arrival }),
		at("warmUp", "How long it goes, at its first rate, before calls count. Default: not at all.", positive(), func(l *Load) *time.Duration { return &l.WarmUp }),
		at("protocol", "What the client speaks. Default: tcp for a tcp:// URL, websocket for ws://, else http1.", protocol(), func(l *Load) *string { return &l.Protocol }),
		at("tls", "For an https (tls, wss) URL: what the client itself does.", pointer(tlsFormat()), func(l *Load) **TLS { return &l.TLS }),
		at("background", "Goes on while later steps run, until `finish`. Default: false.", flag(), func(l *Load) *bool { return &l.Background }),
	}, rules: loadRules, extend: func(s schema) {
		s["allOf"] = []schema{
			{"oneOf": []schema{{"required": []string{"url"}}, {"required": []string{"urls"}}}},
			{"oneOf": []schema{{"required": []string{"calls"}}, {"required": []string{"duration"}}, {"required": []string{"stages"}}}},
		}
	}}
}

func loadRules(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, l *Load) {
	if (keys["url"] == nil) == (keys["urls"] == nil) || keys["urls"] != nil && len(l.URLs) == 0 {
		d.problem(n, "a load needs a url, or urls")
	}
	stageRules(d, n, keys, l)
	if keys["urls"] == nil {
		l.Protocol = protocolRules(d, keys, call{l.URL, l.Protocol})
		tlsRules(d, n, keys["tls"], l.URL, l.TLS)
	}
	preset(&l.Method, methodFor(l.Body != ""))
	preset(&l.Connections, 1)
	headerRules(d, keys["headers"], l.Headers)
	urlsRules(d, keys, l)
}

// urlsRules holds the URLs of a load to each other: one protocol, all with a weight or none.
func urlsRules(d *decoder, keys map[string]*yaml.Node, l *Load) {
	given := l.Protocol
	for i := range l.URLs {
		u := &l.URLs[i]
		if u.node == nil {
			continue // a problem was told
		}
		of := map[string]*yaml.Node{"url": u.node}
		for _, key := range []string{"protocol", "method", "headers", "body"} {
			if keys[key] != nil {
				of[key] = keys[key]
			}
		}
		if u.Method != "" {
			of["method"] = u.node
		}
		if u.Headers != nil {
			of["headers"] = u.node
		}
		protocol := protocolRules(d, of, call{u.URL, given})
		if i > 0 && protocol != l.Protocol {
			d.problem(u.node, "the URLs of one load have one protocol, found %s and %s", l.Protocol, protocol)
		}
		if (u.Weight > 0) != (l.URLs[0].Weight > 0) {
			d.problem(u.node, "either all URLs have a weight, or none has")
		}
		l.Protocol = protocol
		tlsRules(d, u.node, keys["tls"], u.URL, l.TLS)
		headerRules(d, u.node, u.Headers)
		if u.Method == "" && u.Body != "" {
			u.Method = methodFor(true)
		}
		u.node = nil
	}
}

// loadURL is a URL, or a mapping of it and what belongs to it.
func loadURL() kind[LoadURL] {
	full := object[LoadURL]{what: "a URL of a load", fields: []field[LoadURL]{
		need(at("url", "Where to.", address(schemes()...), func(u *LoadURL) *string { return &u.URL })),
		at("method", "Default: the load's; POST where there is a body here.", method(), func(u *LoadURL) *string { return &u.Method }),
		at("headers", "Beside the load's, and before them.", texts(), func(u *LoadURL) *map[string]string { return &u.Headers }),
		at("body", "Default: the load's.", text(), func(u *LoadURL) *string { return &u.Body }),
		at("weight", "Its share of the calls, beside the weights of the others.", number(0.001, 1e6), func(u *LoadURL) *float64 { return &u.Weight }),
	}}
	return kind[LoadURL]{
		schema: func() schema {
			return schema{"oneOf": []schema{address(schemes()...).schema(), full.schema()}}
		},
		decode: func(d *decoder, n *yaml.Node, u *LoadURL) {
			before := len(d.problems)
			if resolve(n).Kind == yaml.ScalarNode {
				address(schemes()...).decode(d, n, &u.URL)
			} else {
				full.decode(d, n, u)
			}
			if len(d.problems) == before {
				u.node = n
			}
		},
	}
}

func stageFormat() object[Stage] {
	return object[Stage]{what: "a stage", fields: []field[Stage]{
		at("qps", "Requests per second at its beginning. Default: what the stage before it ended with; 0 for the first.", number(0, fastest), func(g *Stage) *float64 { g.start = true; return &g.From }),
		at("to", "Requests per second at its end; the rate goes there evenly. Default: qps.", number(0, fastest), func(g *Stage) *float64 { g.end = true; return &g.To }),
		need(at("duration", "How long, in the world's time.", positive(), func(g *Stage) *time.Duration { return &g.Duration })),
	}, rules: func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, _ *Stage) {
		if keys["qps"] == nil && keys["to"] == nil {
			d.problem(n, "a stage needs qps, or to")
		}
	}, extend: func(s schema) {
		s["anyOf"] = []schema{{"required": []string{"qps"}}, {"required": []string{"to"}}}
	}}
}

// stageRules completes the stages, and holds what gives a load its length and rate together.
func stageRules(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, l *Load) {
	if keys["stages"] == nil {
		if (keys["calls"] == nil) == (keys["duration"] == nil) {
			d.problem(n, "a load needs either calls or a duration, or stages")
		}
		for _, key := range []string{"jitter", "arrival"} {
			if keys[key] != nil && l.QPS == 0 {
				d.problem(keys[key], "%s needs a rate: qps, or stages", key)
			}
		}
	} else {
		for _, key := range []string{"qps", "calls", "duration"} {
			if keys[key] != nil {
				d.problem(keys[key], "stages have their own %s: a load has one or the other", key)
			}
		}
	}
	if l.Arrival == "poisson" && l.Jitter > 0 {
		d.problem(keys["jitter"], "calls that arrive by chance have no distance for a jitter to move them in")
	}
	last, calls := 0.0, 0.0
	for i := range l.Stages {
		g := &l.Stages[i]
		if !g.start {
			g.From = last
		}
		if !g.end {
			g.To = g.From
		}
		last = g.To
		calls += (g.From + g.To) / 2 * g.Duration.Seconds()
		g.start, g.end = false, false
	}
	switch {
	case keys["stages"] == nil:
	case calls < 1:
		d.problem(keys["stages"], "the stages make no call")
	case calls > math.MaxInt32/32:
		d.problem(keys["stages"], "the stages make %.3g calls, more than anybody can keep", calls)
	case keys["warmUp"] != nil && l.Stages[0].From == 0:
		d.problem(keys["warmUp"], "a warm-up goes at the load's first rate, which is 0 here")
	}
}
