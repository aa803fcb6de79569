package world

import (
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

var _ run.LogKeeper = (*World)(nil)

// accessLogs are the lines that proxies wrote, whatever the file. Only worlds whose
// scenario looks at them keep them.
type accessLogs struct {
	mu    sync.Mutex
	lines []logLine
}

type logLine struct{ pod, text string }

// looksAtLogs tells whether any expectation does.
func looksAtLogs(s *spec.Scenario) bool {
	return slices.ContainsFunc(s.Steps, func(st spec.Step) bool {
		return slices.ContainsFunc(st.Expect, func(e spec.Expression) bool { return strings.Contains(e.Text, "logs(") })
	})
}

// opener opens the access logs of a Pod's proxy; nil: nobody looks at them.
func (l *accessLogs) opener(pod string) accesslog.Open {
	if l == nil {
		return nil
	}
	return func(string) (io.Writer, error) { return podLog{l, pod}, nil }
}

// podLog is one Pod's file.
type podLog struct {
	all *accessLogs
	pod string
}

// Write implements io.Writer: a proxy writes whole lines.
func (p podLog) Write(b []byte) (int, error) {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	p.all.lines = append(p.all.lines, logLine{p.pod, strings.TrimSuffix(string(b), "\n")})
	return len(b), nil
}

// Logs implements run.LogKeeper.
func (w *World) Logs(workload string) ([]string, error) {
	if workload == fromIngress {
		workload = ingressGateway
	}
	pods, err := w.podsOf(workload)
	if err != nil {
		return nil, err
	}
	lines := []string{}
	w.access.mu.Lock()
	defer w.access.mu.Unlock()
	for _, line := range w.access.lines {
		if slices.ContainsFunc(pods, func(n *node) bool { return n.pod.Name == line.pod }) {
			lines = append(lines, line.text)
		}
	}
	return lines, nil
}
