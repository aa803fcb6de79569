package upstream

import (
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Results are p(assed), f(ailed) and u(nreachable); after each the host's health is
// g(ood) or b(ad), and the next check comes after so many seconds.
func TestHealthIsWhatResultsInARowSay(t *testing.T) {
	config := &snapshot.HealthCheck{Unhealthy: 2, Healthy: 3, Interval: 10 * time.Second, UnhealthyInterval: 5 * time.Second, HealthyEdge: 2 * time.Second,
		UnhealthyEdge: time.Second, NoTraffic: 60 * time.Second, NoTrafficHealthy: 90 * time.Second}
	for _, c := range []struct {
		name, results, health string
		next                  []int
	}{
		{"the first result decides", "p", "g", []int{10}},
		{"also against the host", "up", "bb", []int{5, 2}},
		{"an answer that says no is enough", "pf", "gb", []int{10, 5}},
		{"silence has to last", "pupuu", "ggggb", []int{10, 1, 10, 1, 5}},
		{"so has health", "pfppupppp", "gbbbbbbgg", []int{10, 5, 2, 2, 5, 2, 2, 10, 10}},
	} {
		state := newChecked(config)
		for i, r := range c.results {
			before := state.failing
			changed := state.report(map[rune]checkResult{'p': passed, 'f': failed, 'u': unreachable}[r])
			if changed != (before != state.failing) && i > 0 || state.failing != (c.health[i] == 'b') {
				t.Errorf("%s: after %s it fails: %t, changed: %t", c.name, c.results[:i+1], state.failing, changed)
			}
			if got := state.next(true); got != time.Duration(c.next[i])*time.Second {
				t.Errorf("%s: after %s the next check comes in %v, want %d s", c.name, c.results[:i+1], got, c.next[i])
			}
		}
	}
	state := newChecked(config)
	if state.report(passed); state.next(false) != 90*time.Second {
		t.Error("without traffic a healthy host is checked", state.next(false))
	}
	if state.report(failed); state.next(false) != 60*time.Second {
		t.Error("without traffic a failing host is checked", state.next(false))
	}
	if got := jitter(&snapshot.HealthCheck{JitterPercent: 50, IntervalJitter: 4 * time.Second}, 10*time.Second, 0.5, 0.25); got != 13500*time.Millisecond {
		t.Errorf("jitter makes it %v", got)
	}
}
