package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// mustDecode decodes what has no errors.
func mustDecode(t testing.TB, text string) []*Object {
	t.Helper()
	objects, diags := Decode("f.yaml", 1, []byte(text))
	for _, d := range diags {
		if d.Severity == Error {
			t.Fatalf("%s: %s", d.Position, d.Message)
		}
	}
	return objects
}

func TestBookinfoDecodes(t *testing.T) {
	files, err := filepath.Glob("../../bookinfo/manifests/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		objects, diags := Decode(f, 1, data)
		for _, d := range diags {
			if d.Severity == Error {
				t.Errorf("%s: %s", d.Position, d.Message)
			}
		}
		if want := strings.Count("\n"+string(data), "\nkind: "); len(objects) != want {
			t.Errorf("%s: %d objects, want %d", f, len(objects), want)
		}
	}
}

const reviews = `# the first line is a comment
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts:
  - reviews
  http:
  - match:
    - headers:
        end-user: {exact: jason}
    timeout: 1m30s
    route:
    - destination:
        host: reviews
        subset: v2
---
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {ports: [{port: 9080, name: http}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
`

func TestObjectsAndPlaces(t *testing.T) {
	objects, diags := Decode("dir/f.yaml", 101, []byte(reviews))
	if len(diags) != 0 || len(objects) != 3 {
		t.Fatalf("%d objects, diagnostics %v", len(objects), diags)
	}
	v := objects[0]
	if got := fmt.Sprintf("%s %s %s", v.Key(), v.Version, v.Position()); got != "VirtualService default/reviews v1beta1 dir/f.yaml:102:1" {
		t.Error(got)
	}
	for path, want := range map[string]string{
		"spec":                   "dir/f.yaml:106:1",
		"spec.hosts[0]":          "dir/f.yaml:108:5",
		"spec.http[0].match":     "dir/f.yaml:110:5",
		"spec.http[0].timeout":   "dir/f.yaml:113:14",
		"spec.http[0].match[0]":  "dir/f.yaml:111:7",
		"spec.http[0].retries.x": "dir/f.yaml:110:5",
		"spec.http[0].match[0].headers.end-user.exact": "dir/f.yaml:112:27",
		"spec.http[0].route[0].destination.subset":     "dir/f.yaml:117:17",
	} {
		if got := v.At(path).String(); got != want {
			t.Errorf("At(%s) = %s, want %s", path, got, want)
		}
	}
	spec := &v.Value.(*networkingv1.VirtualService).Spec
	if got := spec.Http[0].Timeout.AsDuration().String(); got != "1m30s" {
		t.Errorf("timeout %s", got)
	}
	if got := spec.Http[0].Match[0].Headers["end-user"].GetExact(); got != "jason" {
		t.Errorf("header %q", got)
	}
	if !strings.HasPrefix(string(v.Raw), "# the first") || !strings.HasSuffix(string(v.Raw), "subset: v2\n") {
		t.Errorf("raw %q", v.Raw)
	}
	service := objects[1].Value.(*corev1.Service)
	if p := service.Spec.Ports[0]; p.TargetPort.IntValue() != 9080 || p.Protocol != corev1.ProtocolTCP || objects[1].Namespace != "shop" {
		t.Errorf("port %+v in %s", p, objects[1].Namespace)
	}
	if _, ok := objects[2].Value.(*gatewayv1.Gateway); !ok || objects[2].StoreKind() != "gateway.networking.k8s.io/Gateway" {
		t.Errorf("%T %s", objects[2].Value, objects[2].StoreKind())
	}
}

func TestListsExpandWithPlacesAndText(t *testing.T) {
	objects := mustDecode(t, `apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ServiceAccount
  metadata: {name: a}
  # a comment
- {apiVersion: v1, kind: Namespace, metadata: {name: b}}
`)
	if len(objects) != 2 || objects[1].Namespace != "" {
		t.Fatalf("%v", objects)
	}
	if got, want := string(objects[0].Raw), "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n# a comment\n"; got != want {
		t.Errorf("raw %q, want %q", got, want)
	}
	if got := objects[0].At("metadata.name").String(); got != "f.yaml:6:20" {
		t.Error(got)
	}
	if again := mustDecode(t, string(objects[1].Raw)); len(again) != 1 || again[0].Key() != objects[1].Key() {
		t.Errorf("raw %q", objects[1].Raw)
	}
}

