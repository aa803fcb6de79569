package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// newWorkerCommand is the other end of runWorkers: jobs come in, results go out,
// a line of JSON each. It ends when its input does.
func newWorkerCommand(s Streams) *cobra.Command {
	var memory uint64
	c := &cobra.Command{
		Use:    "worker",
		Short:  "Run simulator jobs for another windtunnel process",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := limitMemory(memory); err != nil {
				return &exit{codeEnvironment, fmt.Errorf("limit the memory to %d bytes: %w", memory, err)}
			}
			runtime.MemProfileRate = 0 // nobody looks at the profile
			debug.SetGCPercent(collectAfter)
			in, out := json.NewDecoder(s.In), json.NewEncoder(s.Out)
			for {
				var j job
				err := in.Decode(&j)
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return &exit{codeUsage, err}
				}
				if err := out.Encode(work(c.Context(), s, j)); err != nil {
					return &exit{codeEnvironment, err}
				}
			}
		},
	}
	c.Flags().Uint64Var(&memory, "memory", 0, "bytes of data that the process may have; 0: any")
	return c
}

// collectAfter is a worker's GOGC. Setting it once also spares the collection that would
// come with the default between any two scenarios.
const collectAfter = 400

func work(ctx context.Context, streams Streams, j job) result.Scenario {
	// Whoever sent the job has checked the expectations.
	scenarios, problems := spec.Read([]string{j.File}, spec.Options{})
	for _, s := range scenarios {
		if s.Name == j.Name {
			return runSim(ctx, streams, j, s)
		}
	}
	return failed(j, fmt.Sprintf("%s changed while it was run: no scenario %q, %d problems", j.File, j.Name, len(problems)))
}

func failed(j job, message string) result.Scenario {
	return result.Scenario{Name: j.Name, File: j.File, Status: result.Error, Message: message, Seed: j.Seed, Steps: []result.Step{}}
}

// runWorkers runs jobs in n worker processes. A worker that is stuck or dies takes
// one job with it: the job's result says so, and another worker takes its place.
func runWorkers(ctx context.Context, stderr io.Writer, jobs []job, n int, memory uint64, finished func(job, *result.Scenario)) {
	queue := make(chan job, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	var wait sync.WaitGroup
	for range n {
		wait.Go(func() {
			var w *worker
			for j := range queue {
				if ctx.Err() != nil {
					break
				}
				if w == nil {
					w = startWorker(stderr, j.Verbose, memory)
				}
				r := w.run(ctx, j)
				if w.broken {
					w.end()
					w = nil
				}
				if ctx.Err() == nil {
					finished(j, &r)
				}
			}
			if w != nil {
				w.end()
			}
		})
	}
	wait.Wait()
}

// worker is one child process.
type worker struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	stderr  ending
	broken  bool
	err     error // why it did not start
}

func startWorker(stderr io.Writer, verbose bool, memory uint64) *worker {
	w := &worker{}
	self, err := os.Executable()
	if err != nil {
		w.broken, w.err = true, err
		return w
	}
	w.command = exec.Command(self, "worker", "--memory", strconv.FormatUint(memory, 10))
	w.command.Args[0] = os.Args[0]
	w.command.Env = append(os.Environ(), "GOMAXPROCS=1")
	w.command.Stderr = &w.stderr
	if verbose {
		w.command.Stderr = io.MultiWriter(&w.stderr, stderr)
	}
	ownGroup(w.command)
	var out io.ReadCloser
	if w.in, err = w.command.StdinPipe(); err == nil {
		out, err = w.command.StdoutPipe()
	}
	if err == nil {
		err = w.command.Start()
	}
	if err != nil {
		w.broken, w.err = true, err
		return w
	}
	w.out = bufio.NewReaderSize(out, 1<<20)
	return w
}

// grace is what a worker gets beyond the scenario's own watchdog.
const grace = 10 * time.Second

// run sends one job and waits for its result, the watchdog or the interrupt.
func (w *worker) run(ctx context.Context, j job) result.Scenario {
	if w.err != nil {
		return failed(j, "start a worker process: "+w.err.Error())
	}
	limit := j.Timeout + grace
	if j.CheckDeterminism {
		limit += j.Timeout
	}
	timer := time.AfterFunc(limit, func() { w.command.Process.Kill() })
	defer timer.Stop()
	stop := context.AfterFunc(ctx, func() { w.command.Process.Kill() })
	defer stop()
	w.stderr.reset()
	err := json.NewEncoder(w.in).Encode(j)
	var line []byte
	if err == nil {
		line, err = w.out.ReadBytes('\n')
	}
	var r result.Scenario
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err == nil {
		return r
	}
	w.broken = true
	w.in.Close()
	state := w.command.Wait()
	words := w.stderr.String()
	message := fmt.Sprintf("the simulator's process ended (%v)", state)
	if strings.HasPrefix(words, stuckWords) || !timer.Stop() {
		message = fmt.Sprintf("stuck: it took longer than --timeout %s", j.Timeout)
	}
	return failed(j, strings.TrimSpace(message+"\n"+words))
}

// end lets the worker finish and reaps it.
func (w *worker) end() {
	if w.command == nil || w.command.Process == nil || w.command.ProcessState != nil {
		return
	}
	w.in.Close()
	// Its exit status says nothing that its results have not said.
	_ = w.command.Wait()
}
