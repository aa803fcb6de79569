// Package bench measures what the mesh costs, in real time on real sockets: the same
// requests with and without sidecars, proxies as processes whose processor time and
// memory are read from the operating system.
//
// What comes in is a Plan, what goes out are result.Benchmark values. Every sample is
// taken with processes of its own, and samples are interleaved: a machine that gets
// slower meanwhile slows all configurations, and both builds, alike.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/source"
)

// Plan says what to measure.
type Plan struct {
	Builds []Build // one, or two that are compared: A, B, A, B, …
	Matrix
	Scales    []Scale                // of the control plane's suite
	Again     []result.Configuration // measured before, and to be measured again; no others are
	Scenarios []string               // files and folders of the simulator's suite
	Objective *Objective             // nil, or what the highest rate is searched for that holds it; the matrix' rates do not count
	Repeat    int
	Duration  time.Duration // of a sample
	WarmUp    time.Duration // before it
	Pin       bool          // proxies on processor 0, the rest on the others
	Dir       string        // for sockets; short
	// ReverseProxy is the command of the peer "go", ServeReverseProxy in a process: LISTEN
	// and UPSTREAM come behind it.
	ReverseProxy []string
	Progress     func(Progress)
	Live         func(Live) // nil, or told twice a second how a load goes
}

// measurement is one configuration and how a sample of it is taken.
type measurement struct {
	name, suite string
	parameters  map[string]string
	take        func(context.Context, Build) (result.Sample, error)
	skipped     string // why it is not taken
	// pair takes a sample of both builds, side by side; nil: one after the other.
	pair func(ctx context.Context, first int) ([]result.Sample, error)
}

// measurements are all configurations of all suites.
func (p Plan) measurements() ([]measurement, error) {
	if len(p.Again) > 0 {
		return p.again()
	}
	var all []measurement
	for _, c := range p.cells() {
		if p.Objective != nil {
			all = append(all, p.ofSearch(c))
			continue
		}
		all = append(all, p.ofCell(c))
	}
	for _, s := range p.Scales {
		all = append(all, p.ofScale(s))
	}
	files, names, err := scenarios(p.Scenarios)
	for _, name := range names {
		all = append(all, p.ofScenario(name, files[name]))
	}
	return all, err
}

// prepare reads the files of a plan: all measurements are of things that are there.
func (p Plan) prepare() ([]measurement, error) {
	all, err := p.measurements()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	if len(all) == 0 || p.Repeat < 1 || len(p.Builds) == 0 {
		return nil, fmt.Errorf("%w: the matrix is empty", ErrNothing)
	}
	for _, c := range p.cells() {
		if _, err := p.scene(c); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPlan, err)
		}
	}
	return all, nil
}

func (p Plan) ofCell(c cell) measurement {
	return measurement{name: c.name(), suite: "load", parameters: c.parameters(), skipped: missing(c.proxies),
		take: func(ctx context.Context, b Build) (result.Sample, error) { return p.sample(ctx, b, c, p.measure) },
		pair: func(ctx context.Context, first int) ([]result.Sample, error) { return p.pair(ctx, c, first) }}
}

func (p Plan) ofScale(s Scale) measurement {
	return measurement{name: s.name(), suite: "controlplane", parameters: s.parameters(),
		take: func(ctx context.Context, b Build) (result.Sample, error) { return p.controlPlane(ctx, b, s) }}
}

func (p Plan) ofScenario(name, file string) measurement {
	return measurement{name: "simulator/scenario=" + name, suite: "simulator", parameters: map[string]string{"scenario": name, "file": file},
		take: func(ctx context.Context, b Build) (result.Sample, error) { return p.simulated(ctx, b, name, file) }}
}

// again are the measurements behind configurations of a benchmark's file.
func (p Plan) again() ([]measurement, error) {
	var all []measurement
	var errs []error
	for _, c := range p.Again {
		m, err := p.of(c)
		if err == nil && m.name != c.Name {
			err = errors.New("its parameters do not say how it was measured")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Name, err))
		}
		all = append(all, m)
	}
	return all, errors.Join(errs...)
}

func (p Plan) of(c result.Configuration) (measurement, error) {
	switch c.Suite {
	case "search":
		of, err := parseCell(c.Parameters)
		if err != nil {
			return measurement{}, err
		}
		p.Objective, err = ParseObjective(c.Parameters["objective"])
		return p.ofSearch(of), err
	case "load":
		of, err := parseCell(c.Parameters)
		return p.ofCell(of), err
	case "controlplane":
		s, err := ParseScale(c.Parameters["services"] + "x" + c.Parameters["endpoints"] + "x" + c.Parameters["proxies"])
		return p.ofScale(s), err
	case "simulator":
		return p.ofScenario(c.Parameters["scenario"], c.Parameters["file"]), nil
	}
	return measurement{}, fmt.Errorf("suite %q is not known", c.Suite)
}

