package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/bench"
	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// benchRunFlags are the flags of `bench run`.
type benchRunFlags struct {
	out         string
	output      string
	programs    string
	against     string
	topologies  []string
	proxies     []string
	connections []int
	rates       []string
	mtls        []string
	payloads    []int
	policies    []int
	accessLog   []string
	protocols   []string
	suites      []string
	scales      []string
	scenarios   []string
	repeat      int
	duration    time.Duration
	warmUp      time.Duration
	pin         bool
	findMax     string
	peers       []string
	stats       []string
	paths       []string
	headers     []string
	body        int
	jitter      float64
	arrival     string
}

func newBenchRunCommand(s Streams) *cobra.Command {
	var f benchRunFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Measure what the mesh costs, on loopback sockets, in real time",
		Long: "Sends the same requests with and without sidecars. Proxies are processes whose processor time and memory\n" +
			"the operating system tells; every sample has processes of its own, and samples are interleaved. With --against,\n" +
			"two builds are measured in turn, for `bench compare`.",
		Example: "  windtunnel bench run --matrix baseline,both --connections 16 --qps max --repeat 3 --duration 1s --out out/bench",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("repeat") {
				f.repeat = f.repeats()
			}
			return benchRun(c.Context(), s, f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.out, "out", "", "`folder` for bench.json, base.json, report.html, histograms/, fortio/")
	flags.StringVarP(&f.output, "output", "o", "table", "table or json")
	flags.StringVar(&f.programs, "programs", "", "`folder` with the programs to measure (default: where this one is)")
	flags.StringVar(&f.against, "against", "", "`folder` with another build's programs, measured in turn and written to base.json")
	flags.StringSliceVar(&f.suites, "suite", []string{"load"}, "load, controlplane, simulator")
	flags.StringSliceVar(&f.scales, "scale", []string{"100x5x20", "1000x5x100"}, "sizes of the controlplane suite, `SERVICESxENDPOINTSxPROXIES`")
	flags.StringSliceVar(&f.scenarios, "scenario", nil, "`files` of the simulator suite")
	flags.StringSliceVar(&f.topologies, "topology", []string{"pair"}, "pair, chain:N, fan-out:N, bookinfo, or a scenario's `FILE.yaml` or FILE.yaml#NAME, whose resources and load are taken")
	flags.StringSliceVar(&f.proxies, "matrix", []string{bench.Baseline, bench.Client, bench.Server, bench.Both}, "where sidecars are: baseline, client, server, both")
	flags.StringSliceVar(&f.peers, "peer", nil, "other proxies in the place of the server's sidecar: "+strings.Join(bench.Peers(), ", "))
	flags.IntSliceVar(&f.connections, "connections", []int{16}, "connections of the client")
	flags.StringSliceVar(&f.rates, "qps", []string{"1000", "max"}, "requests per second, FROM..TO for a ramp, A+B+C for steps, or max for as fast as it goes")
	flags.StringSliceVar(&f.mtls, "mtls", []string{"on"}, "mutual TLS between sidecars: on, off")
	flags.IntSliceVar(&f.payloads, "payload", []int{64}, "bytes of an answer")
	flags.IntSliceVar(&f.policies, "policies", []int{0}, "AuthorizationPolicies at the server's sidecar")
	flags.StringSliceVar(&f.accessLog, "access-log", []string{"off"}, "access logs of the sidecars: on, off")
	flags.StringSliceVar(&f.stats, "stats", []string{"on"}, "Istio's metrics in the sidecars: on, off")
	flags.StringSliceVar(&f.paths, "path", nil, "what is called: paths, walked in order, or WEIGHT:/PATH (default: /)")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "header of every request, 'NAME: VALUE'")
	flags.IntVar(&f.body, "body", 0, "bytes of every request's body, sent by POST")
	flags.Float64Var(&f.jitter, "jitter", 0, "moves each call by up to this part of the distance to its neighbours, up to 0.5")
	flags.StringVar(&f.arrival, "arrival", "", "uniform (default), or poisson: as from many users who know nothing of each other")
	flags.StringSliceVar(&f.protocols, "protocol", []string{bench.HTTP1}, "http1, http2, grpc")
	flags.StringVar(&f.findMax, "find-max", "", "search for the highest rate that holds an `objective`, such as 'p99 < 10ms && errors == 0' (3 samples unless --repeat says more; --qps does not count)")
	flags.IntVar(&f.repeat, "repeat", 10, "samples of each configuration (15 by default with --against, 3 with --find-max)")
	flags.DurationVar(&f.duration, "duration", 2*time.Second, "of a sample")
	flags.DurationVar(&f.warmUp, "warm-up", defaultWarmUp, "before a sample, not measured")
	flags.BoolVar(&f.pin, "pin", true, "keep proxies on the first processor and the load on the others")
	return c
}

