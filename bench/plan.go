package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
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
