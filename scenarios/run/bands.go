package run

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// The kinds of bands.
const (
	bandEjected  = "ejected"
	bandOverflow = "overflow"
	bandFault    = "fault"
	bandWeights  = "weights"
)

// now is the world's time in seconds, from the scenario's beginning.
func (x *execution) now() float64 { return x.world.Now().Sub(x.start).Seconds() }

// broke notes a fault that the scenario made.
func (x *execution) broke(f *spec.Fault) {
	now := x.now()
	if f.Heal != "" || f.ControlPlane == "up" {
		for i := range x.bands {
			b := &x.bands[i]
			if b.Kind == bandFault && b.To < 0 && (f.Heal != "" || b.Subject == "control plane") {
				b.To = now
			}
		}
		return
	}
	b := result.Band{Kind: bandFault, From: now, To: -1}
	var lasts time.Duration
	switch {
	case f.Kill != "":
		b.Subject, b.Text, b.To = f.Kill, "killed", now
	case f.Restart != "":
		b.Subject, b.Text, b.To = f.Restart, "restarted", now
	case f.Pause != nil:
		b.Subject, b.Text, lasts = f.Pause.Workload, "paused", f.Pause.For
	case f.Proxy != nil:
		b.Subject, b.Text, b.To = f.Proxy.Workload, "sidecar "+f.Proxy.Action, now
	case f.Partition != nil:
		b.Subject, b.Text, lasts = f.Partition.From+" and "+f.Partition.To, "cut off from each other", f.Partition.For
	case f.Slow != nil:
		b.Subject, b.Text, lasts = f.Slow.From+" to "+f.Slow.To, slowText(f.Slow), f.Slow.For
	case f.ControlPlane != "":
		if b.Subject, b.Text = "control plane", f.ControlPlane; f.ControlPlane == "restart" {
			b.To = now
		}
	case f.Chaos != nil:
		b.Subject, b.Text, b.From, b.To = strings.Join(f.Chaos.Workloads, ", "), "chaos", max(0, now-f.Chaos.For.Seconds()), now
	case f.XDS != nil:
		b.Subject, b.Text, lasts = f.XDS.Workload, "configuration is dropped", f.XDS.For
		if !f.XDS.Drop {
			b.Text = fmt.Sprintf("configuration is %v late", f.XDS.Delay)
		}
	}
	if lasts > 0 {
		b.To = now + lasts.Seconds()
	}
	x.bands = append(x.bands, b)
}

func slowText(s *spec.Slow) string {
	text := fmt.Sprintf("%v slower", s.Latency)
	if s.Jitter > 0 {
		text += fmt.Sprintf(", jitter %v", s.Jitter)
	}
	if s.Loss > 0 {
		text += fmt.Sprintf(", %.3g %% lost", 100*s.Loss)
	}
	if s.Bandwidth > 0 {
		text += fmt.Sprintf(", %d bytes/s", s.Bandwidth)
	}
	return text
}

// split notes how a route splits traffic from now on; "" is that it does not any more.
func (x *execution) split(subject, shares string, at float64) {
	for i := range x.bands {
		b := &x.bands[i]
		if b.Kind != bandWeights || b.Subject != subject || b.To >= 0 {
			continue
		}
		if b.Text == shares {
			return
		}
		b.To = at
	}
	if shares != "" {
		x.bands = append(x.bands, result.Band{Kind: bandWeights, Subject: subject, Text: shares, From: at, To: -1})
	}
}

// canaryShare is what the canary controller tells of its steps.
var canaryShare = regexp.MustCompile(`^(\S+) the (canary|primary) gets (\d+) %$`)

// lasting are all bands; those that go on end with the run.
func (x *execution) lasting(width time.Duration) []result.Band {
	for _, e := range x.world.Events() {
		if m := canaryShare.FindStringSubmatch(e.Text); e.Kind == "canary" && m != nil {
			x.split("Canary "+m[1], m[2]+" "+m[3], e.Time.Sub(x.start).Seconds())
		}
	}
	bands := append(slices.Clone(x.bands), x.ejected()...)
	bands = append(bands, x.overflows(width)...)
	end := x.now()
	for i := range bands {
		if bands[i].To < 0 || bands[i].To > end {
			bands[i].To = end
		}
		bands[i].From = min(bands[i].From, bands[i].To)
	}
	slices.SortStableFunc(bands, func(a, b result.Band) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.From, b.From))
	})
	return bands
}

// ejected are the times in which some proxy had a host ejected.
func (x *execution) ejected() []result.Band {
	type open struct {
		band    result.Band
		proxies map[string]bool
	}
	var bands []result.Band
	current := map[string]*open{}
	for _, e := range x.world.Events() {
		at := e.Time.Sub(x.start).Seconds()
		o := current[e.Host]
		by := e.Proxy + "|" + e.Cluster
		switch {
		case e.Host == "":
		case e.Kind == "eject" && o == nil:
			current[e.Host] = &open{result.Band{Kind: bandEjected, Subject: e.Host, Text: "by " + e.Proxy, From: at, To: -1}, map[string]bool{by: true}}
		case e.Kind == "eject":
			o.proxies[by] = true
		case e.Kind == "uneject" && o != nil:
			if delete(o.proxies, by); len(o.proxies) == 0 {
				o.band.To = at
				bands = append(bands, o.band)
				delete(current, e.Host)
			}
		}
	}
	for _, host := range slices.Sorted(maps.Keys(current)) {
		bands = append(bands, current[host].band)
	}
	return bands
}

// overflows are the times in which circuit breakers turned requests away (flag UO);
// times less than a bucket apart are one.
func (x *execution) overflows(width time.Duration) []result.Band {
	byCluster := map[string][]time.Time{}
	for i := range x.log.log {
		if s := &x.log.log[i]; slices.Contains(s.Flags, "UO") {
			byCluster[s.Cluster] = append(byCluster[s.Cluster], s.Time)
		}
	}
	var bands []result.Band
	for _, cluster := range slices.Sorted(maps.Keys(byCluster)) {
		times := byCluster[cluster]
		slices.SortFunc(times, time.Time.Compare)
		count := 0
		for i, t := range times {
			at := t.Sub(x.start).Seconds()
			if i == 0 || t.Sub(times[i-1]) > width {
				bands = append(bands, result.Band{Kind: bandOverflow, Subject: cluster, From: at})
				count = 0
			}
			count++
			b := &bands[len(bands)-1]
			b.To, b.Text = at, fmt.Sprintf("%d turned away", count)
		}
	}
	return bands
}
