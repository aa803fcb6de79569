package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

// simulatorMetrics are what a sample of the simulator has. Virtual time and counts
// are the same on every run of one build: they are compared exactly.
func simulatorMetrics() []result.Metric {
	return []result.Metric{
		{Name: "exchanges", Exact: true, About: "that proxies handled"},
		{Name: "exchanges-per-second", Unit: "1/s", Better: result.Higher, Floor: 100, About: "exchanges of proxies per second of wall time"},
		{Name: "program", Unit: "s", Better: result.Lower, Floor: 0.02, About: "from the program's start to its end"},
		{Name: "virtual-seconds", Unit: "s", Exact: true},
		{Name: "virtual-seconds-per-second", Unit: "", Better: result.Higher, Floor: 0.1},
	}
}

// scenarios are the names of the scenarios in some files, with their files.
func scenarios(files []string) (map[string]string, []string, error) {
	found, problems := run.Read(files)
	if len(problems) > 0 {
		return nil, nil, errors.New(problems[0].Detail())
	}
	byName := map[string]string{}
	var names []string
	for _, s := range found {
		if len(s.Environments) == 0 || slices.Contains(s.Environments, "sim") {
			byName[s.Name] = s.Position.File
			names = append(names, s.Name)
		}
	}
	return byName, names, nil
}

// simulated runs one scenario with the build's windtunnel.
func (p Plan) simulated(ctx context.Context, b Build, name, file string) (result.Sample, error) {
	var out bytes.Buffer
	said := &world.Tail{}
	command := exec.CommandContext(ctx, filepath.Join(b.Dir, "windtunnel"), "run", file, "--run", "^"+name+"$", "--parallel", "1", "-o", "json")
	command.Stdout, command.Stderr = &out, said
	start := time.Now()
	err := command.Run()
	took := time.Since(start).Seconds()
	var found result.Run
	if broken := json.Unmarshal(out.Bytes(), &found); broken != nil {
		return result.Sample{}, fmt.Errorf("%s: %w: %s", command.Path, errors.Join(err, broken), said)
	}
	s := result.Sample{Seconds: took, Metrics: map[string]float64{}}
	if len(found.Scenarios) != 1 || found.Scenarios[0].Status != result.Passed {
		s.Invalid = "the scenario did not pass"
		return s, nil
	}
	r := found.Scenarios[0]
	s.Metrics["program"] = took
	s.Metrics["exchanges"] = float64(r.Requests)
	s.Metrics["virtual-seconds"] = r.VirtualSeconds
	s.Metrics["exchanges-per-second"] = float64(r.Requests) / r.WallSeconds
	s.Metrics["virtual-seconds-per-second"] = r.VirtualSeconds / r.WallSeconds
	return s, nil
}
