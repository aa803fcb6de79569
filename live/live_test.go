package live

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

func someNames(t *testing.T) *names {
	t.Helper()
	n, err := newNames("jason", "istio-system", []string{"default", "legacy", "istio-system"})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNamesOfNamespacesAreRewrittenWhereverTheyStand(t *testing.T) {
	n := someNames(t)
	d, l := n.namespace(""), n.namespace("legacy")
	if !strings.HasPrefix(d, "wt-jason-") || l != d+"-legacy" || n.namespace("istio-system") != "istio-system" {
		t.Fatalf("fresh names %q, %q", d, l)
	}
	docs, err := decode([]spec.Document{{File: "a.yaml", Line: 3, Text: []byte(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a, namespace: legacy}
spec:
  gateways: [default/gw, mesh]
  hosts: [reviews.default, reviews, "legacy/*", reviews.default.svc.cluster.local, www.default-shop.com]
  exportTo: [".", default]
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/sleep], namespaces: [legacy, other]}}]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	w := &World{env: &Env{Kind: "kube"}, names: n, scenario: &spec.Scenario{Name: "jason"}}
	o := docs[0].object
	w.prepare(o)
	if o.GetNamespace() != l {
		t.Errorf("namespace is %q", o.GetNamespace())
	}
	text, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"` + d + `/gw"`, `"reviews.` + d + `"`, `"reviews"`, `"` + l + `/*"`, "reviews." + d + ".svc.cluster.local",
		`"www.default-shop.com"`, `[".","` + d + `"]`, "cluster.local/ns/" + d + "/sa/sleep", `["` + l + `","other"]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	if back := n.scenario(string(text)); strings.Contains(back, "wt-jason") {
		t.Errorf("not all names come back: %s", back)
	}
	if got, want := n.url("tcp://db-0.db.default:9080"), "tcp://db-0.db."+d+":9080"; got != want {
		t.Errorf("URL of a Pod is %s, want %s", got, want)
	}
	if got := n.url("http://reviews.default:9080/reviews.default/0"); got != "http://reviews."+d+":9080/reviews.default/0" {
		t.Errorf("URL is %s", got)
	}
}

func TestLinesOfTheAccessLogBecomeWhatWasSeen(t *testing.T) {
	w := &World{names: someNames(t), places: &places{byIP: make(map[netip.Addr]place)}}
	w.log = &journal{world: w, since: time.Unix(1795280000, 0)}
	w.places.know("10.244.0.9", place{"reviews-v2-x", "ns", "reviews-v2"})
	at := place{"page-1", w.names.namespace(""), "productpage-v1"}
	raw := `{"windtunnel":"1","attempts":3,"authority":"reviews:9080","cluster":"outbound|9080||reviews.` + w.names.namespace("") + `.svc.cluster.local","details":"via_upstream",` +
		`"direction":"2","downstream":"10.244.0.7:4000","flags":"URX,UF","id":"a-b","method":"GET","milliseconds":5,"path":"/x","peer":null,"route":"-",` +
		`"start":"1795280476.506161","status":503,"upstream":"10.244.0.9:9080","upstream_local":null}`
	l, ok := parse([]byte(raw))
	if !ok {
		t.Fatal("the line was not taken")
	}
	w.log.add(at, true, l)
	s := w.log.all()[0]
	if s.RequestID != "a-b" || s.Status != 503 || s.Attempts != 3 || s.Inbound || s.MutualTLS || s.Route != "" || s.UpstreamWorkload != "reviews-v2" ||
		strings.Join(s.Flags, " ") != "URX UF" || s.Cluster != "outbound|9080||reviews.default.svc.cluster.local" || s.Namespace != "default" ||
		!s.Time.Equal(time.Unix(1795280476, 511161000)) {
		t.Errorf("seen is %+v", s)
	}
	for _, other := range []string{"", "plain text", `{"level":"info"}`, `{"windtunnel":`} {
		if _, ok := parse([]byte(other)); ok {
			t.Errorf("%q was taken for a line of the access log", other)
		}
	}
	early := l
	early.Start = "1795270000.000000"
	if w.log.add(at, true, early); len(w.log.all()) != 1 {
		t.Error("a line of before the scenario was taken")
	}
}

