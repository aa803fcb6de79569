//go:build honesty

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

// honest is a comparison as `bench run` makes it by default, of one configuration.
func honest(dir string, builds []Build, duration time.Duration) Plan {
	return Plan{Builds: builds, Repeat: 15, Duration: duration, WarmUp: 200 * time.Millisecond, Pin: true, Dir: dir, Matrix: Matrix{
		Topologies: []Topology{{Kind: "pair", N: 1}}, Proxies: []string{Both}, Connections: []int{16}, Rates: []Rate{{}},
		MutualTLS: []bool{true}, Payloads: []int{64}, Policies: []int{0}, AccessLog: []bool{false}}}
}

func measured(t *testing.T, p Plan) []*result.Benchmark {
	t.Helper()
	found, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// short is a folder whose path is short enough for a socket's name.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// marker is the first line of what every request passes in every proxy.
const marker = "func (rt *Router) Serve(ctx context.Context, x *filter.Exchange) (*message.Response, error) {\n"

// planted builds a meshproxy whose router works for so long on each request, to no end:
// a copy of its file takes the file's place for the compiler.
func planted(t *testing.T, spin time.Duration) Build {
	t.Helper()
	router, err := filepath.Abs("../mesh/proxy/router/router.go")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(router)
	if err != nil {
		t.Fatal(err)
	}
	slow := strings.Replace(string(source), marker, marker+fmt.Sprintf("\tfor began := time.Now(); time.Since(began) < %d; {\n\t}\n", spin), 1)
	if !strings.Contains(slow, "\t\"time\"\n") {
		slow = strings.Replace(slow, "import (\n", "import (\n\t\"time\"\n", 1)
	}
	if !strings.Contains(slow, "began := time.Now()") {
		t.Fatalf("%s has no %q any more", router, marker)
	}
	dir := t.TempDir()
	copied := filepath.Join(dir, "router.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{router: copied}})
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{copied: []byte(slow), filepath.Join(dir, "overlay.json"): overlay} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", filepath.Join(dir, "meshproxy"), "../cmd/meshproxy").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := OpenBuild("slow", dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A tenth more processor time for a request is found with the default number of samples.
func TestAPlantedSlowdownIsFound(t *testing.T) {
	good := programs(t)
	first := honest(short(t), []Build{good}, time.Second)
	first.Repeat = 5
	cost := stat.Median(measured(t, first)[0].Configurations[0].Values("cpu-per-request"))
	spin := time.Duration(0.10 * cost / 2 * float64(time.Second)) // two proxies on the way
	found := measured(t, honest(short(t), []Build{planted(t, spin), good}, 2*time.Second))
	c := stat.Compare(found[1], found[0], stat.Options{})
	base := stat.Median(found[1].Configurations[0].Values("cpu-per-request"))
	t.Logf("planted %v in each of two proxies: %.1f %% of the %.1f µs that a request took before, %.1f %% of the %.1f µs meanwhile",
		spin, 10.0, cost*1e6, 200*spin.Seconds()/base, base*1e6)
	for _, r := range c.Rows {
		t.Logf("planted %v of %.1f µs in each proxy: %-24s %+6.1f %% (%+.1f … %+.1f) p %.2g %s %s", spin, cost*1e6, r.Metric.Name, 100*r.Change, 100*r.Low, 100*r.High, r.Adjusted, r.Verdict, r.Note)
	}
	for _, r := range c.Rows {
		if r.Metric.Name == "cpu-per-request" && r.Verdict != stat.Regression {
			t.Errorf("a tenth more processor time was not found in %d rounds: %+.1f %% (%+.1f … %+.1f), p %.2g, load average before %.1f",
				r.Pairs, 100*r.Change, 100*r.Low, 100*r.High, r.Adjusted, c.Machine.LoadAverage)
		}
	}
}

// A build compared with itself twenty times raises at most one alarm.
func TestABuildIsNoSlowerThanItself(t *testing.T) {
	good := programs(t)
	alarms := 0
	for i := range 20 {
		found := measured(t, honest(short(t), []Build{good, good}, 500*time.Millisecond))
		c := stat.Compare(found[1], found[0], stat.Options{Seed: uint64(i)})
		for _, r := range c.Regressions() {
			t.Logf("run %d: %s %+.1f %% (%+.1f … %+.1f) p %.2g", i, r.Metric.Name, 100*r.Change, 100*r.Low, 100*r.High, r.Adjusted)
		}
		if len(c.Regressions()) > 0 {
			alarms++
		}
		t.Logf("run %d: %d alarms so far", i, alarms)
	}
	if alarms > 1 {
		t.Errorf("%d of 20 comparisons of a build with itself raised an alarm, want at most 1", alarms)
	}
}
