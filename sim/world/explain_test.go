package world

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/explain"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run/expect"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// scenario reads a scenario file; its first step may be an apply.
func scenario(t *testing.T, file string) *spec.Scenario {
	t.Helper()
	list, problems := run.Read([]string{file})
	if len(problems) > 0 || len(list) != 1 {
		t.Fatalf("%s: %v", file, problems)
	}
	return list[0]
}

// draws makes requests that hit and miss the routes of the matching scenario.
type draws struct{ *rand.Rand }

func (d draws) pick(of ...string) string { return of[d.IntN(len(of))] }

func (d draws) request() *spec.Request {
	from := d.pick("productpage-v1", "productpage-v1", "productpage-v1", "reviews-v2", "outside", "ingress")
	host := d.pick("reviews:9080", "reviews:9080", "reviews:9080", "reviews.default.svc.cluster.local:9080", "reviews.default:9080", "ratings:9080")
	if from == "ingress" {
		host = "bookinfo.example"
	}
	path := d.pick("/reviews/0", "/reviews/5", "/reviews/9", "/reviews/55", "/old/3", "/old", "/moved", "/moved/", "/Moved",
		"/reviews//7", "/x/../old/4", "/%6dov%65d", "/productpage", "/health") + d.pick("", "", "?version=v3", "?version=v2", "?a=b&version=v3", "?version")
	headers := map[string]string{}
	if d.IntN(2) == 0 {
		headers["x-channel"] = d.pick("beta-1", "beta-", "beta", "Beta-1")
	}
	if d.IntN(3) == 0 {
		headers["x-opt-out"] = d.pick("yes", "no")
	}
	if d.IntN(8) == 0 {
		headers["Host"] = d.pick("reviews", "REVIEWS:9080", "ratings:9080", "nobody:9080")
	}
	return &spec.Request{From: from, URL: "http://" + host + path, Method: d.pick("GET", "GET", "GET", "DELETE", "POST"), Headers: headers,
		Count: 1, Parallel: 1, Protocol: "http1"}
}

