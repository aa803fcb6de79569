package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/mattn/go-isatty"

	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// progress tells what has been done: a line per scenario, and on a terminal a
// line below that counts.
type progress struct {
	mu       sync.Mutex
	s        Streams
	o        runOptions
	all      int
	finished int
	virtual  float64
	wall     float64
	terminal bool
	colour   bool
}

func newProgress(s Streams, o runOptions, all int) *progress {
	p := &progress{s: s, o: o, all: all}
	if f, ok := s.Err.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		p.terminal = true
		p.colour = os.Getenv("NO_COLOR") == ""
	}
	p.status()
	return p
}

// done reports one scenario.
func (p *progress) done(r *result.Scenario) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished++
	p.virtual += r.VirtualSeconds
	p.wall += r.WallSeconds
	p.clear()
	if p.o.output == "jsonl" {
		// The value is plain data; a closed stdout ends the command by SIGPIPE.
		_ = json.NewEncoder(p.s.Out).Encode(r)
	}
	// Where stdout is data, what a person reads goes to stderr.
	w := p.s.Err
	if p.o.output == "table" {
		w = p.s.Out
	}
	p.line(w, r)
	p.status()
}

func (p *progress) line(w io.Writer, r *result.Scenario) {
	word := map[result.Status]string{result.Passed: "ok", result.Failed: "FAIL", result.Error: "ERROR", result.Skipped: "skip"}[r.Status]
	fmt.Fprintf(w, "%s %-34s %9s in %7s  %s\n", p.paint(r.Status, fmt.Sprintf("%-5s", word)), r.Name, clock(r.VirtualSeconds), clock(r.WallSeconds), speed(r))
	told := false
	for i := range r.Steps {
		step := r.Steps[i]
		if step.Status == result.Passed || step.Status == result.Skipped {
			continue
		}
		told = true
		fmt.Fprintf(w, "      %s:%d: step %q", r.File, step.Line, stepName(step))
		if step.Message != "" {
			fmt.Fprintf(w, ": %s", strings.TrimSpace(strings.ReplaceAll(step.Message, "\n", "\n      ")))
		}
		fmt.Fprintln(w)
		for _, c := range step.Checks {
			if c.Status != result.Passed {
				fmt.Fprintf(w, "      %s:%d: %s\n%s\n", c.File, c.Line, c.Expression, indent(indent(c.Values())))
				if example := reports.Exemplar(&step, c); example != "" {
					fmt.Fprintln(w, indent(indent(example+p.command(r, c.RequestID))))
				}
			}
		}
	}
	if r.Message != "" && !told { // else the steps have said it
		fmt.Fprintln(w, indent(r.Message))
	}
}

// command is how to ask why a call went as it did.
func (p *progress) command(r *result.Scenario, id string) string {
	if p.o.out == "" {
		return ""
	}
	return fmt.Sprintf("\nwindtunnel explain '%s#%s/%s'", p.o.out, r.Name, id)
}

func stepName(s result.Step) string {
	if s.Name != "" {
		return s.Name
	}
	return s.Operation
}

func indent(text string) string {
	return "      " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n      ")
}

func speed(r *result.Scenario) string {
	if r.WallSeconds <= 0 || r.Status == result.Skipped {
		return ""
	}
	return fmt.Sprintf("%6.0f× %8.0f req/s", r.VirtualSeconds/r.WallSeconds, float64(r.Requests)/r.WallSeconds)
}

func clock(seconds float64) string {
	if seconds < 10 {
		return fmt.Sprintf("%.2fs", seconds)
	}
	return fmt.Sprintf("%.1fs", seconds)
}

func (p *progress) paint(s result.Status, text string) string {
	if !p.colour {
		return text
	}
	code := map[result.Status]string{result.Passed: "32", result.Failed: "31", result.Error: "31", result.Skipped: "33"}[s]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// status draws the line that counts, on a terminal.
func (p *progress) status() {
	if !p.terminal || p.finished == p.all {
		return
	}
	fmt.Fprintf(p.s.Err, "\r%d/%d scenarios, %s of the world's time", p.finished, p.all, clock(p.virtual))
	if p.wall > 0 {
		fmt.Fprintf(p.s.Err, ", %.0f×", p.virtual/p.wall)
	}
}

func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.s.Err, "\r\x1b[K")
	}
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}
