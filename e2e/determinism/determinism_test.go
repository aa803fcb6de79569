//go:build determinism

// Package determinism keeps the simulator's promise: one seed, one trace, whatever else the
// machine does. It runs every shipped scenario many times, each time in a process of its
// own and beside processes that want the processors too, and compares the digests; another
// seed has to give another one.
//
//	make determinism RUNS=50 SCENARIOS=upload
package determinism

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

var (
	runs    = flag.Int("runs", 10, "runs of each scenario with one seed")
	burners = flag.Int("burners", 2, "busy processes beside the runs")
	program = flag.String("windtunnel", "", "program to run; empty: it is built")
)

func TestOneSeedOneTrace(t *testing.T) {
	scenarios, problems := run.Read([]string{"../../scenarios"})
	if len(problems) > 0 || len(scenarios) == 0 {
		t.Fatalf("%d scenarios, problems: %v", len(scenarios), problems)
	}
	windtunnel := build(t)
	burn(t, windtunnel)
	for _, s := range scenarios {
		if !run.RunsIn(s, "sim") {
			continue // it says so itself
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			compare(t, windtunnel, s)
		})
	}
}

// build makes the program that is run.
func build(t *testing.T) string {
	if *program != "" {
		file, err := filepath.Abs(*program)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	file := filepath.Join(t.TempDir(), "windtunnel")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", file, "../../cmd/windtunnel").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// burn keeps processors busy until the test ends: with what a run competes with most,
// other runs of the same program.
func burn(t *testing.T, windtunnel string) {
	for range *burners {
		c := exec.Command("sh", "-c", `while "$0" explain -f ../../bookinfo/manifests/bookinfo.yaml --from productpage-v1 http://reviews:9080/ >/dev/null; do
			i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done
		done`, windtunnel)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait() // it was killed
		})
	}
}

// compare runs a scenario with one seed, again and again, and once with the next seed.
func compare(t *testing.T, windtunnel string, s *spec.Scenario) {
	dir := t.TempDir()
	first := simulate(t, windtunnel, s, 2, filepath.Join(dir, "0"))
	if first[0].Digest == first[1].Digest {
		t.Errorf("the seeds %d and %d have one trace: what does the seed change?", first[0].Seed, first[1].Seed)
	}
	trace := filepath.Join(dir, "0", "traces", fmt.Sprintf("%s-seed-%d.txt", s.Name, first[0].Seed))
	for i := 1; i < *runs; i++ {
		out := filepath.Join(dir, fmt.Sprint(i))
		again := simulate(t, windtunnel, s, 1, out)
		if again[0].Digest != first[0].Digest {
			t.Fatalf("run %d of seed %d gave %s, not %s\n%s", i+1, first[0].Seed, again[0].Digest, first[0].Digest,
				difference(t, trace, filepath.Join(out, "traces", s.Name+".txt"), 20))
		}
		if one, two := results(t, first[0]), results(t, again[0]); one != two {
			t.Fatalf("run %d of seed %d has one trace and other results\n- %s\n+ %s", i+1, first[0].Seed, one, two)
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
	}
}

// simulate runs a scenario in a process of its own, with n seeds, and returns what became of it.
func simulate(t *testing.T, windtunnel string, s *spec.Scenario, n int, out string) []result.Scenario {
	c := exec.Command(windtunnel, "run", s.Position.File, "--run", "^"+regexp.QuoteMeta(s.Name)+"$", "--repeat", fmt.Sprint(n),
		"--parallel", "1", "--timeout", "10m", "-o", "json", "--out", out)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var r result.Run
	if parsed := json.Unmarshal(stdout.Bytes(), &r); parsed != nil || len(r.Scenarios) != n {
		t.Fatalf("%v: %v, %d results\n%s", c.Args, err, len(r.Scenarios), stderr.String())
	}
	// What does not hold with another seed is not deterministic's business, but an error is.
	if r.Scenarios[0].Status != result.Passed || r.Errors > 0 {
		t.Fatalf("%s\n%s", r.Scenarios[0].Message, stderr.String())
	}
	return r.Scenarios
}

// results are what the steps gave.
func results(t *testing.T, s result.Scenario) string {
	text, err := json.Marshal(s.Steps)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// difference shows where two traces part.
func difference(t *testing.T, a, b string, context int) string {
	one, other := lines(t, a), lines(t, b)
	n := 0
	for n < len(one) && n < len(other) && one[n] == other[n] {
		n++
	}
	var text strings.Builder
	fmt.Fprintf(&text, "line %d:\n", n+1)
	for _, l := range one[max(0, n-context):n] {
		fmt.Fprintln(&text, " ", l)
	}
	for _, l := range one[n:min(len(one), n+context)] {
		fmt.Fprintln(&text, "-", l)
	}
	for _, l := range other[n:min(len(other), n+context)] {
		fmt.Fprintln(&text, "+", l)
	}
	return text.String()
}

func lines(t *testing.T, file string) []string {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}