// TestExplainTellsWhereRequestsGo sends random requests and compares what was said
// before with what the proxies log.
func TestExplainTellsWhereRequestsGo(t *testing.T) {
	const file = "../../scenarios/bookinfo/matching.yaml"
	s := scenario(t, file)
	d := draws{rand.New(rand.NewPCG(1, 2))}
	outcomes := map[string]int{}
	err := (&Sim{}).Do(t.Context(), s, run.Options{Seed: 1}, func(ctx context.Context, world run.World) error {
		w := world.(*World)
		for _, docs := range [][]spec.Document{s.Resources, s.Steps[0].Apply.Documents, gateway(t)} {
			if applied, err := w.Apply(ctx, docs); err != nil || len(applied.Rejected) > 0 {
				return fmt.Errorf("%v %v", applied, err)
			}
		}
		for range 250 {
			q := d.request()
			way, err := w.explain(&spec.Explain{From: q.From, URL: q.URL, Method: q.Method, Headers: q.Headers}, running)
			if err != nil {
				return fmt.Errorf("%+v: %w", q, err)
			}
			before := len(w.Log())
			sent, err := w.Send(ctx, q)
			if err != nil {
				return err
			}
			if err := w.Sleep(ctx, 20e6); err != nil {
				return err
			}
			compare(t, q, way, sent[0], w.Log()[before:])
			outcomes[fmt.Sprintf("%s %d", way.Route, way.Status)]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"by-header 0", "by-query 0", "by-method 405", "by-uri 0", "moved 308", "otherwise 0", "allow_any 0", " 404"} {
		if outcomes[want] == 0 {
			t.Errorf("no request had the outcome %q: %v", want, outcomes)
		}
	}
}

// TestExplainTellsWhatStrictServersRefuse: plaintext where mutual TLS is wanted.
func TestExplainTellsWhatStrictServersRefuse(t *testing.T) {
	s := scenario(t, "../../scenarios/bookinfo/matching.yaml")
	strict := []spec.Document{{File: "strict.yaml", Line: 1, Text: []byte(`
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ratings}
spec: {host: ratings, trafficPolicy: {tls: {mode: DISABLE}}}
`)}}
	err := (&Sim{}).Do(t.Context(), s, run.Options{Seed: 1}, func(ctx context.Context, world run.World) error {
		w := world.(*World)
		for _, docs := range [][]spec.Document{s.Resources, strict} {
			if applied, err := w.Apply(ctx, docs); err != nil || len(applied.Rejected) > 0 {
				return fmt.Errorf("%v %v", applied, err)
			}
		}
		for _, c := range []struct{ from, to, refused, flags string }{
			{"outside", "http://details:9080/details/0", "no filter chain matches", ""},
			{"reviews-v2", "http://ratings:9080/ratings/0", "no filter chain matches", "UC"},
			{"productpage-v1", "http://details:9080/details/0", "", ""},
		} {
			way, err := w.explain(&spec.Explain{From: c.from, URL: c.to, Method: "GET"}, running)
			if err != nil {
				return err
			}
			sent, err := w.Send(ctx, &spec.Request{From: c.from, URL: c.to, Method: "GET", Count: 1, Parallel: 1, Protocol: "http1"})
			if err != nil {
				return err
			}
			last := way.Hops[len(way.Hops)-1]
			if last.Refused != c.refused || strings.Join(way.Flags, ",") != c.flags || way.Status != 0 && way.Status != sent[0].Status || (way.Error != "") != (sent[0].Status == 0) {
				t.Errorf("%s to %s: explained %q, %d %v, %q; got %d %s", c.from, c.to, last.Refused, way.Status, way.Flags, way.Error, sent[0].Status, sent[0].Error)
			}
			if log := w.Log(); c.flags != "" && !slices.Equal(log[len(log)-1].Flags, way.Flags) {
				t.Errorf("%s to %s: explained %v, logged %v", c.from, c.to, way.Flags, log[len(log)-1].Flags)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestExplainOffline: what is worked out without a world is what proxies in one say.
func TestExplainOffline(t *testing.T) {
	s := scenario(t, "../../scenarios/bookinfo/matching.yaml")
	docs := slices.Concat(s.Resources, s.Steps[0].Apply.Documents, gateway(t))
	mesh, _, err := NewOffline(docs)
	if err != nil {
		t.Fatal(err)
	}
	err = (&Sim{}).Do(t.Context(), s, run.Options{Seed: 1}, func(ctx context.Context, world run.World) error {
		w := world.(*World)
		if _, err := w.Apply(ctx, docs); err != nil {
			return err
		}
		d := draws{rand.New(rand.NewPCG(3, 4))}
		for range 50 {
			r := d.request()
			q := &spec.Explain{From: r.From, URL: r.URL, Method: r.Method, Headers: r.Headers}
			live, err := w.explain(q, running)
			if err != nil {
				return err
			}
			apart, err := mesh.Explain(q)
			if err != nil {
				return err
			}
			live.Address.Endpoint, apart.Address.Endpoint = "", "" // kube-proxy's turn
			if a, b := text(t, live), text(t, apart); a != b && r.From != "outside" {
				t.Fatalf("%+v: in a world\n%s\noffline\n%s", q, a, b)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, way *explain.Way) string {
	t.Helper()
	b, err := json.MarshalIndent(way, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func gateway(t *testing.T) []spec.Document {
	s := scenario(t, "../../scenarios/bookinfo/explain.yaml")
	return slices.DeleteFunc(slices.Clone(s.Resources), func(d spec.Document) bool { return !strings.HasSuffix(d.File, "gateway.yaml") })
}

func running(n *node) (*snapshot.Proxy, error) {
	if n.proxy == nil {
		return nil, nil
	}
	return n.proxy.Snapshot(), nil
}

// compare holds every hop of a way against the log of its proxy.
func compare(t *testing.T, q *spec.Request, way *explain.Way, sent run.Exchange, log []run.Seen) {
	t.Helper()
	about := fmt.Sprintf("%s %s from %s %v", q.Method, q.URL, q.From, q.Headers)
	log = slices.DeleteFunc(slices.Clone(log), func(s run.Seen) bool { return untraced(s.RequestID) != untraced(sent.RequestID) })
	slices.SortFunc(log, func(a, b run.Seen) int { return a.Time.Add(-a.Duration).Compare(b.Time.Add(-b.Duration)) })
	if way.Status != 0 && sent.Status != way.Status {
		t.Errorf("%s: explained %d, got %d", about, way.Status, sent.Status)
	}
	if (way.Error != "") != (sent.Status == 0) {
		t.Errorf("%s: explained %q, got %d", about, way.Error, sent.Status)
	}
	if len(log) < len(way.Hops) {
		t.Errorf("%s: %d proxies explained, %d saw it: %+v", about, len(way.Hops), len(log), log)
		return
	}
	for i, h := range way.Hops {
		s := log[i]
		cluster := ""
		if len(h.Clusters) == 1 && h.Status == 0 {
			cluster = h.Clusters[0].Name
		}
		if s.Pod != h.Pod || s.Route != h.Route || s.Source != h.Source || h.Status == 0 && s.Cluster != cluster ||
			h.Status != 0 && s.Status != h.Status || s.MutualTLS != (h.Security == "mTLS") || len(h.Flags) > 0 && !slices.Equal(h.Flags, s.Flags) {
			t.Errorf("%s: hop %d: explained %+v,\nlogged %+v", about, i, h, s)
		}
	}
	if len(way.Workloads) == 1 {
		if last := log[len(way.Hops)-1]; last.Workload != way.Workloads[0] {
			t.Errorf("%s: explained %v, %s had it", about, way.Workloads, last.Workload)
		}
	}
}

// untraced is a request id without the digit that says why it is traced.
func untraced(id string) string {
	if len(id) != 36 {
		return id
	}
	return id[:14] + id[15:]
}

// TestExplainedHasTheFieldsOfTheLanguage: expectations know a Way's fields by name.
func TestExplainedHasTheFieldsOfTheLanguage(t *testing.T) {
	text, err := json.Marshal(&explain.Way{})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	have, want := slices.Sorted(maps.Keys(fields)), expect.ExplainedFields()
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("the Way has %v\nexpectations know %v", have, want)
	}
}
