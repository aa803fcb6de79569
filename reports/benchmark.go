package reports

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
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
