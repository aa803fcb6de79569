package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

// BenchmarkFile is a benchmark's file in its folder.
const BenchmarkFile = "bench.json"

// ReadBenchmark reads a benchmark's file, or the one in a folder.
func ReadBenchmark(path string) (*result.Benchmark, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, BenchmarkFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var b result.Benchmark
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("%s is no benchmark's file: %w", path, position(data, err))
	}
	if b.Kind != result.BenchmarkKind || b.Version != result.Version {
		return nil, fmt.Errorf("%s: kind %q, version %q; expected kind %q, version %q as `windtunnel bench run` writes them", path, b.Kind, b.Version, result.BenchmarkKind, result.Version)
	}
	return &b, nil
}

// ReadHistory reads a history file: a JSON line for each build.
func ReadHistory(path string) ([]stat.HistoryEntry, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []stat.HistoryEntry
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var e stat.HistoryEntry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s:%d: no line of a history: %w", path, number, err)
		}
		if e.Medians == nil {
			return nil, fmt.Errorf("%s:%d: no line of a history: it has no medians", path, number)
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: the history has no builds yet", path)
	}
	return all, nil
}

// position puts line and column before a JSON error.
func position(data []byte, err error) error {
	var at int64
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.As(err, &typed):
		at = typed.Offset
	default:
		return err
	}
	line, column := 1, 1
	for _, c := range data[:min(max(at-1, 0), int64(len(data)))] {
		if column++; c == '\n' {
			line, column = line+1, 1
		}
	}
	return fmt.Errorf("%d:%d: %w", line, column, err)
}

// WriteBenchmark writes a benchmark's file into a folder, which is made where it is
// missing, and beside it the latency histograms of every configuration in the form that
// HdrHistogram's plotters read (.hgrm, milliseconds, from the intended start), and a
// sample of each in fortio's own form.
func WriteBenchmark(dir, name string, b *result.Benchmark) error {
	histograms := filepath.Join(dir, "histograms")
	if err := os.MkdirAll(histograms, 0o755); err != nil {
		return fmt.Errorf("make the benchmark's folder: %w", err)
	}
	data, err := json.MarshalIndent(b, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), append(data, '\n'), 0o644)
	}
	if err != nil {
		return err
	}
	stem := strings.TrimSuffix(name, ".json") + "-"
	for i := range b.Configurations {
		c := &b.Configurations[i]
		file := stem + unsafe.ReplaceAllString(c.Name, "_")
		if err := errors.Join(writeHistogram(filepath.Join(histograms, file+".hgrm"), c), writeFortio(filepath.Join(dir, "fortio"), file, c)); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

// unsafe is what a file's name does not have on every system.
var unsafe = regexp.MustCompile(`[^A-Za-z0-9=.-]+`)

func writeHistogram(path string, c *result.Configuration) error {
	h, err := Latencies(c)
	if err != nil || h == nil {
		return err
	}
	var text bytes.Buffer
	if _, err := h.PercentilesPrint(&text, 5, 1e6); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}

// writeFortio keeps the last sample that is a result as fortio would have written it:
// `fortio report -data-dir` shows the folder.
func writeFortio(dir, name string, c *result.Configuration) error {
	for _, s := range slices.Backward(c.Samples) {
		if s.Invalid == "" && s.Fortio != nil {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, name+".json"), s.Fortio, 0o644)
		}
	}
	return nil
}

// Latencies are all samples of a configuration in one histogram, nanoseconds from the
// intended start; nil where there are none.
func Latencies(c *result.Configuration) (*hdrhistogram.Histogram, error) {
	var all *hdrhistogram.Histogram
	for _, s := range c.Samples {
		if s.Invalid != "" || s.Latency == "" {
			continue
		}
		h, err := hdrhistogram.Decode([]byte(s.Latency))
		if err != nil {
			return nil, fmt.Errorf("latency histogram: %w", err)
		}
		if all == nil {
			all = h
		} else {
			all.Merge(h)
		}
	}
	return all, nil
}

// Baseline is the configuration without sidecars that another is to be held against; nil: none.
func Baseline(b *result.Benchmark, c *result.Configuration) *result.Configuration {
	for i := range b.Configurations {
		other := &b.Configurations[i]
		if other.Parameters["proxies"] != "baseline" {
			continue
		}
		same := true
		for _, key := range []string{"topology", "payload", "connections", "qps", "protocol"} {
			same = same && other.Parameters[key] == c.Parameters[key]
		}
		if same {
			return other
		}
	}
	return nil
}
