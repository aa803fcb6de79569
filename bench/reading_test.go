//go:build unix

package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// An interrupt ends a benchmark that still reads its files: here one that does not end.
func TestInterruptWhileFilesAreRead(t *testing.T) {
	for name, plan := range map[string]func(file string) Plan{
		"topology": func(file string) Plan {
			topology, err := ParseTopology(file)
			if err != nil {
				t.Fatal(err)
			}
			return Plan{Matrix: Matrix{Topologies: []Topology{topology}, Proxies: []string{Baseline}, Connections: []int{1}, Rates: make([]Rate, 1),
				MutualTLS: []bool{true}, Payloads: []int{1}, Policies: []int{0}, AccessLog: []bool{false}}}
		},
		"simulator": func(file string) Plan { return Plan{Scenarios: []string{file}} },
	} {
		pipe := filepath.Join(t.TempDir(), "pipe.yaml")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		p := plan(pipe)
		p.Repeat, p.Builds = 1, []Build{{Name: "a"}}
		ctx, cancel := context.WithCancel(t.Context())
		read := make(chan *os.File)
		go func() {
			writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns when somebody reads
			if err != nil {
				t.Error(err)
			}
			cancel()
			read <- writer
		}()
		found, err := Run(ctx, p)
		if found != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, %v", name, found, err)
		}
		if err := (<-read).Close(); err != nil {
			t.Error(err)
		}
	}
}
