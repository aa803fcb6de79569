package explain

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Print writes a Way for people: a line per decision, with the line of YAML behind it.
func (w *Way) Print(out io.Writer) error {
	p := &printer{}
	from := w.From
	if w.Client != w.From {
		from += " (" + w.Client + ")"
	}
	p.text("%s %s://%s%s  from %s", w.Method, w.Scheme, w.Authority, w.Path, from)
	p.text("")
	a := w.Address
	switch {
	case a.IP == "" || a.IP == a.Host:
		p.line("address", "", "%s:%d", a.Host, a.Port)
	default:
		p.line("address", "", "%s is %s:%d", a.Host, a.IP, a.Port)
	}
	if a.Captured != "" {
		p.line("capture", "", "%s", a.Captured)
	}
	if a.Endpoint != "" {
		p.line("service", "", "kube-proxy sends to %s", a.Endpoint)
	}
	for _, h := range w.Hops {
		p.hop(h)
	}
	p.text("")
	p.line("result", "", "%s", w.result())
	_, err := io.WriteString(out, p.b.String())
	return err
}

// result is the outcome in one line.
func (w *Way) result() string {
	flags := ""
	if len(w.Flags) > 0 {
		flags = " " + strings.Join(w.Flags, ",")
	}
	switch {
	case w.Error != "":
		return w.Error
	case w.Location != "":
		return fmt.Sprintf("%d to %s", w.Status, w.Location)
	case w.Status != 0:
		return fmt.Sprintf("%d%s, without the application", w.Status, flags)
	case len(w.Workloads) > 0:
		return "answered by " + strings.Join(w.Workloads, " or ")
	}
	return "leaves the mesh"
}

// printer collects lines of a label and a text.
type printer struct{ b strings.Builder }

const labelWidth = 14

func (p *printer) text(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

func (p *printer) line(label, source, format string, args ...any) {
	fmt.Fprintf(&p.b, "%-*s", labelWidth, label)
	fmt.Fprintf(&p.b, format, args...)
	if source != "" {
		p.b.WriteString("  [" + source + "]")
	}
	p.b.WriteByte('\n')
}

// labelled writes the label with the first of several lines only.
func (p *printer) labelled(label *string, source, format string, args ...any) {
	p.line(*label, source, format, args...)
	*label = ""
}

func (p *printer) hop(h *Hop) {
	p.text("")
	p.text("%s", map[string]string{"outbound": "Sidecar of " + h.Pod, "gateway": "Gateway " + h.Pod, "inbound": "Sidecar of " + h.Pod + ", inbound"}[h.Role])
	if h.Capture != "" {
		p.line("capture", "", "%s", h.Capture)
	}
	peer := ""
	if h.Peer != "" {
		peer = " from " + h.Peer
	}
	p.line("listener", "", "%s, %s comes in%s", h.Listener, h.Security, peer)
	p.chains(h)
	if h.RouteConfig == "" { // else they come after the route
		p.policies(h)
	}
	if h.Refused != "" {
		p.line("closed", "", "%s", h.Refused)
		return
	}
	if h.RouteConfig != "" {
		p.line("virtual host", h.HostSource, "%s: %s", orText(h.VirtualHost, "none"), orText(h.Domain, "no route configuration "+h.RouteConfig))
	}
	label := "route"
	for _, r := range h.Routes {
		if r.Matched {
			p.labelled(&label, r.Source, "> %s", r.Name)
		} else {
			p.labelled(&label, r.Source, "- %s: %s", r.Name, r.Reason)
		}
	}
	if h.RouteConfig != "" {
		p.policies(h)
	}
	p.rateLimits(h)
	if h.Fault != nil {
		p.line("fault", h.Source, "%s", h.Fault.text())
	}
	p.outcome(h)
	p.clusters(h.Clusters)
	label = "mirror"
	for _, m := range h.Mirrors {
		p.labelled(&label, "", "%g%% to %s", m.Percent, m.Cluster)
	}
	label = "changes"
	for _, c := range h.Changes {
		p.labelled(&label, "", "%s", c)
	}
}

func (p *printer) chains(h *Hop) {
	label := "filter chain"
	for _, c := range h.Chains {
		if c.Matched {
			p.labelled(&label, c.Source, "> %s", c.Name)
		} else {
			p.labelled(&label, c.Source, "- %s: %s", c.Name, c.Reason)
		}
	}
}

func (p *printer) policies(h *Hop) {
	last := ""
	for _, o := range h.Policies {
		label := map[string]string{"authentication": "token", "authorization": "authorization"}[o.Kind]
		if label == last {
			label = ""
		} else {
			last = label
		}
		mark, what := ">", o.Action
		if !o.Passed {
			mark = "-"
		}
		if o.Name != "" {
			what += " " + o.Name
		}
		p.line(label, o.Source, "%s %s", mark, strings.TrimPrefix(what+": "+o.Reason, ": "))
	}
}

func (f *Fault) text() string {
	var parts []string
	if f.DelayPercent > 0 {
		parts = append(parts, fmt.Sprintf("delay of %s for %g%%", seconds(f.Delay), f.DelayPercent))
	}
	switch {
	case f.AbortPercent > 0 && f.Abort == 0:
		parts = append(parts, fmt.Sprintf("gRPC status %d for %g%%", f.AbortGRPC, f.AbortPercent))
	case f.AbortPercent > 0:
		parts = append(parts, fmt.Sprintf("status %d for %g%%", f.Abort, f.AbortPercent))
	}
	return strings.Join(parts, ", ")
}

func (p *printer) outcome(h *Hop) {
	switch {
	case h.Location != "":
		p.line("answer", h.Source, "%d to %s", h.Status, h.Location)
	case h.Status != 0:
		p.line("answer", h.Source, "%s", strings.TrimSpace(fmt.Sprintf("%d %s", h.Status, strings.Join(h.Flags, ","))))
	}
	if h.Tunnel != "" {
		p.line("tunnel", h.Source, "%s", h.Tunnel)
	}
	if h.Action != "forward" || h.Role == "inbound" {
		return
	}
	if h.Timeout > 0 {
		p.line("timeout", h.Source, "%s", seconds(h.Timeout))
	}
	if r := h.Retry; r != nil {
		per := ""
		if r.PerTryTimeout > 0 {
			per = fmt.Sprintf(", %s per try", seconds(r.PerTryTimeout))
		}
		p.line("retries", "", "%d%s, on %s", r.Attempts, per, strings.Join(r.On, ","))
	}
}

func (p *printer) clusters(list []Cluster) {
	label := "cluster"
	for _, c := range list {
		share := ""
		if len(list) > 1 {
			share = fmt.Sprintf("%g%% ", c.Percent)
		}
		if c.Missing {
			p.labelled(&label, "", "%s%s, which the proxy does not know", share, c.Name)
			continue
		}
		p.labelled(&label, c.Source, "%s%s, %s", share, c.Name, c.Balancer)
		p.limits(&c)
		if len(c.Endpoints) == 0 {
			p.line("", "", "  no endpoints")
		}
		width := 0
		for _, e := range c.Endpoints {
			width = max(width, len(e.Address))
		}
		for i, e := range c.Endpoints {
			pod := e.Pod
			if pod != "" {
				pod = "  " + pod
			}
			why := ""
			if i == 0 || !slices.ContainsFunc(c.Endpoints[:i], func(o Endpoint) bool { return o.Reason == e.Reason }) {
				why = ": " + e.Reason
			}
			p.line("", "", "  %-*s%s  %s  %s%s", width, e.Address, pod, e.Health, e.Security, why)
		}
	}
}
