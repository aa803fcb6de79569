package kube

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

// cluster is a fake API server with objects.
func cluster(objects ...*unstructured.Unstructured) *Client {
	lists := map[schema.GroupVersionResource]string{definitions: "CustomResourceDefinitionList"}
	for _, k := range Kinds() {
		for _, v := range k.Versions {
			lists[k.Resource(v)] = k.Name + "List"
		}
	}
	var all []runtime.Object
	for _, o := range objects {
		all = append(all, o)
	}
	return &Client{dynamic: fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, all...)}
}

const routes = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: virtualservices.networking.istio.io}
spec: {group: networking.istio.io, versions: [{name: v1beta1, served: true}, {name: v1, served: false}]}
status: {conditions: [{type: Established, status: "True"}]}
`

func route(t *testing.T, rest string) *unstructured.Unstructured {
	return object(t, `
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: reviews, namespace: books, creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "7", managedFields: [{manager: kubectl}]}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}`+rest+`}]}]}
status: {observedGeneration: 3}
`)
}

// await returns the first View for which a question has the answer yes.
func await(t *testing.T, s store.Source, what string, yes func(*store.View) bool) *store.View {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		v := s.View()
		if yes(v) {
			return v
		}
		select {
		case <-s.Changed(v):
		case <-timeout:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestSourceFollowsACluster(t *testing.T) {
	c := cluster(
		object(t, "{apiVersion: v1, kind: Namespace, metadata: {name: books, labels: {istio-injection: enabled}, resourceVersion: '1'}}"),
		object(t, "{apiVersion: v1, kind: Node, metadata: {name: node-1, labels: {zone: a}}, status: {phase: Running}}"),
		object(t, "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: books, managedFields: [{manager: kubelet}]}, spec: {fieldOfTomorrow: 1, containers: [{name: a}]}, status: {podIP: 10.1.0.1}}"),
		object(t, routes), route(t, ""))
	var mu sync.Mutex
	var findings []config.Diagnostic
	s := NewSource(t.Context(), c, SourceOptions{OnDiagnostics: func(ds []config.Diagnostic) {
		mu.Lock()
		defer mu.Unlock()
		findings = append(findings, ds...)
	}})
	<-s.Synced()

	v := s.View()
	if v.Get("Namespace", "", "books") == nil || v.Get("Pod", "books", "p") == nil || v.Get("Node", "", "node-1") == nil {
		var keys []string
		for _, o := range v.All() {
			keys = append(keys, o.Key().String())
		}
		t.Errorf("%v; %v", keys, findings)
	}
	r := v.Get("VirtualService", "books", "reviews")
	if r == nil || r.Version != "v1beta1" || r.Position().File != "VirtualService/books/reviews" || r.Created.Year() != 2026 {
		t.Fatalf("%+v", r)
	}

	// A mistake is told, and the object stays what it was.
	resource := c.dynamic.Resource(Resource("networking.istio.io/v1beta1", "VirtualService")).Namespace("books")
	if _, err := resource.Update(t.Context(), route(t, ", subst: v1"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		told := slices.ContainsFunc(findings, func(d config.Diagnostic) bool { return strings.Contains(d.Message, "subst") })
		mu.Unlock()
		if told {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the mistake is not told")
		}
	}
	if s.View().Get("VirtualService", "books", "reviews") != r {
		t.Error("an object with a mistake replaces the good one")
	}

	// A definition that comes later brings its objects, one that goes takes them.
	crds := c.dynamic.Resource(definitions)
	if err := crds.Delete(t.Context(), "virtualservices.networking.istio.io", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, s, "the kind is gone", func(v *store.View) bool { return len(v.Of("VirtualService")) == 0 })
	if _, err := resource.Update(t.Context(), route(t, ""), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := crds.Create(t.Context(), object(t, routes), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, s, "the kind is back", func(v *store.View) bool { return len(v.Of("VirtualService")) == 1 })
}

// What only the API server's bookkeeping distinguishes is no change.
func TestBookkeepingIsNoChange(t *testing.T) {
	pod := func(version string) *unstructured.Unstructured {
		return object(t, "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: books, resourceVersion: '"+version+"', generation: "+version+
			", managedFields: [{manager: a"+version+"}], annotations: {kubectl.kubernetes.io/last-applied-configuration: 'x"+version+"'}}}")
	}
	s := &Source{Memory: store.NewMemory(store.MemoryOptions{}), synced: make(chan struct{}), pending: 1}
	k := s.sink(core[2])
	k.replace([]*unstructured.Unstructured{pod("1")})
	first := s.View()
	k.put(pod("2"))
	if s.View() != first || len(first.Of("Pod")) != 1 {
		t.Errorf("revision %d: %v", s.View().Revision, first.All())
	}
}

func TestPlural(t *testing.T) {
	for kind, want := range map[string]string{"Service": "services", "ServiceEntry": "serviceentries", "Gateway": "gateways", "GatewayClass": "gatewayclasses",
		"AuthorizationPolicy": "authorizationpolicies", "Telemetry": "telemetries", "EndpointSlice": "endpointslices", "Sidecar": "sidecars", "ProxyConfig": "proxyconfigs"} {
		if got := Plural(kind); got != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
}