// repeats is how many samples a configuration gets where nobody says. Two builds need as
// many rounds as stat.NeedPairs asks for some ten configurations.
func (f benchRunFlags) repeats() int {
	switch {
	case f.findMax != "":
		return 3 // a search makes some thirty loads
	case f.against != "":
		return 15
	}
	return f.repeat
}

func benchRun(ctx context.Context, s Streams, f benchRunFlags) error {
	plan, err := f.plan()
	if err != nil {
		return &exit{codeUsage, err}
	}
	if plan.Builds, err = f.builds(); err != nil {
		return &exit{codeEnvironment, err}
	}
	plan.Progress, plan.Live = benchProgress(s), benchLive(s)
	if plan.ReverseProxy, err = reverseProxy(); err != nil {
		return &exit{codeEnvironment, err}
	}
	for _, c := range plan.Missing() {
		fmt.Fprintln(s.Err, c)
	}
	found, incomplete := runBench(ctx, plan)
	if found == nil {
		return incomplete
	}
	if err := f.write(s, found); err != nil {
		return &exit{codeEnvironment, err}
	}
	if ctx.Err() != nil {
		return &exit{codeInterrupted, nil}
	}
	return incomplete
}

// runBench runs a plan in a folder of its own; its errors have exit codes. One beside results
// names the configurations that have none.
func runBench(ctx context.Context, plan bench.Plan) ([]*result.Benchmark, error) {
	var err error
	if plan.Dir, err = os.MkdirTemp("", "wt"); err != nil {
		return nil, &exit{codeEnvironment, err}
	}
	defer os.RemoveAll(plan.Dir)
	found, err := bench.Run(ctx, plan)
	switch {
	case err != nil && err == ctx.Err():
		return nil, &exit{codeInterrupted, errors.New("interrupted; nothing was measured")}
	case errors.Is(err, bench.ErrSome):
		return found, &exit{codeNothing, err}
	case errors.Is(err, bench.ErrNothing):
		return nil, &exit{codeNothing, err}
	case errors.Is(err, bench.ErrPlan):
		return nil, &exit{codeUsage, errors.New(strings.TrimPrefix(err.Error(), bench.ErrPlan.Error()+": "))}
	case err != nil:
		return nil, &exit{codeEnvironment, err}
	}
	return found, nil
}

// defaultWarmUp is what a sample begins with.
const defaultWarmUp = 500 * time.Millisecond

// plan checks the flags.
func (f benchRunFlags) plan() (bench.Plan, error) {
	p := bench.Plan{Repeat: f.repeat, Duration: f.duration, WarmUp: f.warmUp, Pin: f.pin}
	m := &p.Matrix
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	for _, text := range f.topologies {
		t, err := bench.ParseTopology(text)
		note(err)
		m.Topologies = append(m.Topologies, t)
	}
	for _, text := range f.proxies {
		switch text {
		case bench.Baseline, bench.Client, bench.Server, bench.Both:
		default:
			note(fmt.Errorf("--matrix %q: expected baseline, client, server or both", text))
		}
	}
	note(f.peer(m))
	m.Proxies, m.Connections, m.Payloads, m.Policies = append(f.proxies, f.peers...), f.connections, f.payloads, f.policies
	for _, text := range f.rates {
		rate, err := bench.ParseRate(text)
		note(err)
		m.Rates = append(m.Rates, rate)
	}
	m.Protocols = f.protocols
	for _, text := range f.protocols {
		switch text {
		case bench.HTTP1, bench.HTTP2:
		case bench.GRPC:
			if slices.ContainsFunc(m.Topologies, func(t bench.Topology) bool { return t.Kind != "pair" }) {
				note(errors.New("--protocol grpc: its servers call nobody; only --topology pair"))
			}
		default:
			note(fmt.Errorf("--protocol %q: expected http1, http2 or grpc", text))
		}
	}
	var err error
	m.MutualTLS, err = onOff("--mtls", f.mtls)
	note(err)
	m.AccessLog, err = onOff("--access-log", f.accessLog)
	note(err)
	m.Stats, err = onOff("--stats", f.stats)
	note(err)
	note(f.request(m))
	note(atLeast("--connections", f.connections, 1))
	note(atLeast("--payload", f.payloads, 0))
	note(atLeast("--policies", f.policies, 0))
	note(atLeast("--repeat", []int{f.repeat}, 1))
	note(f.suite(&p))
	if f.findMax != "" {
		p.Objective, err = bench.ParseObjective(f.findMax)
		note(err)
		m := &p.Matrix
		m.Rates = nil
		if len(m.Proxies) > 0 {
			m.Rates = []bench.Rate{{}}
		} else {
			note(errors.New("--find-max: searches with the load suite only"))
		}
	}
	if f.duration <= 0 || f.warmUp < 0 {
		note(errors.New("--duration and --warm-up: expected a time such as 2s"))
	}
	if f.output != "table" && f.output != "json" {
		note(fmt.Errorf("-o %q: expected table or json", f.output))
	}
	return p, errors.Join(errs...)
}

