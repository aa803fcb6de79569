package cli

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

// selection is which scenarios a command is about.
type selection struct {
	paths  []string
	name   string // regular expression
	labels string // key=value,key=value
}

// defaultPath is read where no path is given.
const defaultPath = "scenarios"

// load reads the scenarios and checks everything that they refer to: a mistake
// anywhere is reported with its place, all of them at once, and nothing runs.
func (sel selection) load(w io.Writer) ([]*spec.Scenario, error) {
	paths := sel.paths
	if len(paths) == 0 {
		paths = []string{defaultPath}
	}
	scenarios, problems := run.Read(paths)
	for _, p := range problems {
		fmt.Fprintln(w, p.Detail())
	}
	count := len(problems)
	count += checkResources(w, scenarios)
	if count > 0 {
		return nil, &exit{codeUsage, fmt.Errorf("%s; nothing was run", plural(count, "problem"))}
	}
	chosen, err := sel.choose(scenarios)
	if err != nil {
		return nil, &exit{codeUsage, err}
	}
	if len(chosen) == 0 && len(scenarios) > 0 {
		return nil, &exit{codeNothing, fmt.Errorf("nothing was tested: %s in %s, none of which %s", plural(len(scenarios), "scenario"), strings.Join(paths, ", "), sel.wanted())}
	}
	if len(chosen) == 0 {
		return nil, &exit{codeNothing, fmt.Errorf("nothing was tested: no scenario in %s", strings.Join(paths, ", "))}
	}
	return chosen, nil
}

// checkResources reads every document of every scenario as the control plane
// will, and looks up every image, so that a typo does not wait for its step. Warnings
// are printed where no step would tell them: those about the mesh configuration.
func checkResources(w io.Writer, scenarios []*spec.Scenario) int {
	seen := make(map[string]bool)
	count := 0
	report := func(ds []config.Diagnostic) {
		for _, d := range ds {
			text := d.Position.String() + d.Message
			if seen[text] || d.Severity != config.Error && (d.Severity != config.Warning || d.Object.Kind != "MeshConfig") {
				continue
			}
			seen[text] = true
			if d.Severity == config.Error {
				count++
			}
			config.Print(w, []config.Diagnostic{d})
		}
	}
	found := make([][]config.Diagnostic, len(scenarios))
	var next atomic.Int64
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(scenarios)); i = next.Add(1) - 1 {
				found[i] = checkScenario(scenarios[i])
			}
		})
	}
	wait.Wait()
	for _, ds := range found {
		report(ds)
	}
	return count
}

// checkScenario returns what is to be said of a scenario's documents.
func checkScenario(s *spec.Scenario) []config.Diagnostic {
	found := slices.Concat(world.CheckMesh(s), world.CheckQueries(s), world.Check(s, s.Resources))
	for _, step := range s.Steps {
		if step.Apply != nil && !run.ExpectsRejection(&step) {
			found = append(found, world.Check(s, step.Apply.Documents)...)
		}
	}
	return found
}

// wanted says what scenarios are chosen by.
func (sel selection) wanted() string {
	var by []string
	if sel.name != "" {
		by = append(by, "matches --run "+sel.name)
	}
	if sel.labels != "" {
		by = append(by, "has the labels "+sel.labels)
	}
	return strings.Join(by, " and ")
}

func (sel selection) choose(scenarios []*spec.Scenario) ([]*spec.Scenario, error) {
	name, err := regexp.Compile(sel.name)
	if err != nil {
		return nil, fmt.Errorf("--run: %w", err)
	}
	want := make(map[string]string)
	for _, pair := range strings.Split(sel.labels, ",") {
		if pair == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, errors.New("-l: expected key=value, got " + pair)
		}
		want[k] = v
	}
	return slices.DeleteFunc(scenarios, func(s *spec.Scenario) bool {
		for k, v := range want {
			if s.Labels[k] != v {
				return true
			}
		}
		return !name.MatchString(s.Name)
	}), nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
