package build_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	meshpb "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

const services = `apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 9080}], selector: {app: reviews}}
---
apiVersion: v1
kind: Service
metadata: {name: two}
spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80}, {name: tcp-db, port: 81}], selector: {app: two}}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-1, labels: {app: reviews, version: v1}}
spec: {containers: [{name: a, image: a}], serviceAccountName: sa}
status: {podIP: 10.1.0.1, conditions: [{type: Ready, status: "True"}]}
---
`

func virtual(name, rest string) string {
	return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: " + name + "}\nspec: {" + rest + "}\n---\n"
}

func made(t *testing.T, yaml string, c *meshpb.MeshConfig) (*model.Mesh, []config.Diagnostic) {
	t.Helper()
	objects, found := config.Decode("a.yaml", 1, []byte(yaml))
	for _, d := range found {
		if d.Severity == config.Error {
			t.Fatalf("%s: %s", d.Position, d.Message)
		}
	}
	for i, o := range objects { // as written: the first is the oldest
		o.Created = time.Unix(int64(i), 0)
	}
	return build.Build(store.NewView(objects...), build.Options{MeshConfig: c})
}

func TestFindings(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"nothing", virtual("a", "hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]"), ""},
		{"unknown host", virtual("a", "hosts: [reviews], http: [{route: [{destination: {host: review}}]}]"), "warning WT0401 review.default.svc.cluster.local"},
		{"unknown subset", virtual("a", "hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v9}}]}]"), "warning WT0402 v9"},
		{"conflict", virtual("a", "hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]") +
			virtual("b", "hosts: [reviews.default.svc.cluster.local], http: [{route: [{destination: {host: reviews}}]}]"), "error WT0403 default/a"},
		{"port required", virtual("a", "hosts: [two], http: [{route: [{destination: {host: two}}]}]"), "warning WT0404 80, 81"},
		{"unknown port", virtual("a", "hosts: [two], http: [{route: [{destination: {host: two, port: {number: 82}}}]}]"), "warning WT0407 82"},
		{"unknown gateway", virtual("a", "hosts: [reviews], gateways: [mesh, none], http: [{route: [{destination: {host: reviews}}]}]"), "warning WT0405 default/none"},
		{"no workload", "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {selector: {matchLabels: {app: x}}, mtls: {mode: STRICT}}\n", "warning WT0406 app=x"},
		{"nobody to ask", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {action: CUSTOM, rules: [{}]}\n", "error WT0415 a policy with the action CUSTOM needs a provider"},
		{"target of another kind", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {targetRef: {group: '', kind: Service, name: reviews}}\n", "error WT0400 a target of kind Service"},
		{"operation", "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: p}\nspec: {configPatches: [{applyTo: ROUTE_CONFIGURATION, patch: {operation: ADD, value: {name: a}}}]}\n", "error WT0424 ADD of a ROUTE_CONFIGURATION has no effect"},
		{"nameless merge", "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: p}\nspec: {configPatches: [{applyTo: HTTP_FILTER, patch: {operation: MERGE, value: {name: a}}}]}\n", "error WT0400 MERGE needs the name of the HTTP filter"},
		{"wrong match", "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: p}\nspec: {configPatches: [{applyTo: CLUSTER, match: {listener: {name: a}}, patch: {operation: REMOVE}}]}\n", "error WT0400 a CLUSTER cannot be found by this match"},
		{"unsupported field", "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\nspec: {host: reviews, trafficPolicy: {tls: {mode: SIMPLE, caCrl: x}}}\n", "error WT0400 caCrl is not supported yet"},
		{"tls of an unknown host", virtual("a", "hosts: [reviews], tls: [{match: [{sniHosts: [reviews], port: 443}], route: [{destination: {host: review}}]}]"), "warning WT0401 review.default.svc.cluster.local"},
		{"labels at a gateway", "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {servers: [{port: {number: 9, name: tcp, protocol: TCP}, hosts: ['*']}]}\n---\n" +
			virtual("a", "hosts: [reviews], gateways: [g], tcp: [{match: [{sourceLabels: {a: b}}], route: [{destination: {host: reviews}}]}]"), "warning WT0420 sourceLabels has no effect"},
		{"unsupported field of Kubernetes", "apiVersion: v1\nkind: Service\nmetadata: {name: p}\nspec: {ports: [{port: 80}], externalIPs: [1.2.3.4]}\n", "error WT0400 externalIPs is not supported yet"},
		{"field without effect", deployment("setHostnameAsFQDN: true, containers: [{name: a, image: a}]"), "warning WT0111 setHostnameAsFQDN has no effect here"},
		{"session affinity", "apiVersion: v1\nkind: Service\nmetadata: {name: p}\nspec: {ports: [{port: 80}], sessionAffinity: ClientIP}\n", "warning WT0111 sessionAffinity"},
		{"fields of machines", deployment("schedulerName: mine, containers: [{name: a, image: a, tty: true}]"), "info WT0111 spec.template.spec.containers[0].tty, spec.template.spec.schedulerName"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, found := made(t, services+c.yaml, nil)
			var got []string
			for _, d := range found {
				got = append(got, fmt.Sprintf("%s %s %s", d.Severity, d.Code, d.Message))
				if d.Position.Line <= strings.Count(services, "\n") || d.Position.Col == 0 {
					t.Errorf("%s is at %s, not at the object that is wrong", d.Message, d.Position)
				}
			}
			if c.want == "" {
				if len(got) > 0 {
					t.Errorf("found %q", got)
				}
				return
			}
			prefix, rest := c.want[:strings.LastIndex(c.want, "WT")+6], c.want[strings.LastIndex(c.want, "WT")+7:]
			if len(got) != 1 || !strings.HasPrefix(got[0], prefix) || !strings.Contains(got[0], rest) {
				t.Errorf("found %q, want one that is %q", got, c.want)
			}
		})
	}
}

