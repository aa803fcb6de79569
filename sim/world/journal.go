package world

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/serve"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/sim/trace"
)

// journal collects what the proxies saw and what happened to the mesh.
type journal struct {
	trace   *trace.Recorder // nil: none
	watcher Watcher         // nil: none

	mu     sync.Mutex
	keep   int // so many entries of seen; 0: all
	seen   []run.Seen
	events []run.Event
	pods   map[netip.Addr]place // also those that are gone: addresses are not used twice
	names  map[string]place     // the same by name
	dead   map[string]bool      // Pods that were killed: a process that is no more tells nothing
}

// place is a Pod as the journal names it.
type place struct{ pod, namespace, workload string }

func newJournal(t *trace.Recorder) *journal {
	return &journal{trace: t, pods: make(map[netip.Addr]place), names: make(map[string]place), dead: make(map[string]bool)}
}

func (j *journal) all() []run.Seen {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seen[:len(j.seen):len(j.seen)]
}

func (j *journal) allEvents() []run.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.events[:len(j.events):len(j.events)]
}

// event notes something that happened to the mesh.
func (j *journal) event(kind, who, text string) { j.note(run.Event{Kind: kind}, who, text) }

// note is event for one that has more to tell.
func (j *journal) note(e run.Event, who, text string) {
	kind := e.Kind
	j.trace.Add(kind, who, text)
	if who != "" {
		text = who + " " + text
	}
	e.Time, e.Text = time.Now(), text
	if j.watcher != nil {
		j.watcher.Event(e)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

// know remembers a Pod by its address.
func (j *journal) know(addr netip.Addr, p place) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pods[addr], j.names[p.pod] = p, p
}

// named is the Pod of a name, which may be gone; the zero place: none.
func (j *journal) named(name string) place {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.names[name]
}

// place is the Pod of an address, which may be gone; the zero place: none.
func (j *journal) place(addr netip.Addr) place {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.pods[addr]
}

// sink returns the access log of the proxy in a Pod.
func (j *journal) sink(p place) accesslog.Sink {
	return func(e accesslog.Entry) { j.add(p, e) }
}

// killed has what a Pod's proxy still says count for no more than that requests had
// reached it: how far its goroutines get at the instant of its death is the scheduler's.
func (j *journal) killed(pod string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dead[pod] = true
}

// born forgets that a Pod of that name has died.
func (j *journal) born(pod string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.dead, pod)
}

// unanswered is what is certain of a request that was in a Pod when that was killed.
func unanswered(e accesslog.Entry) accesslog.Entry {
	e.Status, e.Flags, e.Details, e.Attempts, e.BytesSent = 0, "DC", "", 1, 0
	return e
}

func (j *journal) isDead(pod string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dead[pod]
}

func (j *journal) add(p place, e accesslog.Entry) {
	if j.isDead(p.pod) {
		if !e.Inbound {
			return
		}
		e = unanswered(e)
	}
	if j.trace != nil {
		j.trace.Add("exchange", p.pod, describe(&e))
	}
	seen := j.seenAs(p, &e)
	if j.watcher != nil {
		j.watcher.Exchange(seen, e)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.seen) == cap(j.seen) { // append would copy them four times as often
		j.seen = slices.Grow(j.seen, max(64, len(j.seen)))
	}
	j.seen = append(j.seen, seen)
	if j.keep > 0 && len(j.seen) >= 2*j.keep {
		j.seen = slices.Clone(j.seen[len(j.seen)-j.keep:]) // others may still read what was before
	}
}

// seenAs is an entry as the engine knows it.
func (j *journal) seenAs(p place, e *accesslog.Entry) run.Seen {
	j.mu.Lock()
	up, down := j.pods[e.UpstreamHost.Addr()], j.pods[e.DownstreamRemote.Addr()]
	j.mu.Unlock()
	return run.Seen{
		RequestID: e.RequestID, Time: e.Start.Add(e.Duration), Duration: e.Duration,
		Workload: p.workload, Namespace: p.namespace, Pod: p.pod, Inbound: e.Inbound,
		Method: e.Method, Authority: e.Authority, Path: e.Path, Status: e.Status, Flags: flags(e.Flags),
		Details: e.Details, Route: e.RouteName, Source: e.Source, Cluster: e.Cluster, Attempts: e.Attempts, MutualTLS: e.MutualTLS,
		UpstreamPod: up.pod, UpstreamWorkload: up.workload, DownstreamPod: down.pod, DownstreamWorkload: down.workload,
		UpstreamAddress: address(e.UpstreamHost), DownstreamAddress: address(e.DownstreamRemote),
		UpstreamLocalAddress: address(e.UpstreamLocal),
	}
}

func flags(s string) []string {
	if s == "-" || s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// describe is an exchange's line in the trace: all that has to be the same on
// every run of a seed.
func describe(e *accesslog.Entry) string {
	return e.RequestID + " " + e.Method + " " + e.Authority + e.Path + " " + strconv.Itoa(e.Status) + " " + e.Flags + " " + e.Details + " " +
		e.DownstreamRemote.Addr().String() + " -> " + e.UpstreamHost.String() + " " + e.Duration.String() + " in=" + strconv.FormatBool(e.Inbound) +
		" attempts=" + strconv.Itoa(e.Attempts) + " " + strconv.FormatInt(e.BytesReceived, 10) + "/" + strconv.FormatInt(e.BytesSent, 10)
}

// ejection notes that a proxy ejects a host, or takes it back.
func (j *journal) ejection(proxy string, e upstream.Event) {
	j.mu.Lock()
	host := j.pods[e.Host.Addr()].pod
	j.mu.Unlock()
	if host == "" {
		host = e.Host.String()
	}
	if e.Ejected {
		j.note(run.Event{Kind: "eject", Proxy: proxy, Host: host, Cluster: e.Cluster}, proxy, host+" from "+e.Cluster+": "+e.Reason)
	} else {
		j.note(run.Event{Kind: "uneject", Proxy: proxy, Host: host, Cluster: e.Cluster}, proxy, host+" in "+e.Cluster)
	}
}

// push notes what the control plane sends and what it hears; a refusal is an event
// that people want to see.
func (j *journal) push(e serve.Event) {
	text := fmt.Sprintf("%s %s count=%d removed=%d bytes=%d %s", e.Kind, e.Type, e.Count, e.Removed, e.Bytes, e.Text)
	j.trace.Add("xds", podOfNode(e.Node), text)
	if e.Kind == serve.Nacked || e.Kind == serve.Failed {
		j.event("refused", podOfNode(e.Node), strings.TrimSpace(e.Text))
	}
}

// onPod notes Pods that come and go.
func (w *World) onPod(pod *corev1.Pod, what string) { w.log.event("pod", pod.Name, what) }
