package diff

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/explain"
)

// Aspect is one thing that both configurations say about a request. Lines and names of
// Pods are not among them: they differ where nothing else does.
type Aspect struct{ Name, Value string }

// Aspects are what a way amounts to.
func Aspects(w *explain.Way) []Aspect {
	list := []Aspect{{"answer", answer(w)}}
	if len(w.Hops) > 0 {
		h := w.Hops[0]
		list = append(list, Aspect{"destinations", destinations(h)}, Aspect{"timeout", duration(h.Timeout)}, Aspect{"retries", retries(h.Retry)},
			Aspect{"fault", fault(h.Fault)}, Aspect{"mirrors", mirrors(h.Mirrors)}, Aspect{"changes", strings.Join(h.Changes, "; ")},
			Aspect{"breakers", breakers(h)})
	}
	security := "plaintext"
	if w.MutualTLS {
		security = "mTLS"
	}
	return append(list, Aspect{"transport", security}, Aspect{"authorization", authorization(w)}, Aspect{"rate limits", rateLimits(w)})
}

// breakers are the limits of the destinations, and when endpoints are ejected.
func breakers(h *explain.Hop) string {
	var parts []string
	for i := range h.Clusters {
		c := &h.Clusters[i]
		text := strings.Join(slices.DeleteFunc([]string{c.Limits.String(), c.Outlier.String()}, func(t string) bool { return t == "" }), ", ")
		if len(h.Clusters) > 1 && text != "" {
			text = c.Name + ": " + text
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "; ")
}

// rateLimits are those of all proxies on the way.
func rateLimits(w *explain.Way) string {
	seen := map[string]bool{}
	for _, h := range w.Hops {
		for i := range h.RateLimits {
			seen[h.Workload+": "+h.RateLimits[i].String()] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), "; ")
}

func answer(w *explain.Way) string {
	switch {
	case w.Error != "":
		return w.Error
	case w.Location != "":
		return fmt.Sprintf("%d to %s", w.Status, w.Location)
	case w.Status != 0:
		return strings.TrimSpace(fmt.Sprintf("%d %s", w.Status, strings.Join(w.Flags, ",")))
	case len(w.Workloads) > 0:
		workloads := slices.Sorted(slices.Values(w.Workloads))
		return "of " + strings.Join(workloads, " or ")
	}
	return "of a server outside"
}

func destinations(h *explain.Hop) string {
	var list []string
	for _, c := range h.Clusters {
		name := c.Name
		if c.Service != "" {
			name = fmt.Sprintf("%s:%d", c.Service, c.Port)
			if c.Subset != "" {
				name += " (" + c.Subset + ")"
			}
		}
		if len(h.Clusters) > 1 {
			name = fmt.Sprintf("%g%% %s", c.Percent, name)
		}
		list = append(list, name)
	}
	return strings.Join(list, ", ")
}

func duration(seconds float64) string {
	if seconds == 0 {
		return ""
	}
	return time.Duration(seconds * float64(time.Second)).String()
}

func retries(r *explain.Retry) string {
	if r == nil {
		return ""
	}
	text := fmt.Sprintf("%d on %s", r.Attempts, strings.Join(r.On, ","))
	if r.PerTryTimeout > 0 {
		text += ", " + duration(r.PerTryTimeout) + " each"
	}
	return text
}

func fault(f *explain.Fault) string {
	if f == nil {
		return ""
	}
	var parts []string
	if f.DelayPercent > 0 {
		parts = append(parts, fmt.Sprintf("%s for %g%%", duration(f.Delay), f.DelayPercent))
	}
	if f.AbortPercent > 0 {
		parts = append(parts, fmt.Sprintf("status %d (gRPC %d) for %g%%", f.Abort, f.AbortGRPC, f.AbortPercent))
	}
	return strings.Join(parts, ", ")
}

func mirrors(list []explain.Mirror) string {
	var parts []string
	for _, m := range list {
		parts = append(parts, fmt.Sprintf("%g%% to %s", m.Percent, m.Cluster))
	}
	return strings.Join(parts, ", ")
}

// authorization is who turned the request away, or with which rules it was let in.
func authorization(w *explain.Way) string {
	seen := map[string]bool{}
	for _, h := range w.Hops {
		for _, p := range h.Policies {
			word := "let in"
			if !p.Passed {
				word = "turned away"
			}
			if p.Action == "custom" {
				seen["up to "+p.Name+": "+p.Reason] = true
			} else if p.Name != "" {
				seen[word+" by "+p.Name] = true
			} else if !p.Passed {
				seen[word+": "+p.Reason] = true
			}
		}
		if h.Refused != "" {
			seen["closed: "+h.Refused] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), ", ")
}

// Difference is one aspect that changes.
type Difference struct {
	Aspect string `json:"aspect"`
	Old    string `json:"old"` // empty: none
	New    string `json:"new"`
}

// Change is a request for which something changes, with the clients for which the same does.
type Change struct {
	Method      string            `json:"method"`
	URL         string            `json:"url"`
	Headers     map[string]string `json:"headers"`
	Token       string            `json:"token,omitempty"` // its claims, as JSON
	From        []string          `json:"from"`
	Differences []Difference      `json:"differences"`
}

// Compare lists the aspects that differ.
func Compare(old, new *explain.Way) []Difference {
	before, after := map[string]string{}, map[string]string{}
	var names []string
	for _, a := range Aspects(old) {
		before[a.Name] = a.Value
		names = append(names, a.Name)
	}
	for _, a := range Aspects(new) {
		after[a.Name] = a.Value
		if !slices.Contains(names, a.Name) {
			names = append(names, a.Name)
		}
	}
	var list []Difference
	for _, n := range names {
		if before[n] != after[n] {
			list = append(list, Difference{n, before[n], after[n]})
		}
	}
	return list
}

// Report is the comparison of two configurations.
type Report struct {
	Version  string   `json:"version"`  // "v1"
	Requests int      `json:"requests"` // that were compared, each from each client
	Changes  []Change `json:"changes"`
}

// Add adds what changes for one request from one client; clients with the same change
// share an entry.
func (r *Report) Add(p Probe, from string, list []Difference) {
	r.Requests++
	token := ""
	if p.Token != nil {
		token = p.Token.String()
	}
	if len(list) == 0 {
		return
	}
	for i := range r.Changes {
		c := &r.Changes[i]
		if c.Method == p.Method && c.URL == p.URL && c.Token == token && maps.Equal(c.Headers, p.Headers) && slices.Equal(c.Differences, list) {
			c.From = append(c.From, from)
			return
		}
	}
	headers := p.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	r.Changes = append(r.Changes, Change{p.Method, p.URL, headers, token, []string{from}, list})
}
