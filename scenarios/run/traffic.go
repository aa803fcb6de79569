package run

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/scenarios/run/expect"
)

// index finds what proxies saw of a request. It grows with the world's log.
type index struct {
	log  []Seen
	byID map[string][]int
}

// update takes the entries that are new.
func (x *index) update(log []Seen) {
	for i := len(x.log); i < len(log); i++ {
		id := Untraced(log[i].RequestID)
		if s := &log[i]; id == "" && s.Method == "" { // of TCP
			id = FlowID(s.DownstreamAddress)
		}
		if id != "" {
			x.byID[id] = append(x.byID[id], i)
		}
	}
	x.log = log
}

// FlowID stands for the request id of a TCP connection: its client's address.
func FlowID(client string) string { return flow + client }

const flow = "tcp "

// of gives the entries of a call. Those of a TCP connection are found from proxy to
// proxy: where one's connection begins is whom the next one hears from. Ports are used
// again, so a connection also has to begin during the call.
func (x *index) of(e *Exchange) []int {
	if !strings.HasPrefix(e.RequestID, flow) {
		return x.byID[e.RequestID]
	}
	var list []int
	for next := e.RequestID; next != ""; {
		id := next
		next = ""
		for _, i := range x.byID[id] {
			s := &x.log[i]
			if begin := s.Time.Add(-s.Duration); begin.Before(e.Sent) || begin.After(e.Done) || slices.Contains(list, i) {
				continue
			}
			list = append(list, i)
			if s.UpstreamLocalAddress != "" {
				next = FlowID(s.UpstreamLocalAddress)
			}
		}
	}
	return list
}

// Untraced is a request id as its client made it. Envoy notes in the version digit of
// a UUID why a request is traced (9 sampled, a forced, b by the client; 4 not at all).
func Untraced(id string) string {
	const digit = 14
	if len(id) != 36 || !strings.ContainsRune("9ab", rune(id[digit])) {
		return id
	}
	return id[:digit] + "4" + id[digit+1:]
}

// about counts the entries of some exchanges, and tells whether there is one at
// least for each that was answered.
func (x *index) about(exchanges []Exchange) (entries int, complete bool) {
	complete = true
	seen := map[string]bool{}
	for _, e := range exchanges {
		if seen[e.RequestID] {
			continue
		}
		seen[e.RequestID] = true
		n := len(x.of(&e))
		entries += n
		complete = complete && (n > 0 || e.Status == 0 && e.Error != "")
	}
	return entries, complete
}

// first returns the entry of the proxy that the client itself spoke to: its own
// sidecar's; of a client without one, the gateway's or the server's. Where a call
// came back to the client's own pod, the outermost is the one that began first.
func (x *index) first(e *Exchange) *Seen {
	var own, next *Seen
	earlier := func(a, b *Seen) bool { return b == nil || a.Time.Add(-a.Duration).Before(b.Time.Add(-b.Duration)) }
	for _, i := range x.of(e) {
		s := &x.log[i]
		switch {
		case e.Client != "" && s.Pod == e.Client && !s.Inbound:
			if earlier(s, own) {
				own = s
			}
		case s.DownstreamPod == e.Client && s.Pod != e.Client:
			if earlier(s, next) {
				next = s
			}
		}
	}
	if own != nil {
		return own
	}
	return next
}

// answered tells who answered a call, going by the entry of its first proxy. A
// proxy's own reply (a fault, an overflow, a timeout) is nobody's answer.
func answered(s *Seen) (workload, pod string) {
	switch {
	case s.Inbound:
		return s.Workload, s.Pod
	case s.Status == 0 && s.Method != "" || s.UpstreamWorkload == "" && s.UpstreamPod == "":
		return "", ""
	case s.Status == 101: // only upstreams switch protocols; flags and details tell how the connection ended
	case s.Details != "" && s.Details != "via_upstream", s.Details == "" && local(s.Flags):
		return "", ""
	}
	return s.UpstreamWorkload, s.UpstreamPod
}

// local tells whether one of the flags says that the proxy replied itself: Envoy's
// response flags for the ends of a request that no upstream answered.
func local(flags []string) bool {
	for _, f := range flags {
		switch f {
		case "UH", "UF", "UO", "NR", "URX", "NC", "UT", "LH", "UR", "UC", "FI", "RL", "UAEX", "RLSE", "DC", "IH", "SI", "DPE", "UPE", "UMSDR", "OM", "DF", "DO":
			return true
		}
	}
	return false
}

// answer is one call for the timeline.
type answer struct {
	done     time.Time
	took     time.Duration // from the intended start
	workload string        // "" where nobody answered
	status   string
	flags    []string
}

