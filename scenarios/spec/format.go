package spec

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	labelPattern    = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	workloadPattern = `^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
)

// Environments are the kinds of world that a scenario may name.
func Environments() []string { return []string{"sim", "loopback", "kind", "kube"} }

// file is a document of kind Scenario as it is written.
type file struct {
	apiVersion, kind string
	scenario         *Scenario
}

func fileFormat() object[file] {
	return object[file]{what: "a scenario document", fields: []field[file]{
		need(at("apiVersion", "The version of the format.", enum(APIVersion), func(f *file) *string { return &f.apiVersion })),
		need(at("kind", "Scenario.", enum(Kind), func(f *file) *string { return &f.kind })),
		need(at("metadata", "The scenario's name and labels.", metadataFormat().kind(), func(f *file) *Scenario { return f.scenario })),
		need(at("spec", "What is built and what happens.", scenarioFormat().kind(), func(f *file) *Scenario { return f.scenario })),
	}}
}

func metadataFormat() object[Scenario] {
	return object[Scenario]{what: "metadata", fields: []field[Scenario]{
		need(at("name", "Unique among the scenarios of a run; a DNS label.",
			word("a DNS label (a-z, 0-9 and -, at most 63)", labelPattern), func(s *Scenario) *string { return &s.Name })),
		at("labels", "For selection with -l.", texts(), func(s *Scenario) *map[string]string { return &s.Labels }),
	}}
}

func scenarioFormat() object[Scenario] {
	return object[Scenario]{what: "the spec", fields: []field[Scenario]{
		at("description", "One line that a stranger understands.", text(), func(s *Scenario) *string { return &s.Description }),
		at("environments", "Where it may run; elsewhere it is skipped. Default: all four worlds.",
			list(enum(Environments()...)), func(s *Scenario) *[]string { return &s.Environments }),
		at("seed", "Overrides --seed.", seedNumber(), func(s *Scenario) **uint64 { return &s.Seed }),
		at("timeout", "The world's own time for the whole scenario. Default: 1h in sim, 10m elsewhere.",
			positive(), func(s *Scenario) *time.Duration { return &s.Timeout }),
		at("resources", "Files of resources, applied before the first step in order; paths and patterns relative to this file.",
			resources(), func(s *Scenario) *[]Document { return &s.Resources }),
		at("mesh", "Istio's MeshConfig.", meshConfig(), func(s *Scenario) *Scenario { return s }),
		at("network", "The properties of links (sim only).", networkFormat().kind(), func(s *Scenario) *Network { return &s.Network }),
		at("behaviours", "What an image or a workload does when it is called (sim and loopback).",
			list(behaviourFormat().kind()), func(s *Scenario) *[]Behaviour { return &s.Behaviours }),
		need(at("steps", "What happens, in order.", list(stepFormat().kind()), func(s *Scenario) *[]Step { return &s.Steps })),
	}, rules: func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, s *Scenario) {
		if key := keys["steps"]; key != nil && len(s.Steps) == 0 {
			d.problem(key, "a scenario needs at least one step")
		}
	}}
}

func seedNumber() kind[*uint64] {
	return kind[*uint64]{
		schema: func() schema { return schema{"type": "integer", "minimum": 0} },
		decode: func(d *decoder, n *yaml.Node, v **uint64) {
			const expected = "a whole number of at least 0"
			if s, ok := d.scalar(n, expected); ok {
				u, err := strconv.ParseUint(s, 10, 64)
				if err != nil {
					d.problem(n, "expected %s, found %q", expected, s)
					return
				}
				*v = &u
			}
		},
	}
}

// meshConfig keeps MeshConfig as it is written: the control plane knows its fields.
func meshConfig() kind[Scenario] {
	return kind[Scenario]{
		schema: func() schema { return schema{"type": "object"} },
		decode: func(d *decoder, n *yaml.Node, s *Scenario) {
			n = resolve(n)
			if n.Kind != yaml.MappingNode {
				d.problem(n, "expected Istio's MeshConfig (a mapping), found %s", describe(n))
				return
			}
			s.MeshPosition = d.at(n)
			s.MeshSource = &MeshSource{n, d.first, d.lines[min(d.first-1, len(d.lines)):]}
			if err := n.Decode(&s.Mesh); err != nil {
				d.problem(n, "MeshConfig cannot be read: %v", err)
			}
		},
	}
}

func networkFormat() object[Network] {
	return object[Network]{what: "the network", fields: []field[Network]{
		at("latency", "One way, of every link.", duration(), func(w *Network) *time.Duration { return &w.Latency }),
		at("jitter", "Added to the latency, at most.", duration(), func(w *Network) *time.Duration { return &w.Jitter }),
		at("loss", "Share of segments that are sent again, 0 to 1.", number(0, 1), func(w *Network) *float64 { return &w.Loss }),
		at("links", "Exceptions for pairs of workloads; what a link does not say is the network's.",
			list(linkFormat().kind()), func(w *Network) *[]Link { return &w.Links }),
	}, rules: func(_ *decoder, _ *yaml.Node, _ map[string]*yaml.Node, w *Network) {
		for i := range w.Links {
			inherit(&w.Links[i].Latency, w.Latency)
			inherit(&w.Links[i].Jitter, w.Jitter)
			inherit(&w.Links[i].Loss, w.Loss)
		}
	}}
}

// unset marks what a link does not say until its network is read.
const unset = -1

func inherit[V time.Duration | float64](place *V, value V) {
	if *place == unset {
		*place = value
	}
}

func linkFormat() object[Link] {
	return object[Link]{what: "a link", fields: []field[Link]{
		at("from", "A workload; any where it is missing.", workload(), func(l *Link) *string { return &l.From }),
		at("to", "A workload; any where it is missing.", workload(), func(l *Link) *string { return &l.To }),
		at("latency", "One way.", duration(), func(l *Link) *time.Duration { return &l.Latency }),
		at("jitter", "Added to the latency, at most.", duration(), func(l *Link) *time.Duration { return &l.Jitter }),
		at("loss", "Share of segments that are sent again, 0 to 1.", number(0, 1), func(l *Link) *float64 { return &l.Loss }),
		at("bandwidth", "Bytes per second; 0 is unlimited.", whole[int64](0, math.MaxInt64), func(l *Link) *int64 { return &l.Bandwidth }),
	}, rules: func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, l *Link) {
		if keys["from"] == nil && keys["to"] == nil {
			d.problem(n, "a link needs from, to, or both; the network's own fields are for every link")
		}
		if keys["latency"] == nil {
			l.Latency = unset
		}
		if keys["jitter"] == nil {
			l.Jitter = unset
		}
		if keys["loss"] == nil {
			l.Loss = unset
		}
	}}
}

func workload() kind[string] {
	return word("a workload (NAME or NAMESPACE/NAME)", workloadPattern)
}

func behaviourFormat() object[Behaviour] {
	return object[Behaviour]{what: "a behaviour", fields: []field[Behaviour]{
		at("image", "Images that behave so; * stands for any text.", text(), func(b *Behaviour) *string { return &b.Image }),
		at("workload", "The workload that behaves so.", workload(), func(b *Behaviour) *string { return &b.Workload }),
		at("http", "What its HTTP server does.", httpFormat().kind(), func(b *Behaviour) *HTTPBehaviour { return &b.HTTP }),
		at("grpc", "What its gRPC server does: fortio's ping, gRPC's test service and health.", pointer(grpcFormat()), func(b *Behaviour) **GRPCBehaviour { return &b.GRPC }),
		at("startup", "How long after the container's start it begins to listen. Default: at once.", duration(), func(b *Behaviour) *time.Duration { return &b.Startup }),
		at("exec", "How the commands of exec probes fail. Default: they succeed while the server listens.", pointer(execFormat()), func(b *Behaviour) **ExecBehaviour { return &b.Exec }),
		at("tls", "The server ends TLS itself.", pointer(serverTLSFormat()), func(b *Behaviour) **ServerTLS { return &b.TLS }),
	}, rules: func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, b *Behaviour) {
		b.Position = d.at(n)
		if (keys["image"] == nil) == (keys["workload"] == nil) {
			d.problem(n, "a behaviour needs either an image or a workload")
		}
		if (keys["http"] == nil) == (keys["grpc"] == nil) {
			d.problem(n, "a behaviour needs either http or grpc")
		}
	}, extend: func(s schema) {
		s["oneOf"] = []schema{{"required": []string{"http"}}, {"required": []string{"grpc"}}}
	}}
}

func execFormat() object[ExecBehaviour] {
	return object[ExecBehaviour]{what: "the behaviour of commands", fields: []field[ExecBehaviour]{
		at("exitCode", "What they end with. Default: 1.", whole[int](1, 255), func(e *ExecBehaviour) *int { return &e.ExitCode }),
		at("after", "How long after the container's start they begin to fail. Default: at once.", duration(), func(e *ExecBehaviour) *time.Duration { return &e.After }),
		at("for", "For how long they fail. Default: for good.", duration(), func(e *ExecBehaviour) *time.Duration { return &e.For }),
	}, rules: func(_ *decoder, _ *yaml.Node, _ map[string]*yaml.Node, e *ExecBehaviour) {
		e.ExitCode = max(e.ExitCode, 1)
	}}
}

func grpcFormat() object[GRPCBehaviour] {
	return object[GRPCBehaviour]{what: "a gRPC behaviour", fields: []field[GRPCBehaviour]{
		at("status", "The gRPC status of all answers. Default: 0, the method's own answer.", whole[int](0, 16), func(g *GRPCBehaviour) *int { return &g.Status }),
		at("message", "The status' message.", text(), func(g *GRPCBehaviour) *string { return &g.Message }),
		at("latency", "How long an answer takes.", latencyFormat().kind(), func(g *GRPCBehaviour) *Latency { return &g.Latency }),
		at("errors", "How many answers fail.", grpcErrorsFormat().kind(), func(g *GRPCBehaviour) *Errors { return &g.Errors }),
		at("concurrency", "How many calls are served at a time; 0 is no limit.", whole[int](0, math.MaxInt32), func(g *GRPCBehaviour) *int { return &g.Concurrency }),
	}}
}

func grpcErrorsFormat() object[Errors] {
	return object[Errors]{what: "errors", fields: []field[Errors]{
		need(at("rate", "The share that fails, 0 to 1.", number(0, 1), func(e *Errors) *float64 { return &e.Rate })),
		at("status", "Their gRPC status. Default: 14, UNAVAILABLE.", whole[int](1, 16), func(e *Errors) *int { return &e.Status }),
	}}
}

func httpFormat() object[HTTPBehaviour] {
	return object[HTTPBehaviour]{what: "an HTTP behaviour", fields: []field[HTTPBehaviour]{
		at("status", "The answer's status. Default: 200.", whole[int](200, 599), func(h *HTTPBehaviour) *int { return &h.Status }),
		at("body", "The answer's body.", text(), func(h *HTTPBehaviour) *string { return &h.Body }),
		at("headers", "The answer's headers.", texts(), func(h *HTTPBehaviour) *map[string]string { return &h.Headers }),
		at("latency", "How long an answer takes.", latencyFormat().kind(), func(h *HTTPBehaviour) *Latency { return &h.Latency }),
		at("errors", "How many answers fail.", errorsFormat().kind(), func(h *HTTPBehaviour) *Errors { return &h.Errors }),
		at("concurrency", "How many requests are served at a time; 0 is no limit.", whole[int](0, math.MaxInt32),
			func(h *HTTPBehaviour) *int { return &h.Concurrency }),
		at("calls", "Calls that are made while answering, in order.", list(callFormat().kind()),
			func(h *HTTPBehaviour) *[]OutgoingCall { return &h.Calls }),
		at("parallel", "The calls are made at once, not one after the other. Default: false.", flag(), func(h *HTTPBehaviour) *bool { return &h.Parallel }),
		at("startCalls", "Calls that are made once, when the container starts; where one fails every answer is a 503.", list(callFormat().kind()),
			func(h *HTTPBehaviour) *[]OutgoingCall { return &h.StartCalls }),
	}}
}

func latencyFormat() object[Latency] {
	return object[Latency]{what: "a latency", fields: []field[Latency]{
		need(at("p50", "Half of the answers take at most this.", duration(), func(l *Latency) *time.Duration { return &l.P50 })),
		at("p99", "All but one in a hundred take at most this. Default: p50.", duration(), func(l *Latency) *time.Duration { return &l.P99 }),
	}, rules: func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, l *Latency) {
		if keys["p99"] == nil {
			l.P99 = l.P50
		} else if l.P99 < l.P50 {
			d.problem(keys["p99"], "p99 (%v) is below p50 (%v)", l.P99, l.P50)
		}
	}}
}

func errorsFormat() object[Errors] {
	return object[Errors]{what: "errors", fields: []field[Errors]{
		need(at("rate", "The share that fails, 0 to 1.", number(0, 1), func(e *Errors) *float64 { return &e.Rate })),
		at("status", "Their status. Default: 500.", whole[int](200, 599), func(e *Errors) *int { return &e.Status }),
		at("after", "They begin so long after the container's start. Default: at once.", duration(), func(e *Errors) *time.Duration { return &e.After }),
		at("for", "How long they last. Default: for good.", positive(), func(e *Errors) *time.Duration { return &e.For }),
		at("path", "The path of the only requests that fail, as a probe's. Default: any.", word("a path", `^/[^?#\s]*$`), func(e *Errors) *string { return &e.Path }),
	}}
}

func callFormat() object[OutgoingCall] {
	return object[OutgoingCall]{what: "a call", fields: []field[OutgoingCall]{
		need(at("url", "Where to.", address("http"), func(c *OutgoingCall) *string { return &c.URL })),
		at("method", "Default: GET.", method(), func(c *OutgoingCall) *string { return &c.Method }),
	}}
}

func method() kind[string] { return word("an HTTP method", `^[A-Za-z!#$%&'*+.^_|~-]{1,40}$`) }

// notYet is the problem of what the format has and this version does not do.
func notYet(what string) string { return fmt.Sprintf("%s is not supported yet", what) }