func TestOldSpellingsMeanTheirSuccessors(t *testing.T) {
	objects := mustDecode(t, `
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a]
  http:
  - fault: {delay: {percent: 10, fixedDelay: 5s}, abort: {percent: 20, percentage: {value: 0.5}, httpStatus: 500}}
    mirror: {host: shadow}
    mirror_percent: 0
    corsPolicy: {allowOrigin: [https://a, https://b]}
    route: [{destination: {host: a}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec:
  host: a
  trafficPolicy:
    outlierDetection: {consecutiveErrors: 7}
    loadBalancer: {simple: LEAST_CONN, warmupDurationSecs: 30s}
  subsets:
  - name: hash
    trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 64}}}
`)
	http := objects[0].Value.(*networkingv1.VirtualService).Spec.Http[0]
	if got := http.Fault.Delay.Percentage.Value; got != 10 {
		t.Errorf("delay %v", got)
	}
	if got := http.Fault.Abort.Percentage.Value; got != 0.5 {
		t.Errorf("abort %v: what is written in the new spelling must win", got)
	}
	if http.MirrorPercentage == nil || http.MirrorPercentage.Value != 0 {
		t.Errorf("mirror %v", http.MirrorPercentage)
	}
	if o := http.CorsPolicy.AllowOrigins; len(o) != 2 || o[1].GetExact() != "https://b" {
		t.Errorf("origins %v", o)
	}
	if got := objects[0].At("spec.http[0].corsPolicy.allowOrigins[1]").Line; got != 11 {
		t.Errorf("origin in line %d", got)
	}
	rule := &objects[1].Value.(*networkingv1.DestinationRule).Spec
	o := rule.TrafficPolicy.OutlierDetection
	if o.ConsecutiveGatewayErrors.GetValue() != 7 || o.Consecutive_5XxErrors == nil || o.Consecutive_5XxErrors.Value != 0 {
		t.Errorf("outlier detection %v", o)
	}
	lb := rule.TrafficPolicy.LoadBalancer
	if lb.GetSimple() != networkingpb.LoadBalancerSettings_LEAST_REQUEST || lb.Warmup.Duration.AsDuration().Seconds() != 30 {
		t.Errorf("load balancer %v", lb)
	}
	if got := rule.Subsets[0].TrafficPolicy.LoadBalancer.GetConsistentHash().GetRingHash().GetMinimumRingSize(); got != 64 {
		t.Errorf("ring %d", got)
	}
}

func TestAnchorsMergesAndRepeatedObjects(t *testing.T) {
	objects, diags := Decode("f.yaml", 1, []byte(`
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: &l {app: x, tier: web}, annotations: {<<: *l, tier: db}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {k: "1"}
`))
	if len(objects) != 1 || len(diags) != 1 || diags[0].Code != CodeDuplicate || diags[0].Severity != Warning {
		t.Fatalf("%v %v", objects, diags)
	}
	if got := objects[0].Value.(*corev1.ConfigMap).Data["k"]; got != "1" {
		t.Errorf("the later object must count, got %q", got)
	}
	first := mustDecode(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: &l {app: x, tier: web}, annotations: {<<: *l, tier: db}}\n")
	if a := first[0].Value.(*corev1.ConfigMap).Annotations; a["app"] != "x" || a["tier"] != "db" {
		t.Errorf("annotations %v", a)
	}
	for _, text := range []string{"a: &a [*a]", "a: &a\n  <<: *a\n", bomb()} {
		text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nbinaryData: x\n" + text
		if _, diags := Decode("f.yaml", 1, []byte(text)); len(diags) == 0 {
			t.Errorf("no diagnostics for %.60q", text)
		}
	}
}

// bomb is a document whose aliases expand to 10^9 values.
func bomb() string {
	var b strings.Builder
	b.WriteString("metadata2:\n  l0: &l0 x\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "  l%d: &l%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d,", i-1), 10), ","))
	}
	return "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nspec: {configPatches: [{patch: {value: {x: *l9}}}]}\n" + b.String() +
		"---\napiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\n" + strings.Replace(b.String(), "metadata2", "metadata", 1)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(reviews))
	f.Add([]byte(bomb()))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("kind: List\napiVersion: v1\nitems: [{kind: List, apiVersion: v1, items: 1}]"))
	if data, err := os.ReadFile("testdata/errors.txt"); err == nil {
		for _, part := range strings.Split(string(data), "=== ") {
			input, _, _ := strings.Cut(part, "--- want")
			f.Add([]byte(input))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, diags := Decode("f.yaml", 1, data)
		var b strings.Builder
		Print(&b, diags)
		for _, o := range objects {
			if o == nil || o.Value == nil || o.Name == "" && o.Kind != "IstioOperator" {
				t.Errorf("object %+v", o)
			}
		}
		DecodeMeshConfig("f.yaml", 1, data)
	})
}

func BenchmarkDecodeBookinfo(b *testing.B) {
	data, err := os.ReadFile("../../bookinfo/manifests/bookinfo.yaml")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if objects, _ := Decode("bookinfo.yaml", 1, data); len(objects) < 10 {
			b.Fatal(len(objects))
		}
	}
}
