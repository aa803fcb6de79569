package live

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
)

// logFields are the access log's fields, by the names that line has, and the command
// operators of Envoy that fill them.
var logFields = map[string]string{
	"windtunnel":     "1",
	"id":             "%REQ(X-REQUEST-ID)%",
	"start":          "%START_TIME(%s.%6f)%",
	"milliseconds":   "%DURATION%",
	"direction":      "%CEL(xds.listener_direction)%",
	"method":         "%REQ(:METHOD)%",
	"authority":      "%REQ(:AUTHORITY)%",
	"path":           "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
	"status":         "%RESPONSE_CODE%",
	"flags":          "%RESPONSE_FLAGS%",
	"details":        "%RESPONSE_CODE_DETAILS%",
	"route":          "%ROUTE_NAME%",
	"cluster":        "%UPSTREAM_CLUSTER%",
	"attempts":       "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
	"upstream":       "%UPSTREAM_HOST%",
	"upstream_local": "%UPSTREAM_LOCAL_ADDRESS%",
	"downstream":     "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
	"peer":           "%DOWNSTREAM_PEER_URI_SAN%",
}

// logProvider is the name of the access log that results are read from.
const logProvider = "windtunnel"

// accessLog are the settings of the mesh configuration by which proxies write what
// results are read from, whatever else they write.
func accessLog() map[string]any {
	labels := make(map[string]any, len(logFields))
	for k, v := range logFields {
		labels[k] = v
	}
	return map[string]any{
		"defaultProviders": map[string]any{"accessLogging": []any{logProvider}},
		"extensionProviders": []any{map[string]any{"name": logProvider, "envoyFileAccessLog": map[string]any{
			"path": "/dev/stdout", "logFormat": map[string]any{"labels": labels}}}},
	}
}

// line is one line of the access log. Numbers may be texts, and what is not there is
// null or "-".
type line struct {
	Windtunnel    any  `json:"windtunnel"`
	ID            text `json:"id"`
	Start         text `json:"start"`
	Milliseconds  text `json:"milliseconds"`
	Direction     text `json:"direction"`
	Method        text `json:"method"`
	Authority     text `json:"authority"`
	Path          text `json:"path"`
	Status        text `json:"status"`
	Flags         text `json:"flags"`
	Details       text `json:"details"`
	Route         text `json:"route"`
	Cluster       text `json:"cluster"`
	Attempts      text `json:"attempts"`
	Upstream      text `json:"upstream"`
	UpstreamLocal text `json:"upstream_local"`
	Downstream    text `json:"downstream"`
	Peer          text `json:"peer"`
}

// text is a JSON value of any kind as text; null and "-" are empty.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		s = string(b)
	}
	if s == "null" || s == "-" {
		s = ""
	}
	*t = text(s)
	return nil
}

func (t text) number() int {
	n, _ := strconv.Atoi(string(t)) // empty is 0
	return n
}

func (t text) time() time.Time {
	seconds, fraction, _ := strings.Cut(string(t), ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}
	}
	us, _ := strconv.ParseInt(fraction, 10, 64) // six digits, or none
	return time.Unix(s, us*int64(time.Microsecond))
}

// parse reads a line of a proxy's output; ok is false for what is no line of the access log.
func parse(raw []byte) (l line, ok bool) {
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &l) != nil {
		return l, false
	}
	return l, l.Windtunnel != nil
}

// journal collects what the proxies saw and what happened to the mesh.
type journal struct {
	world *World
	since time.Time

	mu        sync.Mutex
	seen      []run.Seen
	lines     []podLine // of other access logs
	events    []run.Event
	following map[string]context.CancelFunc // by namespace/pod/container's restarts
	wait      sync.WaitGroup
}

func (j *journal) all() []run.Seen {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seen[:len(j.seen):len(j.seen)]
}

// podLine is a line of an access log that the scenario has chosen.
type podLine struct {
	of   place
	text string
}

