package run

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// page is a world in which a page calls reviews, whose v2 fails, by sidecars that tell.
func page() *world {
	return &world{send: func(w *world, n int) ([]Exchange, error) {
		var all []Exchange
		for i := range 4 {
			id := fmt.Sprintf("%d-%d", n, i)
			sent := time.Now()
			time.Sleep(10 * time.Millisecond)
			to, status := "reviews-v1", 200
			if i == 3 {
				to, status = "reviews-v2", 503
			}
			w.log = append(w.log,
				Seen{RequestID: id, Time: time.Now(), Duration: 8 * time.Millisecond, Workload: to, Pod: to + "-x", Inbound: true, Method: "GET", Status: status,
					MutualTLS: true, DownstreamPod: "page-x", DownstreamWorkload: "page"},
				Seen{RequestID: id, Time: time.Now(), Duration: 10 * time.Millisecond, Workload: "page", Pod: "page-x", DownstreamPod: "page-x", Method: "GET", Status: status,
					UpstreamPod: to + "-x", UpstreamWorkload: to, Source: "vs.yaml:7", Attempts: 1 + i/3, Details: "via_upstream"})
			if i == 2 { // a proxy's own answer: nobody but it knows
				w.log[len(w.log)-2] = Seen{RequestID: "other", Time: time.Now(), Workload: "page", Pod: "page-x", DownstreamPod: "page-x", Method: "GET", Status: 503,
					Flags: []string{"UO"}, Cluster: "outbound|9080||ratings.default.svc.cluster.local"}
			}
			all = append(all, Exchange{RequestID: id, Intended: sent, Sent: sent, Done: time.Now(), Client: "page-x", Status: status})
		}
		w.events = append(w.events, Event{Time: time.Now(), Kind: "eject", Text: "…", Proxy: "page-x", Host: "reviews-v2-x", Cluster: "c"})
		return all, nil
	}}
}

func document(text string) spec.Document {
	return spec.Document{File: "a.yaml", Line: 3, Text: []byte(text)}
}

const routes = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews}\nspec:\n  http:\n  - route:\n" +
	"    - {destination: {host: reviews, subset: v1}, weight: %d}\n    - {destination: {host: reviews, subset: v2}, weight: %d}\n"

func TestReportsWhatHappened(t *testing.T) {
	w := page()
	s := &spec.Scenario{Name: "s", Resources: []spec.Document{document(fmt.Sprintf(routes, 75, 25))}, Steps: []spec.Step{
		{Name: "ask", Operation: "request", Request: &spec.Request{From: "page", URL: "http://reviews:9080/"}},
		{Name: "shift", Operation: "apply", Apply: &spec.Apply{Documents: []spec.Document{document(fmt.Sprintf(routes, 50, 50))}}},
		{Name: "break", Operation: "fault", Fault: &spec.Fault{Partition: &spec.Partition{From: "page", To: "reviews-v1", For: time.Second}}},
		{Name: "wait", Operation: "wait", Wait: 3 * time.Second},
	}}
	var out result.Scenario
	synctest.Test(t, func(t *testing.T) { out = Run(t.Context(), env{"sim", w, nil}, s, Options{Seed: 1}) })
	if out.Status != result.Passed {
		t.Fatal(out.Message)
	}
	type edge struct {
		To                 string
		Count, Bad, Secure int
	}
	var edges []edge
	for _, e := range out.Graph.Edges {
		edges = append(edges, edge{e.To, e.Count, e.Bad, e.MutualTLS})
	}
	// The third call's server tells nothing: its caller's entry counts.
	if want := []edge{{"ratings.default", 1, 1, 0}, {"reviews-v1", 3, 0, 2}, {"reviews-v2", 1, 1, 1}}; !cmp.Equal(edges, want) {
		t.Errorf("edges: %s", cmp.Diff(want, edges))
	}
	ask := out.Steps[0]
	if len(ask.Outcomes) != 2 || ask.Outcomes[0].Count != 3 || ask.Outcomes[1].Status != "503" || ask.Outcomes[1].Examples[0].Hops[0].Source != "vs.yaml:7" {
		t.Errorf("outcomes: %+v", ask.Outcomes)
	}
	h, err := hdrhistogram.Decode([]byte(ask.Latency.Histogram))
	if err != nil || h.TotalCount() != 4 || time.Duration(h.ValueAtQuantile(50)).Round(time.Millisecond) != 10*time.Millisecond {
		t.Errorf("histogram: %v, %v", h, err)
	}
	change := out.Steps[1].Changes
	if len(change) != 1 || change[0].Action != "changed" || change[0].Object != "VirtualService default/reviews" || change[0].Source != "a.yaml:3" {
		t.Fatalf("changes: %+v", change)
	}
	var bands []string
	for _, b := range out.Timeline.Bands {
		bands = append(bands, fmt.Sprintf("%s %s %s %.2f-%.2f", b.Kind, b.Subject, b.Text, b.From, b.To))
	}
	want := []string{
		"ejected reviews-v2-x by page-x 0.04-3.08", "fault page and reviews-v1 cut off from each other 0.08-1.08",
		"overflow outbound|9080||ratings.default.svc.cluster.local 1 turned away 0.03-0.03",
		"weights VirtualService default/reviews v1 75, v2 25 0.00-0.08", "weights VirtualService default/reviews v1 50, v2 50 0.08-3.08",
	}
	if diff := cmp.Diff(want, bands); diff != "" {
		t.Error(diff)
	}
	if out.Timeline.Retries[0] != 1 {
		t.Errorf("retries: %v", out.Timeline.Retries)
	}
}

func TestConfigurationChanges(t *testing.T) {
	c := configuration{objects: map[string]string{}}
	list := document("kind: List\nitems:\n- {kind: Namespace, metadata: {name: a}}\n- {kind: Service, metadata: {name: b, namespace: a}}\n")
	first, _ := c.apply([]spec.Document{list}, nil)
	if len(first) != 2 || first[0].Object != "Namespace a" || first[1].Object != "Service a/b" {
		t.Fatalf("created: %+v", first)
	}
	if again, _ := c.apply([]spec.Document{document("# a comment\nkind: Namespace\nmetadata:\n  name: a\n")}, nil); len(again) != 0 {
		t.Errorf("another style is no change: %+v", again)
	}
	refusedOnes, _ := c.apply([]spec.Document{document("kind: Service\nmetadata: {name: b, namespace: a}\nspec: {}\n")}, []string{"a.yaml:5:1: no"})
	if len(refusedOnes) != 1 || refusedOnes[0].Action != "rejected" {
		t.Errorf("rejected: %+v", refusedOnes)
	}
	gone := c.remove([]spec.Ref{{Kind: "Service", Namespace: "a", Name: "b"}, {Kind: "Service", Name: "b"}}, nil)
	if len(gone) != 1 || gone[0].Diff != "@@ -1,4 +0,0 @@\n-kind: Service\n-metadata:\n-  name: b\n-  namespace: a\n" {
		t.Errorf("deleted: %+v", gone)
	}
}