func TestWhatAClusterCannotRunIsRefusedByName(t *testing.T) {
	for _, c := range []struct {
		scenario spec.Scenario
		text     string
		want     string
	}{
		{scenario: spec.Scenario{Steps: []spec.Step{{Operation: "fault", Fault: &spec.Fault{Slow: &spec.Slow{}}}}}, want: "the fault slow works in the simulator only: it needs the kernel's netem"},
		{scenario: spec.Scenario{Steps: []spec.Step{{Operation: "fault", Fault: &spec.Fault{Chaos: &spec.Chaos{}}}}}, want: "the fault chaos works in the simulator only"},
		{scenario: spec.Scenario{Steps: []spec.Step{{Operation: "canary"}}}, want: "canary"},
		{text: "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n", want: "Node"},
		{text: "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: n}\nspec: {accessLogging: [{filter: {expression: a}}]}\n", want: "filter"},
		{text: "apiVersion: v1\nkind: Service\nmetadata: {name: n}\n"},
	} {
		docs, err := decode([]spec.Document{{File: "a.yaml", Line: 1, Text: []byte(c.text)}})
		if err != nil {
			t.Fatal(err)
		}
		switch err := unfit(&c.scenario, docs); {
		case c.want == "" && err != nil:
			t.Errorf("%q: %v", c.text, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		case err != nil:
			if _, ok := err.(*run.UnfitError); !ok {
				t.Errorf("%T is no reason to skip", err)
			}
		}
	}
}

func TestMeshProvidersAreMergedByName(t *testing.T) {
	mesh := map[string]any{"extensionProviders": []any{map[string]any{"name": "zipkin"}, map[string]any{"name": logProvider, "old": true}},
		"defaultProviders": map[string]any{"tracing": []any{"zipkin"}}}
	merge(mesh, accessLog())
	if list := mesh["extensionProviders"].([]any); len(list) != 2 || list[1].(map[string]any)["old"] != nil {
		t.Errorf("providers are %v", list)
	}
	if d := mesh["defaultProviders"].(map[string]any); d["tracing"] == nil || d["accessLogging"] == nil {
		t.Errorf("default providers are %v", d)
	}
}

func TestEndpointState(t *testing.T) {
	var h hosts
	h.Clusters = []hostsOf{{Hosts: []host{{}}}}
	e := &h.Clusters[0].Hosts[0]
	e.Address.Socket.Address, e.Health.EDS, e.Health.Ejected = "10.0.0.1", "HEALTHY", true
	e.Stats = append(e.Stats, stat{"rq_active", "3"})
	p := &pod{Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Status: corev1.PodStatus{PodIP: "10.0.0.1"}}}
	state, err := h.state([]*pod{p}, "client", "reviews")
	if err != nil || !state.Ejected || state.Healthy || state.Active != 3 {
		t.Errorf("state is %+v, %v", state, err)
	}
	p.Status.PodIP = "10.0.0.2"
	if _, err := h.state([]*pod{p}, "client", "reviews"); err == nil {
		t.Error("an endpoint that the sidecar does not know has a state")
	}
}

func TestWorkloadsOfPods(t *testing.T) {
	yes := true
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "reviews-v1-5d-x", Labels: map[string]string{"pod-template-hash": "5d"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "reviews-v1-5d", Controller: &yes}}}}
	if got := workloadOf(p); got != "reviews-v1" {
		t.Errorf("workload is %q", got)
	}
	p.OwnerReferences[0] = metav1.OwnerReference{Kind: "StatefulSet", Name: "db", Controller: &yes}
	if got := workloadOf(p); got != "db" {
		t.Errorf("workload is %q", got)
	}
}

func TestWarningsOfWebhooksGetTheirPlace(t *testing.T) {
	objects, _ := config.Decode("a.yaml", 5, []byte("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [reviews]\n  http:\n  - route: [{destination: {host: critics}}]\n"))
	o := &warned{position: "a.yaml:5", written: objects[0]}
	got, message := o.placed("spec.http[0].route[0].destination.host: nobody is called critics [WT0402] (add a ServiceEntry)")
	if !strings.HasPrefix(got, "a.yaml:11:34: warning: nobody is called critics [WT0402]") || !strings.Contains(got, "hint: add") || message != "nobody is called critics" {
		t.Errorf("warning is %q, message %q", got, message)
	}
	if got, _ := o.placed("v1 is deprecated"); got != "a.yaml:5: v1 is deprecated" {
		t.Errorf("a warning without a field is %q", got)
	}
}

func TestDeclaredBehavioursArePlayed(t *testing.T) {
	n := someNames(t)
	w := &World{env: &Env{Kind: "kind", ClientImage: "windtunnel/workload:v"}, names: n, scenario: &spec.Scenario{Name: "jason", Behaviours: []spec.Behaviour{
		{Image: "example.com/app:*", HTTP: spec.HTTPBehaviour{Status: 503, Calls: []spec.OutgoingCall{{URL: "http://reviews.default:9080/"}}}}}}}
	docs, err := decode([]spec.Document{{File: "a.yaml", Line: 1, Text: []byte("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\nspec: {template: {spec: {containers: [" +
		"{name: a, image: 'example.com/app:v1', command: [/app], ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}, {name: b, image: other}]}}}\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.behave(docs[0].object); err != nil {
		t.Fatal(err)
	}
	text, err := docs[0].object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"args":["run","--image","example.com/app:v1","--port","80","--behaviour",`, "reviews." + n.namespace("") + ":9080", `"image":"windtunnel/workload:v"`,
		`"runAsUser":0`, `"image":"other"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	if strings.Contains(string(text), "command") || strings.Contains(string(text), `"53"`) {
		t.Errorf("the image's own command, or a port of UDP, is left in %s", text)
	}
}