// traffic sums up exchanges.
func (x *index) traffic(exchanges []Exchange) (*expect.Traffic, []answer) {
	t := &expect.Traffic{
		Count: int64(len(exchanges)), Status: map[string]int64{}, GRPC: map[string]int64{}, Flags: map[string]int64{}, Workloads: map[string]int64{},
		Pods: map[string]int64{}, Attempts: map[string]int64{}, Kinds: map[string]int64{}, PerSecond: perSecond(exchanges),
	}
	sockets := map[int64]bool{}
	var latency, service distribution
	answers := make([]answer, 0, len(exchanges))
	reached := map[string]bool{}
	headed := false
	for _, e := range exchanges {
		latency.add(e.Done.Sub(e.Intended))
		service.add(e.Done.Sub(e.Sent))
		if e.Socket != 0 {
			sockets[e.Socket] = true
		}
		a := answer{done: e.Done, took: e.Done.Sub(e.Intended), status: "error"}
		if e.Error != "" {
			if t.Errors++; t.Error == "" {
				t.Error = e.Error
			}
			if e.Kind != "" {
				t.Kinds[e.Kind]++
			}
		} else {
			if a.status = "-"; e.Status != 0 {
				a.status = strconv.Itoa(e.Status)
				t.Status[a.status]++
			}
			if e.GRPC != "" {
				t.GRPC[e.GRPC]++
			}
			if !headed {
				headed = true
				t.Protocol = e.Protocol
				if e.TLS != nil {
					t.TLS = expect.TLS{Version: e.TLS.Version, Peer: e.TLS.Peer}
				}
			}
		}
		// Worlds keep the first answer only, and put it where they like.
		if t.Headers == nil && (e.Headers != nil || e.Body != "") {
			t.Body, t.Headers = e.Body, e.Headers
		}
		if s := x.first(&e); s != nil {
			x.credit(t, s, e.RequestID, &a)
		}
		if !reached[e.RequestID] {
			reached[e.RequestID] = true
			for _, i := range x.of(&e) {
				if s := &x.log[i]; s.Inbound && s.Workload != "" {
					t.Attempts[s.Workload]++
				}
			}
		}
		answers = append(answers, a)
	}
	t.Sockets = int64(len(sockets))
	t.Latency, t.Service = latency.summary(), service.summary()
	t.Seconds = span(exchanges).Seconds()
	if t.Seconds > 0 {
		t.QPS = float64(t.Count) / t.Seconds
	}
	return t, answers
}

// perSecond sorts calls by the second in which they were meant to start.
func perSecond(exchanges []Exchange) []expect.Second {
	var latencies [][]time.Duration
	var list []expect.Second
	start := earliest(exchanges)
	for _, e := range exchanges {
		i := int(e.Intended.Sub(start) / time.Second)
		for len(list) <= i {
			list, latencies = append(list, expect.Second{}), append(latencies, nil)
		}
		latencies[i] = append(latencies[i], e.Done.Sub(e.Intended))
		if list[i].Calls++; e.Error != "" {
			list[i].Errors++
		}
	}
	for i, of := range latencies {
		if n := len(of); n > 0 {
			slices.Sort(of)
			list[i].P50, list[i].P99 = of[(n-1)/2], of[(n*99+99)/100-1] // nearest rank
		}
	}
	return list
}

// earliest is the first intended start.
func earliest(exchanges []Exchange) time.Time {
	var first time.Time
	for _, e := range exchanges {
		if first.IsZero() || e.Intended.Before(first) {
			first = e.Intended
		}
	}
	return first
}

// credit counts who answered a call, and its flags.
func (x *index) credit(t *expect.Traffic, s *Seen, id string, a *answer) {
	for _, f := range s.Flags {
		if f != "" && f != "-" {
			t.Flags[f]++
			a.flags = append(a.flags, f)
		}
	}
	workload, pod := answered(s)
	if workload == "" && s.UpstreamAddress != "" && s.UpstreamPod == "" && s.Status != 0 && !local(s.Flags) {
		workload, pod = x.behind(s, id)
	}
	a.workload = workload
	if workload != "" {
		t.Workloads[workload]++
	}
	if pod != "" {
		t.Pods[pod]++
	}
}

// behind tells who answered a proxy that sent a request to no Pod's address, but to a
// Service's (of an ExternalName, for one): the last proxy of a server that heard from it.
func (x *index) behind(s *Seen, id string) (workload, pod string) {
	for _, i := range x.byID[id] {
		if next := &x.log[i]; next.Inbound && next.DownstreamPod == s.Pod {
			workload, pod = next.Workload, next.Pod
		}
	}
	return workload, pod
}

// span is the time from the first intended start to the last end.
func span(exchanges []Exchange) time.Duration {
	if len(exchanges) == 0 {
		return 0
	}
	from, to := exchanges[0].Intended, exchanges[0].Done
	for _, e := range exchanges[1:] {
		if e.Intended.Before(from) {
			from = e.Intended
		}
		if e.Done.After(to) {
			to = e.Done
		}
	}
	return to.Sub(from)
}
