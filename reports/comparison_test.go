package reports

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

func latencies(values ...float64) *result.Benchmark {
	c := result.Configuration{Name: "load/connections=16", Suite: "load"}
	for i, v := range values {
		c.Samples = append(c.Samples, result.Sample{Round: i, Metrics: map[string]float64{"latency-p99": v}})
	}
	return &result.Benchmark{
		Version: result.Version, Kind: result.BenchmarkKind, Machine: result.Machine{OS: "linux", Arch: "amd64", Cores: 2},
		Metrics:        []result.Metric{{Name: "latency-p99", Unit: "s", Better: result.Lower}},
		Configurations: []result.Configuration{c},
	}
}

func TestARegressionIsTold(t *testing.T) {
	base := latencies(0.0010, 0.00101, 0.00099, 0.001, 0.00102, 0.00098)
	slow := latencies(0.0020, 0.00201, 0.00199, 0.002, 0.00202, 0.00198)
	c := stat.Compare(base, slow, stat.Options{})
	for what, text := range map[string]string{"table": string(ComparisonTable(c, false)), "markdown": string(ComparisonMarkdown(c)), "annotation": string(Annotations(c))} {
		for _, want := range []string{"regression", "load/connections=16", "latency-p99", "1.00 ms", "2.00 ms", "+100.0"} {
			if !strings.Contains(strings.ToLower(text), strings.ToLower(want)) {
				t.Errorf("the %s has no %q:\n%s", what, want, text)
			}
		}
	}
}

func TestWhereNothingChangedNothingIsSaid(t *testing.T) {
	same := latencies(0.001, 0.00101, 0.00099, 0.001, 0.00102, 0.00098)
	c := stat.Compare(same, same, stat.Options{})
	if text := string(ComparisonTable(c, false)) + string(ComparisonMarkdown(c)) + string(Annotations(c)); text != "" {
		t.Errorf("got %q, want silence", text)
	}
	if text := string(ComparisonTable(c, true)); !strings.Contains(text, "same") {
		t.Errorf("--all shows %q", text)
	}
}

func TestQuantity(t *testing.T) {
	for _, tc := range []struct {
		value float64
		unit  string
		want  string
	}{
		{0.00123, "s", "1.23 ms"}, {20.5e-6, "s/req", "20.5 µs/req"}, {3 << 20, "B", "3.00 MiB"}, {48296, "req/s", "48,296 req/s"},
		{17, "allocs/req", "17 allocs/req"}, {0, "s", "0 s"}, {-1234, "", "-1,234"}, {120, "s", "120 s"},
	} {
		if got := Quantity(tc.value, tc.unit); got != tc.want {
			t.Errorf("Quantity(%v, %q) = %q, want %q", tc.value, tc.unit, got, tc.want)
		}
	}
}

func TestReadBenchmarkTellsWhereAFileIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	for _, tc := range []struct{ text, want string }{
		{"{\n \"version\": v1}", "2:13: "},
		{"{\n \"version\": 1}", "2:"},
		{"{}", `expected kind "benchmark"`},
	} {
		if err := os.WriteFile(path, []byte(tc.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadBenchmark(path); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q", tc.text, err, tc.want)
		}
	}
}
