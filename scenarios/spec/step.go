package spec

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// operations are what a step may do, in the order of the format's table.
func operations() []field[Step] {
	return []field[Step]{
		at("apply", "Objects to create or change: files, patterns, inline objects, or a block of YAML text.",
			applied(), func(s *Step) **Apply { return &s.Apply }),
		at("delete", "Objects to remove: the files that made them, or {kind, name, namespace}.",
			deleted(), func(s *Step) **Delete { return &s.Delete }),
		at("request", "Requests to send and wait for.", pointer(requestFormat()), func(s *Step) **Request { return &s.Request }),
		at("load", "Requests at a rate, with fortio.", pointer(loadFormat()), func(s *Step) **Load { return &s.Load }),
		at("finish", "The background load to wait for.", identifier(), func(s *Step) *string { return &s.Finish }),
		at("wait", "How long to wait, in the world's time.", positive(), func(s *Step) *time.Duration { return &s.Wait }),
		at("scale", "A workload's number of replicas.", pointer(scaleFormat()), func(s *Step) **Scale { return &s.Scale }),
		at("fault", "Something that breaks, or is put right again.", pointer(faultFormat()), func(s *Step) **Fault { return &s.Fault }),
		at("explain", "The way of a request, without sending it.", pointer(explainFormat()), func(s *Step) **Explain { return &s.Explain }),
		at("query", "PromQL over the metrics of all proxies, which the world scrapes every 5 s of its time.",
			text(), func(s *Step) *string { return &s.Query }),
		at("traces", "The spans that the proxies reported to the collector.", pointer(tracesFormat()), func(s *Step) **Traces { return &s.Traces }),
		at("canary", "Waits until a Canary is in a phase.", pointer(canaryFormat()), func(s *Step) **Canary { return &s.Canary }),
	}
}

func stepFormat() object[Step] {
	about := []field[Step]{
		at("name", "What the report calls it.", text(), func(s *Step) *string { return &s.Name }),
		at("as", "Keeps the result under this name for later steps.", identifier(), func(s *Step) *string { return &s.As }),
		at("expect", "CEL expressions over the result; each must be true.", list(expression()), func(s *Step) *[]Expression { return &s.Expect }),
		at("eventually", "Repeats the operation and its expectations until all hold, or this time is over.",
			positive(), func(s *Step) *time.Duration { return &s.Eventually }),
	}
	all := operations()
	rules := func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, s *Step) { stepRules(d, n, keys, s, all) }
	return object[Step]{what: "a step", fields: append(about, all...), rules: rules, extend: stepSchema}
}

// stepRules finds the one operation and what may stand beside it.
func stepRules(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, s *Step, operations []field[Step]) {
	s.Position = d.at(n)
	var found []string
	for _, o := range operations {
		if keys[o.name] != nil {
			found = append(found, o.name)
		}
	}
	switch {
	case len(found) > 1:
		d.problem(keys[found[1]], "a step has exactly one operation, found %s; make a step of each", strings.Join(found, " and "))
	case len(found) == 1:
		s.Operation = found[0]
	case keys["expect"] == nil:
		d.problem(n, "a step needs an operation or expectations")
	}
	if key := keys["expect"]; key != nil && len(s.Expect) == 0 {
		d.problem(key, "expect is empty")
	}
	if key := keys["as"]; key != nil && len(found) == 0 {
		d.problem(key, "there is no result to keep: the step has no operation")
	} else if key != nil && (s.Operation == "wait" || s.Operation == "scale" || s.Operation == "fault" || s.Operation == "delete") {
		d.problem(key, "there is no result to keep: %s has none", s.Operation)
	}
	if key := keys["eventually"]; key != nil {
		if keys["expect"] == nil {
			d.problem(key, "eventually needs expectations to wait for")
		}
		if s.Operation == "finish" || s.Load != nil && s.Load.Background {
			d.problem(key, "eventually would repeat the operation, which a background load cannot be")
		}
	}
	if s.Load != nil && s.Load.Background {
		if s.As == "" {
			d.problem(keys["load"], "a background load needs a name to finish it by: add `as: NAME`")
		}
		if key := keys["expect"]; key != nil {
			d.problem(key, "a background load has no result yet; put the expectations on its finish")
		}
	}
}

// stepSchema says "exactly one operation, or expectations alone" in JSON Schema.
func stepSchema(s schema) {
	var one, none []schema
	for _, o := range operations() {
		one = append(one, schema{"required": []string{o.name}})
		none = append(none, schema{"required": []string{o.name}})
	}
	s["oneOf"] = append(one, schema{"required": []string{"expect"}, "not": schema{"anyOf": none}})
}

func identifier() kind[string] {
	return word("a name (letters, digits and _, not a digit first)", `^[A-Za-z_][A-Za-z0-9_]*$`)
}

// expression is a CEL expression with the place of its first character.
func expression() kind[Expression] {
	return kind[Expression]{
		schema: func() schema { return schema{"type": "string"} },
		decode: func(d *decoder, n *yaml.Node, v *Expression) {
			n = resolve(n)
			if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
				d.problem(n, "expected a CEL expression, found %s; put quotes around it", describe(n))
				return
			}
			v.Text, v.Position = n.Value, d.at(n)
			switch {
			case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
				v.Position.Col++
			case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
				v.Position.Line++
				v.Position.Col = 1
				if v.Position.Line <= len(d.lines) {
					v.Position.Col += indentation(d.lines[v.Position.Line-1])
				}
			}
			if strings.TrimSpace(v.Text) == "" {
				d.problem(n, "expected a CEL expression, found nothing")
			}
		},
	}
}

// pointer is an object whose place is a pointer.
func pointer[T any](o object[T]) kind[*T] {
	return kind[*T]{schema: o.schema, decode: func(d *decoder, n *yaml.Node, v **T) {
		*v = new(T)
		o.decode(d, n, *v)
	}}
}