// linesOf are those of some Pods, as they came.
func (j *journal) linesOf(pods []*pod) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := []string{}
	for _, l := range j.lines {
		if slices.ContainsFunc(pods, func(p *pod) bool { return p.Name == l.of.pod && p.Namespace == l.of.namespace }) {
			lines = append(lines, l.text)
		}
	}
	return lines
}

func (j *journal) event(kind, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, run.Event{Time: time.Now(), Kind: kind, Text: fmt.Sprintf(format, args...)})
}

func (j *journal) allEvents() []run.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events)
}

// run follows the proxies of all Pods until the context ends.
func (j *journal) run(ctx context.Context) {
	defer j.wait.Wait()
	for {
		_, _, changed := j.world.mirror.State()
		for _, p := range j.world.pods() {
			j.meet(ctx, p)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// meet remembers a Pod, and follows its proxy once that has started.
func (j *journal) meet(ctx context.Context, p *pod) {
	at := place{p.Name, p.Namespace, p.workload}
	if p.Status.PodIP != "" {
		j.world.places.know(p.Status.PodIP, at)
	}
	_, sidecar := p.proxied()
	statuses := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
	for _, s := range statuses {
		if s.Name != inject.ProxyContainer || s.State.Running == nil {
			continue
		}
		key := fmt.Sprintf("%s/%s/%d", p.Namespace, p.Name, s.RestartCount)
		j.mu.Lock()
		known := j.following[key] != nil
		var follow context.Context
		if !known {
			follow, j.following[key] = context.WithCancel(ctx)
		}
		j.mu.Unlock()
		if !known {
			j.wait.Go(func() { j.follow(follow, at, sidecar) })
		}
	}
}

// follow reads the lines of one proxy until its container ends; one that comes after it
// is met anew.
func (j *journal) follow(ctx context.Context, at place, sidecar bool) {
	body, err := j.world.client.Log(ctx, kube.LogOptions{Namespace: at.namespace, Pod: at.pod, Container: inject.ProxyContainer, Since: j.since, Follow: true})
	if err != nil {
		if ctx.Err() == nil {
			j.event("warning", "%v", err)
		}
		return
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if l, ok := parse(lines.Bytes()); ok {
			j.add(at, sidecar, l)
		} else if text := lines.Text(); text != "" && !ownLine(text) {
			j.mu.Lock()
			j.lines = append(j.lines, podLine{at, j.world.names.scenario(text)})
			j.mu.Unlock()
		}
	}
}

func (j *journal) add(at place, sidecar bool, l line) {
	start := l.Start.time()
	if start.Before(j.since) { // of a scenario before this one, through a gateway
		return
	}
	up, down := j.world.places.at(string(l.Upstream)), j.world.places.at(string(l.Downstream))
	name := j.world.names.scenario
	duration := time.Duration(l.Milliseconds.number()) * time.Millisecond
	seen := run.Seen{
		RequestID: string(l.ID), Time: start.Add(duration), Duration: duration,
		Workload: at.workload, Namespace: name(at.namespace), Pod: at.pod, Inbound: sidecar && l.Direction == "1",
		Method: string(l.Method), Authority: name(string(l.Authority)), Path: string(l.Path), Status: l.Status.number(),
		Details: string(l.Details), Route: name(string(l.Route)), Cluster: name(string(l.Cluster)),
		Attempts: l.Attempts.number(), MutualTLS: l.Peer != "",
		UpstreamPod: up.pod, UpstreamWorkload: up.workload, DownstreamPod: down.pod, DownstreamWorkload: down.workload,
		UpstreamAddress: string(l.Upstream), DownstreamAddress: string(l.Downstream), UpstreamLocalAddress: string(l.UpstreamLocal),
	}
	if l.Flags != "" {
		seen.Flags = strings.Split(string(l.Flags), ",")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seen = append(j.seen, seen)
}
