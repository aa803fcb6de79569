package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/windtunnel-mesh/windtunnel/mesh/explain"
	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/picture"
	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// reported is a call of a run: what became of it and the way of a request like it.
type reported struct {
	Scenario string         `json:"scenario"`
	File     string         `json:"file"`
	Line     int            `json:"line"` // of the step
	Step     string         `json:"step"`
	Outcome  result.Outcome `json:"outcome"` // without its examples
	Call     result.Example `json:"call"`
	Way      map[string]any `json:"way,omitempty"` // after the step
	Checks   []result.Check `json:"checks,omitempty"`
}

// ofRun tells an argument of the form RUN#ID from a URL.
func ofRun(arg string) bool {
	return strings.Contains(arg, "#") && !strings.Contains(arg, "://")
}

// explainCall tells of one call that a run has kept. The argument is RUN#ID or
// RUN#SCENARIO/ID, where RUN is a report's folder or its results.json.
func explainCall(s Streams, o explainOptions, arg string) error {
	if len(o.files) > 0 || o.from != "" || len(o.headers) > 0 {
		return &exit{codeUsage, errors.New("RUN#ID is a request that was sent: -f, --from and -H are for requests that were not")}
	}
	dir, id, _ := strings.Cut(arg, "#")
	if filepath.Base(dir) == reports.ResultsFile {
		dir = filepath.Dir(dir)
	}
	run, err := reports.Read(dir)
	if err != nil {
		return &exit{codeUsage, err}
	}
	c, err := findCall(run, id)
	if err != nil {
		return &exit{codeUsage, fmt.Errorf("%s: %w", filepath.Join(dir, reports.ResultsFile), err)}
	}
	if o.output == "json" {
		e := json.NewEncoder(s.Out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(c)
	}
	return c.print(s.Out)
}

// shortest is how much of an id has to be given.
const shortest = 4

// findCall looks for a call by its scenario, where one is given, and the beginning of its id.
func findCall(run *result.Run, want string) (*reported, error) {
	scenario, id, named := strings.Cut(want, "/")
	if !named {
		scenario, id = "", want
	}
	if len(id) < shortest {
		return nil, fmt.Errorf("#%s: give at least %d characters of a request's id", want, shortest)
	}
	var found []*reported
	known := false
	for _, s := range run.Scenarios {
		if named && s.Name != scenario {
			continue
		}
		known = true
		for _, step := range s.Steps {
			for _, o := range step.Outcomes {
				for _, e := range o.Examples {
					if !strings.HasPrefix(e.RequestID, id) {
						continue
					}
					c := &reported{Scenario: s.Name, File: s.File, Line: step.Line, Step: step.Name, Outcome: o, Call: e, Way: step.Way}
					c.Outcome.Examples = nil
					for _, k := range step.Checks {
						if k.RequestID == e.RequestID {
							c.Checks = append(c.Checks, k)
						}
					}
					found = append(found, c)
				}
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case !known:
		return nil, fmt.Errorf("there is no scenario %q in this run", scenario)
	case len(found) == 0:
		return nil, fmt.Errorf("no request whose id begins with %q is kept; a run keeps some of each kind, those that the report shows", id)
	}
	var each []string
	for _, c := range found {
		each = append(each, "#"+c.Scenario+"/"+c.Call.RequestID)
	}
	slices.Sort(each)
	if each = slices.Compact(each); len(each) == 1 {
		return found[0], nil
	}
	const most = 5
	if len(each) > most {
		each = append(each[:most], fmt.Sprintf("%d more", len(each)-most))
	}
	return nil, fmt.Errorf("several requests begin with %q: %s", id, strings.Join(each, ", "))
}

// print writes the call for people.
func (c *reported) print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "request %s, sent %s after the beginning of scenario %s\n", c.Call.RequestID, picture.Seconds(c.Call.Sent), c.Scenario)
	fmt.Fprintf(&b, "by step %q (%s:%d): %s\n", c.Step, c.File, c.Line, reports.InWords(&c.Outcome, &c.Call))
	for _, k := range c.Checks {
		fmt.Fprintf(&b, "it shows why this failed: %s\n%s\n", k.Expression, indent(k.Values()))
	}
	fmt.Fprintln(&b)
	if len(c.Call.Hops) == 0 {
		fmt.Fprintln(&b, "No proxy has seen it.")
	} else {
		c.hops(&b)
	}
	if c.Way == nil {
		_, err := io.WriteString(out, b.String())
		return err
	}
	fmt.Fprint(&b, "\nThe way of a request like it, as the configuration was after the step:\n\n")
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	if why, ok := c.Way["error"].(string); ok && why != "" && c.Way["hops"] == nil {
		_, err := fmt.Fprintln(out, why)
		return err
	}
	text, err := json.Marshal(c.Way)
	if err != nil {
		return err
	}
	var way explain.Way
	if err := json.Unmarshal(text, &way); err != nil {
		return err
	}
	return way.Print(out)
}

// hops is what the proxies on its way logged.
func (c *reported) hops(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tTOOK\tPROXY\tREQUEST\tSTATUS\tTO\tROUTE")
	for _, h := range c.Call.Hops {
		side := "caller's"
		if h.Inbound {
			side = "server's"
		}
		status := strings.TrimSpace(strconv.Itoa(h.Status) + " " + strings.Join(h.Flags, ",") + " " + h.Details)
		to := h.Upstream
		if to == "" {
			to = "-"
		}
		if h.Attempts > 1 {
			to += fmt.Sprintf(" (%d tries)", h.Attempts)
		}
		request := strings.TrimSpace(h.Method + " " + h.Authority + h.Path)
		fmt.Fprintf(w, "%s\t%s\t%s (%s)\t%s\t%s\t%s\t%s %s\n", picture.Seconds(h.Start), picture.Seconds(h.Seconds), h.Pod, side, request, status, to, h.Route, h.Source)
	}
	_ = w.Flush() // into memory
}
