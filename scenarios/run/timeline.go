package run

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// maxBuckets is how fine a timeline is, at most.
const maxBuckets = 60

// Unanswered is the series of calls that no workload answered.
const Unanswered = "(nobody)"

// widths are the buckets that a reader can count by.
var widths = []time.Duration{
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour,
}

// bucketWidth is the least readable width with at most maxBuckets in a time.
func bucketWidth(total time.Duration) time.Duration {
	for _, w := range widths {
		if total < w*maxBuckets {
			return w
		}
	}
	hours := total/(maxBuckets*time.Hour) + 1
	return hours * time.Hour
}

// observe tells what happened over the world's time: who answered, who called whom,
// how long it took, and what lasted.
func (x *execution) observe(out *result.Scenario) {
	x.log.update(x.world.Log())
	answers := x.served()
	total := x.world.Now().Sub(x.start)
	for _, a := range answers {
		total = max(total, a.done.Sub(x.start))
	}
	width := bucketWidth(total)
	buckets := int(total/width) + 1
	out.Timeline = x.timeline(answers, width, buckets)
	out.Graph, out.Heat = x.graph(width, buckets), x.heat(width)
}

// timeline is who answered over the world's time, with what happened to the mesh:
// every workload that served a request of the scenario's, also of those that other
// services made on the way, and the calls that nobody answered.
func (x *execution) timeline(answers []answer, width time.Duration, buckets int) *result.Timeline {
	series := map[string]*result.Series{}
	for _, a := range answers {
		s := series[a.workload]
		if s == nil {
			s = &result.Series{Workload: a.workload, OK: make([]int, buckets), Errors: make([]int, buckets), Status: map[string]int{}, Flags: map[string]int{}}
			series[a.workload] = s
		}
		i := max(int(a.done.Sub(x.start)/width), 0)
		if a.status < "400" {
			s.OK[i]++
		} else {
			s.Errors[i]++
		}
		s.Status[a.status]++
		for _, f := range a.flags {
			s.Flags[f]++
		}
	}
	t := &result.Timeline{BucketSeconds: width.Seconds(), Series: []result.Series{}}
	for _, name := range slices.Sorted(maps.Keys(series)) {
		t.Series = append(t.Series, *series[name])
	}
	t.Events, t.Bands = x.events(), x.lasting(width)
	for i := range x.log.log {
		if s := &x.log.log[i]; !s.Inbound && s.Attempts > 1 {
			if t.Retries == nil {
				t.Retries = make([]int, buckets)
			}
			t.Retries[min(max(int(s.Time.Sub(x.start)/width), 0), buckets-1)] += s.Attempts - 1
		}
	}
	return t
}

// served are the answers that servers gave, by what their sidecars saw, and those of
// the scenario's own calls that no server gave. A server without a sidecar is known
// by the calls that it answered.
func (x *execution) served() []answer {
	var all []answer
	sidecars := map[string]bool{}
	for i := range x.log.log {
		s := &x.log.log[i]
		if !s.Inbound || s.Workload == "" || s.RequestID == "" {
			continue
		}
		sidecars[s.Workload] = true
		all = append(all, answer{workload: s.Workload, status: strconv.Itoa(s.Status), flags: s.Flags, done: s.Time})
	}
	for _, a := range x.answers {
		if a.workload == "" {
			a.workload = Unanswered
		}
		if !sidecars[a.workload] {
			all = append(all, a)
		}
	}
	return all
}

// events are the world's and the engine's own, in order of time.
func (x *execution) events() []result.Event {
	var events []result.Event
	for _, e := range x.world.Events() {
		events = append(events, result.Event{Seconds: e.Time.Sub(x.start).Seconds(), Kind: e.Kind, Text: e.Text})
	}
	events = append(events, x.notes...)
	slices.SortStableFunc(events, func(a, b result.Event) int {
		switch {
		case a.Seconds < b.Seconds:
			return -1
		case a.Seconds > b.Seconds:
			return 1
		}
		return 0
	})
	return events
}