func deployment(pod string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: p}\nspec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {" + pod + "}}}\n"
}

// What is as in the defaults is not refused, although a default may have it.
func TestMeshConfigDefaultsAreAccepted(t *testing.T) {
	if _, found := made(t, services, config.DefaultMeshConfig()); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	c := config.DefaultMeshConfig()
	c.DefaultConfig.DrainDuration = durationpb.New(1500 * time.Millisecond)
	c.ExtensionProviders = append(c.ExtensionProviders, &meshpb.MeshConfig_ExtensionProvider{Name: "x",
		Provider: &meshpb.MeshConfig_ExtensionProvider_Zipkin{Zipkin: &meshpb.MeshConfig_ExtensionProvider_ZipkinTracingProvider{
			Service: "zipkin.a.svc.cluster.local", Port: 9411, Headers: []*meshpb.MeshConfig_ExtensionProvider_HttpHeader{{Name: "a"}}}}})
	c.AccessLogEncoding, c.AccessLogFormat = meshpb.MeshConfig_JSON, "%PROTOCOL%"
	c.AccessLogFile = "/dev/stdout"
	_, found := made(t, services, c)
	var got []string
	for _, d := range found {
		message, _, _ := strings.Cut(d.Message, " asks for")
		got = append(got, d.Severity.String()+" "+message)
	}
	want := []string{"error meshConfig.accessLogFormat is not the JSON object that accessLogEncoding: JSON", "error meshConfig.defaultConfig.drainDuration: drainDuration 1.5s: expected whole seconds, one at least, such as 45s",
		"error meshConfig.extensionProviders[3].zipkin.headers is not supported yet: header fields of reports to Zipkin"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestMeshConfigIsRefusedByName(t *testing.T) {
	_, found := made(t, services, &meshpb.MeshConfig{CaCertificates: []*meshpb.MeshConfig_CertificateData{{}}})
	if len(found) != 1 || !strings.Contains(found[0].Message, "meshConfig.caCertificates") {
		t.Errorf("found %v", found)
	}
}

func TestEndpointsComeFromPods(t *testing.T) {
	m, _ := made(t, services, nil)
	s := m.Service("reviews.default.svc.cluster.local", "elsewhere")
	list := s.Endpoints.On(s.Port(9080))
	if len(list) != 1 || list[0].Address != "10.1.0.1" || list[0].Port != 9080 || list[0].Revision != "v1" || !slices.Equal(s.Endpoints.Accounts, []string{"default/sa"}) {
		t.Errorf("endpoints %+v of accounts %v", list, s.Endpoints.Accounts)
	}
	if p := m.Service("two.default.svc.cluster.local", "default").Port(81).Protocol; p != model.TCP {
		t.Errorf("port tcp-db speaks %s", p)
	}
}

func TestDelegatesMergeMatches(t *testing.T) {
	m, found := made(t, services+virtual("root", "hosts: [reviews], http: [{match: [{uri: {prefix: /a}}], delegate: {name: below}}]")+
		virtual("below", "http: [{match: [{uri: {prefix: /a/b}}], timeout: 1s, route: [{destination: {host: reviews}}]}]"), nil)
	if len(found) > 0 || len(m.Virtual) != 1 || len(m.Virtual[0].HTTP) != 1 {
		t.Fatalf("virtual services %+v, found %v", m.Virtual, found)
	}
	r := m.Virtual[0].HTTP[0]
	if r.Matches[0].URI.Value != "/a/b" || r.Timeout != time.Second {
		t.Errorf("rule %+v matches %+v", r, r.Matches[0].URI)
	}
}

func TestPeerAuthenticationInherits(t *testing.T) {
	const p = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: %s, namespace: %s}\nspec: {%s}\n---\n"
	m, _ := made(t, services+fmt.Sprintf(p, "mesh", "istio-system", "mtls: {mode: STRICT}")+
		fmt.Sprintf(p, "workload", "default", "selector: {matchLabels: {app: reviews}}, portLevelMtls: {9080: {mode: DISABLE}}"), nil)
	e := m.MTLS("default", map[string]string{"app": "reviews"})
	if e.On(80) != model.Strict || e.On(9080) != model.Disable {
		t.Errorf("port 80 %v, port 9080 %v", e.On(80), e.On(9080))
	}
	if got := m.MTLS("other", nil).On(9080); got != model.Strict {
		t.Errorf("another namespace has %v", got)
	}
}

// A Service may have one number twice, for TCP and UDP: kube-dns has.
func TestOnePortOfTwoProtocols(t *testing.T) {
	mesh, _ := made(t, `apiVersion: v1
kind: Service
metadata: {name: dns}
spec: {clusterIP: 10.96.0.10, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: dns-1, labels: {kubernetes.io/service-name: dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}]
endpoints: [{addresses: [10.1.0.1], conditions: {ready: true}}, {addresses: [10.1.0.2], conditions: {ready: true}}]
`, nil)
	s := mesh.Service("dns.default.svc.cluster.local", "default")
	if s == nil || len(s.Endpoints.On(s.Port(53))) != 2 {
		t.Errorf("%+v", s)
	}
}

// The API server fills in fields of Pods, deprecated ones among them: nobody wrote them.
func TestPodsOfAClusterAreBelieved(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{DeprecatedServiceAccount: "default", ServiceAccountName: "default"}}
	_, found := build.Build(store.NewView(&config.Object{Kind: "Pod", Version: "v1", Namespace: "default", Name: "client", Value: pod}), build.Options{})
	for _, d := range found {
		t.Errorf("%s %s", d.Code, d.Message)
	}
}

// Without an endpoint controller the Pods that a Service selects are its endpoints, those that
// are not ready where it publishes them.
func TestPodsThatAreNotReady(t *testing.T) {
	const text = `apiVersion: v1
kind: Service
metadata: {name: a}
spec: {%sports: [{name: http, port: 80}], selector: {app: a}}
---
apiVersion: v1
kind: Pod
metadata: {name: a-1, labels: {app: a}}
spec: {containers: [{name: a, image: a}]}
status: {podIP: 10.1.0.1, conditions: [{type: Ready, status: "False"}]}
`
	for settings, want := range map[string]model.Health{"": model.Unhealthy, "publishNotReadyAddresses: true, ": model.Healthy} {
		m, found := made(t, fmt.Sprintf(text, settings), nil)
		s := m.Services[0]
		if e := s.Endpoints.On(s.Ports[0]); len(found) > 0 || len(e) != 1 || e[0].Health != want {
			t.Errorf("%q: %d endpoints %+v, %v", settings, len(e), e, found)
		}
	}
}