func requestFormat() object[Request] {
	return object[Request]{what: "a request", fields: []field[Request]{
		need(at("from", "A workload, a pod, `ingress` (outside, through the gateway) or `outside` (straight at the service).",
			workload(), func(r *Request) *string { return &r.From })),
		need(at("url", "Where to, with a Kubernetes host; the path goes out as it is written.", address(schemes()...), func(r *Request) *string { return &r.URL })),
		at("method", "Default: GET; POST where there is a body.", method(), func(r *Request) *string { return &r.Method }),
		at("headers", "Host sets the authority.", texts(), func(r *Request) *map[string]string { return &r.Headers }),
		at("body", "The body.", text(), func(r *Request) *string { return &r.Body }),
		at("bodyBytes", "A body of so many bytes.", whole[int64](0, 1<<32), func(r *Request) *int64 { return &r.BodyBytes }),
		at("keepOpen", "For a tcp:// or tls:// URL: the connection is open behind the body, until the server ends it.", flag(), func(r *Request) *bool { return &r.KeepOpen }),
		at("count", "How many. Default: 1.", whole[int](1, 1_000_000), func(r *Request) *int { return &r.Count }),
		at("parallel", "How many at a time. Default: 1.", whole[int](1, 10_000), func(r *Request) *int { return &r.Parallel }),
		at("interval", "From start to start. Default: each as soon as there is room.", duration(), func(r *Request) *time.Duration { return &r.Interval }),
		at("timeout", "The client's patience for one. Default: 30s.", positive(), func(r *Request) *time.Duration { return &r.Timeout }),
		at("protocol", "What the client speaks. Default: tcp for a tcp:// URL, websocket for ws://, else http1.", protocol(), func(r *Request) *string { return &r.Protocol }),
		at("tls", "For an https (tls, wss) URL: what the client itself does.", pointer(tlsFormat()), func(r *Request) **TLS { return &r.TLS }),
	}, rules: func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, r *Request) {
		if keys["body"] != nil && keys["bodyBytes"] != nil {
			d.problem(keys["bodyBytes"], "a request has a body or bodyBytes, not both")
		}
		r.Protocol = protocolRules(d, keys, call{r.URL, r.Protocol})
		if keys["keepOpen"] != nil && r.Protocol != "tcp" {
			d.problem(keys["keepOpen"], "only a connection of TCP ends with its body: protocol %s keeps its own as it needs them", r.Protocol)
		}
		preset(&r.Method, methodFor(r.Body != "" || r.BodyBytes > 0))
		preset(&r.Count, 1)
		preset(&r.Parallel, 1)
		headerRules(d, keys["headers"], r.Headers)
		tlsRules(d, n, keys["tls"], r.URL, r.TLS)
	}}
}

func scaleFormat() object[Scale] {
	return object[Scale]{what: "a scale", fields: []field[Scale]{
		need(at("workload", "A Deployment.", workload(), func(s *Scale) *string { return &s.Workload })),
		need(at("replicas", "How many pods.", whole[int](0, 10_000), func(s *Scale) *int { return &s.Replicas })),
	}}
}

// preset gives a place its default where it is zero.
func preset[V comparable](place *V, value V) {
	var zero V
	if *place == zero {
		*place = value
	}
}

func methodFor(body bool) string {
	if body {
		return "POST"
	}
	return "GET"
}

// headerRules refuses what would break the message's framing.
func headerRules(d *decoder, key *yaml.Node, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value := headers[name]
		switch strings.ToLower(name) {
		case "content-length", "transfer-encoding", "connection":
			d.problem(key, "header %q is the client's own: it follows from the body", name)
		}
		if name == "" || strings.ContainsAny(name, " \t\r\n:()<>@,;\\\"/[]?={}") || strings.ContainsAny(value, "\r\n\x00") {
			d.problem(key, "header %q: %q cannot be sent over HTTP", name, value)
		}
	}
}

// address is a URL whose path goes out as it is written, so only the part in front
// of the path is looked at. Without schemes it is http.
func address(schemes ...string) kind[string] {
	if len(schemes) == 0 {
		schemes = []string{"http"}
	}
	return kind[string]{
		schema: func() schema {
			return schema{"type": "string", "pattern": `^(` + strings.Join(schemes, "|") + `)://[^/?#\s]+`}
		},
		decode: func(d *decoder, n *yaml.Node, v *string) {
			const expected = "a URL like http://reviews:9080/reviews/0"
			s, ok := d.scalar(n, expected)
			if !ok {
				return
			}
			scheme, rest, found := strings.Cut(s, "://")
			host, _, _ := strings.Cut(rest, "/")
			host, _, _ = strings.Cut(host, "?")
			switch {
			case !found || host == "" || strings.ContainsFunc(s, unprintable):
				d.problem(n, "expected %s, found %q", expected, s)
			case scheme == "https" && !slices.Contains(schemes, scheme):
				d.problem(n, "%s", notYet("https of a workload itself"))
			case !slices.Contains(schemes, scheme):
				d.problem(n, "expected %s, found the scheme %q", expected, scheme)
			case !goodPort(host):
				d.problem(n, "expected a port from 1 to 65535 in %q", host)
			case strings.ContainsAny(host, "@#"):
				d.problem(n, "expected HOST or HOST:PORT, found %q", host)
			default:
				*v = s
			}
		},
	}
}

func unprintable(r rune) bool { return r <= ' ' || r == 0x7f }

func goodPort(host string) bool {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.HasSuffix(host, "]") {
		return true
	}
	port, err := strconv.Atoi(host[i+1:])
	return err == nil && port > 0 && port < 1<<16 && i > 0
}