// metrics are those of the suites that are measured, sorted by name.
func (p Plan) metrics() []result.Metric {
	all := []result.Metric{}
	if len(p.cells()) > 0 && p.Objective == nil || p.repeats("load") {
		all = append(all, loadMetrics()...)
	}
	if len(p.cells()) > 0 && p.Objective != nil || p.repeats("search") {
		all = append(all, searchMetrics()...)
	}
	if len(p.Scales) > 0 || p.repeats("controlplane") {
		all = append(all, controlPlaneMetrics()...)
	}
	if len(p.Scenarios) > 0 || p.repeats("simulator") {
		all = append(all, simulatorMetrics()...)
	}
	slices.SortFunc(all, func(x, y result.Metric) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// Build is a folder with programs.
type Build struct {
	Name string
	Dir  string // has meshproxy, meshd, windtunnel
	About
}

// About is what a build says of itself.
type About = result.Build

// Matrix has the values of every parameter; a configuration is one of each.
type Matrix struct {
	Topologies  []Topology
	Proxies     []string // baseline, client, server, both, and Peers
	Connections []int
	Rates       []Rate
	MutualTLS   []bool
	Payloads    []int // bytes of an answer
	Policies    []int // AuthorizationPolicies that a request is held against
	AccessLog   []bool
	Stats       []bool   // Istio's metrics; nil: on
	Protocols   []string // http1, http2, grpc; nil: http1
	Request     Request
}

// The places of sidecars.
const (
	Baseline = "baseline" // none
	Client   = "client"
	Server   = "server"
	Both     = "both"
)

// The protocols of a load.
const (
	HTTP1 = "http1"
	HTTP2 = "http2"
	GRPC  = "grpc"
)

// Progress is told after every sample.
type Progress struct {
	Done, Total   int
	Build         string
	Configuration string
	Suite         string
	Metrics       []result.Metric
	Sample        result.Sample
	Left          time.Duration // estimated
}

// cell is one configuration.
type cell struct {
	topology    Topology
	proxies     string
	connections int
	rate        Rate
	mtls        bool
	payload     int
	policies    int
	accessLog   bool
	noStats     bool
	protocol    string
	request     Request
}

// cells are all configurations that make sense, in a fixed order: a parameter of
// sidecars does not multiply configurations that have none.
func (m Matrix) cells() []cell {
	all := []cell{{protocol: HTTP1, request: m.Request}}
	all = vary(all, m.Topologies, func(c *cell, v Topology) { c.topology = v })
	if len(m.Protocols) > 0 {
		all = vary(all, m.Protocols, func(c *cell, v string) { c.protocol = v })
	}
	all = vary(all, m.Proxies, func(c *cell, v string) { c.proxies = v })
	all = vary(all, m.MutualTLS, func(c *cell, v bool) { c.mtls = v })
	all = vary(all, m.Policies, func(c *cell, v int) { c.policies = v })
	all = vary(all, m.AccessLog, func(c *cell, v bool) { c.accessLog = v })
	if len(m.Stats) > 0 {
		all = vary(all, m.Stats, func(c *cell, v bool) { c.noStats = !v })
	}
	all = vary(all, m.Payloads, func(c *cell, v int) { c.payload = v })
	all = vary(all, m.Connections, func(c *cell, v int) { c.connections = v })
	all = vary(all, m.Rates, func(c *cell, v Rate) { c.rate = v })
	seen := map[string]bool{}
	kept := all[:0]
	for _, c := range all {
		if c = c.normal(); !seen[c.name()] {
			seen[c.name()] = true
			kept = append(kept, c)
		}
	}
	return kept
}

// vary multiplies cells by the values of a parameter.
func vary[V any](cells []cell, values []V, set func(*cell, V)) []cell {
	all := make([]cell, 0, len(cells)*len(values))
	for _, c := range cells {
		for _, v := range values {
			set(&c, v)
			all = append(all, c)
		}
	}
	return all
}

// normal drops what has no effect: without a sidecar at both ends there is no mutual
// TLS, without one at the server no policy is asked, without any nothing is logged.
func (c cell) normal() cell {
	if c.proxies != Both {
		c.mtls = false
	}
	if c.proxies != Both && c.proxies != Server {
		c.policies = 0
	}
	if c.proxies == Baseline || isPeer(c.proxies) {
		c.accessLog, c.noStats = false, false
	}
	if !c.topology.generated() {
		c.mtls, c.policies, c.payload = false, 0, 0
		if c.topology.Kind == Scenario {
			c.protocol, c.request = "", Request{}
		}
	}
	return c
}

func (c cell) parameters() map[string]string {
	all := map[string]string{
		"topology": c.topology.String(), "proxies": c.proxies, "connections": strconv.Itoa(c.connections), "qps": c.rate.String(), "accesslog": onOff(c.accessLog),
	}
	if c.protocol != "" {
		all["protocol"] = c.protocol
	}
	if c.topology.generated() {
		all["mtls"], all["payload"], all["policies"] = onOff(c.mtls), strconv.Itoa(c.payload), strconv.Itoa(c.policies)
	}
	if c.noStats {
		all["stats"] = "off"
	}
	c.request.parameters(all)
	return all
}

// parameterOrder is how names write parameters.
var parameterOrder = []string{"topology", "protocol", "proxies", "mtls", "policies", "accesslog", "stats", "payload", "paths", "headers", "body", "connections", "qps", "jitter", "arrival"}

// parseCell is the cell behind parameters; a parameter that is missing or broken shows
// in its name.
func parseCell(parameters map[string]string) (cell, error) {
	c := cell{protocol: cmp.Or(parameters["protocol"], HTTP1), proxies: parameters["proxies"], mtls: parameters["mtls"] == "on", accessLog: parameters["accesslog"] == "on",
		noStats: parameters["stats"] == "off"}
	var errs [6]error
	c.topology, errs[0] = ParseTopology(parameters["topology"])
	c.connections, errs[1] = strconv.Atoi(parameters["connections"])
	if c.topology.generated() {
		c.payload, errs[2] = strconv.Atoi(parameters["payload"])
		c.policies, errs[3] = strconv.Atoi(parameters["policies"])
	}
	if parameters["objective"] == "" {
		c.rate, errs[4] = ParseRate(parameters["qps"])
	}
	c.request, errs[5] = parseRequest(parameters)
	return c.normal(), errors.Join(errs[:]...)
}

func (c cell) name() string { return c.named("load", c.parameters()) }

// searchName has no rate; the objective is a part of what is measured.
func (c cell) searchName(o *Objective) string {
	parameters := c.parameters()
	delete(parameters, "qps")
	return c.named("search", parameters) + "/objective=" + strings.ReplaceAll(strings.ReplaceAll(o.text, " ", ""), "/", "_")
}

func (c cell) named(suite string, parameters map[string]string) string {
	var b strings.Builder
	b.WriteString(suite)
	for _, key := range parameterOrder {
		if parameters[key] == "" || key == "protocol" && c.protocol == HTTP1 {
			continue // as it was before there was a choice: files and histories pair by names
		}
		b.WriteString("/" + key + "=" + inName.Replace(parameters[key]))
	}
	return b.String()
}

// inName takes out of a value what would cut a name, or a line.
var inName = strings.NewReplacer("/", "_", "\n", ";", " ", "")

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// ErrNothing is returned where no sample is a result.
var ErrNothing = errors.New("nothing was measured")

// ErrSome is returned where a configuration has no sample that is a result, and others have.
var ErrSome = errors.New("not all was measured")

// ErrPlan is returned where a plan cannot be read: scenarios and earlier results.
var ErrPlan = errors.New("the plan cannot be read")

// Missing says what cannot be measured here, and why.
func (p Plan) Missing() []string {
	var all []string
	for _, c := range p.cells() {
		if why := missing(c.proxies); why != "" && !slices.Contains(all, why) {
			all = append(all, why)
		}
	}
	return all
}

// repeats tells whether a suite is among what is measured again.
func (p Plan) repeats(suite string) bool {
	return slices.ContainsFunc(p.Again, func(c result.Configuration) bool { return c.Suite == suite })
}

// Run takes all samples: in every round each configuration once, with each build in
// turn. Interrupted, it returns what it has, or the context's error where it still reads files.
// Where no sample of any build is a result, the error is ErrNothing, or what kept them from
// being taken; where this is true of some configurations, it is ErrSome, beside the results of
// the others.
func Run(ctx context.Context, p Plan) ([]*result.Benchmark, error) {
	all, err := source.Until(ctx, p.prepare)
	if err != nil {
		return nil, err
	}
	machine := describe(p.Pin)
	start := time.Now()
	found := make([]*result.Benchmark, len(p.Builds))
	for i, b := range p.Builds {
		found[i] = &result.Benchmark{Version: result.Version, Kind: result.BenchmarkKind, Started: start.UTC().Format(time.RFC3339),
			Interleaved: len(p.Builds) > 1, Build: b.About, Machine: machine, Metrics: p.metrics()}
		for _, m := range all {
			found[i].Configurations = append(found[i].Configurations, result.Configuration{Name: m.name, Suite: m.suite, Parameters: m.parameters, Skipped: m.skipped})
		}
	}
	err = p.rounds(ctx, start, all, found)
	for _, b := range found {
		b.WallSeconds = time.Since(start).Seconds()
		b.Interrupted = ctx.Err() != nil
		slices.SortFunc(b.Configurations, func(x, y result.Configuration) int { return strings.Compare(x.Name, y.Name) })
	}
	if ctx.Err() != nil {
		return found, nil
	}
	return found, p.outcome(found, err)
}

// outcome is what a benchmark lacks; failed is the first error of a sample that could not be taken.
func (p Plan) outcome(found []*result.Benchmark, failed error) error {
	taken, valid := 0, 0
	var without []string
	for i, b := range found {
		for _, c := range b.Configurations {
			good := len(c.Samples) - invalid(c.Samples)
			taken, valid = taken+len(c.Samples), valid+good
			if good > 0 || c.Skipped != "" {
				continue
			}
			name := c.Name
			if len(found) > 1 {
				name += " (" + p.Builds[i].Name + ")"
			}
			without = append(without, name+": "+c.WithoutResult())
		}
	}
	switch {
	case valid == 0 && failed != nil:
		return failed
	case taken == 0:
		return fmt.Errorf("%w: no sample was taken", ErrNothing)
	case valid == 0:
		return fmt.Errorf("%w: %s", ErrNothing, without[0])
	case len(without) > 0:
		return fmt.Errorf("%w: there is no result of\n  %s", ErrSome, strings.Join(without, "\n  "))
	}
	return nil
}

// rounds takes all samples and returns the first error of one that could not be taken: it
// is a sample that is no result, and a configuration that has no other yet is not tried again.
func (p Plan) rounds(ctx context.Context, start time.Time, all []measurement, found []*result.Benchmark) (failed error) {
	total, hopeless := 0, make([]bool, len(all))
	for _, m := range all {
		if m.skipped == "" {
			total += p.Repeat * len(p.Builds)
		}
	}
	done := 0
	for round := range p.Repeat {
		for i, m := range all {
			if m.skipped != "" || hopeless[i] {
				continue
			}
			began := time.Now()
			samples, order, err := p.take(ctx, m, round)
			if ctx.Err() != nil {
				return failed
			}
			if err != nil {
				if failed == nil {
					failed = fmt.Errorf("%s: %w", m.name, err)
				}
				samples, order = notTaken(len(p.Builds), err)
				if c := &found[0].Configurations[i]; invalid(c.Samples) == len(c.Samples) {
					hopeless[i] = true
					total -= (p.Repeat - round - 1) * len(p.Builds)
				}
			}
			for _, which := range order {
				s := samples[which]
				s.Round, s.Order, s.Started = round, done, began.Sub(start).Seconds()
				configuration := &found[which].Configurations[i]
				configuration.Samples = append(configuration.Samples, s)
				done++
				if p.Progress != nil {
					left := time.Duration(float64(time.Since(start)) / float64(done) * float64(total-done))
					p.Progress(Progress{Done: done, Total: total, Build: p.Builds[which].Name, Configuration: m.name, Suite: m.suite, Metrics: found[which].Metrics, Sample: s, Left: left})
				}
			}
		}
	}
	return failed
}

// notTaken are samples that are no result, of each build.
func notTaken(builds int, err error) (samples []result.Sample, order []int) {
	for i := range builds {
		samples = append(samples, result.Sample{Invalid: strings.Join(strings.Fields(err.Error()), " "), Metrics: map[string]float64{}})
		order = append(order, i)
	}
	return samples, order
}

// take is a sample of each build, and the order in which they were taken: AB, BA, AB, …,
// so that neither build always comes second.
func (p Plan) take(ctx context.Context, m measurement, round int) (samples []result.Sample, order []int, err error) {
	for j := range p.Builds {
		order = append(order, (j+round)%len(p.Builds))
	}
	if len(p.Builds) == 2 && m.pair != nil {
		samples, err = m.pair(ctx, order[0])
		return samples, order, err
	}
	samples = make([]result.Sample, len(p.Builds))
	for _, which := range order {
		if samples[which], err = m.take(ctx, p.Builds[which]); err != nil {
			return nil, nil, err
		}
	}
	return samples, order, nil
}

func invalid(samples []result.Sample) int {
	n := 0
	for _, s := range samples {
		if s.Invalid != "" {
			n++
		}
	}
	return n
}