// peer checks --peer: what stands in the place of the server's sidecar has to be able to.
func (f benchRunFlags) peer(m *bench.Matrix) error {
	var errs []error
	for _, name := range f.peers {
		if !slices.Contains(bench.Peers(), name) {
			errs = append(errs, fmt.Errorf("--peer %q: expected %s", name, strings.Join(bench.Peers(), ", ")))
		}
	}
	if len(f.peers) == 0 {
		return nil
	}
	if slices.ContainsFunc(m.Topologies, func(t bench.Topology) bool { return t.Kind != "pair" }) {
		errs = append(errs, errors.New("--peer: one proxy stands in front of one server; only --topology pair"))
	}
	if slices.ContainsFunc(f.protocols, func(p string) bool { return p != bench.HTTP1 }) {
		errs = append(errs, errors.New("--peer: the peers are set up for HTTP/1.1; only --protocol http1"))
	}
	return errors.Join(errs...)
}

// request checks what is sent.
func (f benchRunFlags) request(m *bench.Matrix) error {
	q := &m.Request
	q.Body, q.Jitter, q.Arrival = f.body, f.jitter, f.arrival
	var errs []error
	for _, text := range f.paths {
		p, err := bench.ParsePath(text)
		errs = append(errs, err)
		q.Paths = append(q.Paths, p)
	}
	var err error
	if len(f.headers) > 0 {
		q.Headers, err = bench.ParseHeaders(f.headers)
		errs = append(errs, err)
	}
	errs = append(errs, q.Check(m.Rates), atLeast("--body", []int{f.body}, 0))
	if slices.Contains(f.protocols, bench.GRPC) && (len(q.Paths) > 0 || q.Body > 0) {
		errs = append(errs, errors.New("--protocol grpc: its calls have a method and a message of their own; no --path, no --body"))
	}
	given := len(q.Paths) > 0 || q.Headers != nil || q.Body > 0 || q.Jitter > 0 || q.Arrival != ""
	if given && slices.ContainsFunc(m.Topologies, func(t bench.Topology) bool { return t.Kind == bench.Scenario }) {
		errs = append(errs, errors.New("--path, --header, --body, --jitter and --arrival are not for a scenario, whose load says what is sent"))
	}
	return errors.Join(errs...)
}

// suite leaves in a plan what belongs to the suites that were asked for.
func (f benchRunFlags) suite(p *bench.Plan) error {
	var errs []error
	load := false
	for _, name := range f.suites {
		switch name {
		case "load":
			load = true
		case "controlplane":
			for _, text := range f.scales {
				s, err := bench.ParseScale(text)
				errs = append(errs, err)
				p.Scales = append(p.Scales, s)
			}
		case "simulator":
			if p.Scenarios = f.scenarios; len(f.scenarios) == 0 {
				errs = append(errs, errors.New("--suite simulator: which scenarios? --scenario FILE"))
			}
		default:
			errs = append(errs, fmt.Errorf("--suite %q: expected load, controlplane or simulator", name))
		}
	}
	if !load {
		p.Matrix = bench.Matrix{}
	}
	return errors.Join(errs...)
}

func onOff(flag string, words []string) ([]bool, error) {
	var values []bool
	for _, w := range words {
		if w != "on" && w != "off" {
			return nil, fmt.Errorf("%s %q: expected on or off", flag, w)
		}
		values = append(values, w == "on")
	}
	return values, nil
}

func atLeast(flag string, values []int, least int) error {
	for _, v := range values {
		if v < least {
			return fmt.Errorf("%s %d: expected at least %d", flag, v, least)
		}
	}
	return nil
}

// builds are the programs: this one's neighbours where nothing is said.
func (f benchRunFlags) builds() ([]bench.Build, error) {
	dir := f.programs
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		dir = filepath.Dir(self)
	}
	build, err := bench.OpenBuild("new", dir)
	if err != nil {
		return nil, err
	}
	if f.against == "" {
		return []bench.Build{build}, nil
	}
	base, err := bench.OpenBuild("base", f.against)
	return []bench.Build{build, base}, err
}

// write puts the files into the folder, and the result on stdout.
func (f benchRunFlags) write(s Streams, found []*result.Benchmark) error {
	if f.out != "" {
		names := []string{reports.BenchmarkFile, "base.json"}
		for i, b := range found {
			if err := reports.WriteBenchmark(f.out, names[i], b); err != nil {
				return err
			}
		}
		if err := drawRuns(filepath.Join(f.out, reports.HTMLFile), found); err != nil {
			return err
		}
	}
	if f.output == "json" {
		e := json.NewEncoder(s.Out)
		e.SetIndent("", "  ")
		return e.Encode(found[0])
	}
	_, err := s.Out.Write(reports.BenchmarkTable(found[0]))
	return err
}
