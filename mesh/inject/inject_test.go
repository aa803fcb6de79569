package inject

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
)

var update = flag.Bool("update", false, "write the golden files")

var options = Options{ProxyImage: "windtunnel.dev/meshproxy"}

var enabled = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", Labels: map[string]string{"istio-injection": "enabled"}}}

// details is a Pod of bookinfo as a ReplicaSet makes it.
func details(t *testing.T) *corev1.Pod {
	t.Helper()
	const text = `
apiVersion: v1
kind: Pod
metadata:
  name: details-v1-65599dcf88-8r4wd
  namespace: default
  labels: {app: details, version: v1, pod-template-hash: 65599dcf88}
  ownerReferences:
  - {apiVersion: apps/v1, kind: ReplicaSet, name: details-v1-65599dcf88, controller: true, uid: u}
spec:
  serviceAccountName: bookinfo-details
  containers:
  - name: details
    image: istio/examples-bookinfo-details-v1:1.15.0
    ports:
    - {name: http, containerPort: 9080}
    livenessProbe:
      httpGet: {path: /health, port: http}
`
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func injected(t *testing.T, pod *corev1.Pod, o Options) *corev1.Pod {
	t.Helper()
	result, ok, err := Pod(pod, enabled, o)
	if err != nil || !ok {
		t.Fatalf("injected: %t, %v", ok, err)
	}
	return result
}

func container(t *testing.T, pod *corev1.Pod, name string) *corev1.Container {
	t.Helper()
	for _, c := range allContainers(pod) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no container %s", name)
	return nil
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got\n%s", file, got)
	}
}

func TestInjectedPod(t *testing.T) {
	pod := details(t)
	before := pod.DeepCopy()
	result := injected(t, pod, options)
	if !reflect.DeepEqual(pod, before) {
		t.Error("the Pod that came in was changed")
	}
	again, ok, err := Pod(result, enabled, options)
	if ok || err != nil || !reflect.DeepEqual(again, result) {
		t.Errorf("injected once more: %t, %v", ok, err)
	}
	proxy := container(t, result, ProxyContainer)
	golden(t, "details.bootstrap.yaml", proxy.Args[1])
	proxy.Args[1] = "(the bootstrap)"
	text, err := yaml.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "details.pod.yaml", string(text))
}

func TestDecide(t *testing.T) {
	labels := func(kv ...string) map[string]string {
		m := make(map[string]string)
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	on, off := labels(namespaceKey, "enabled"), labels(namespaceKey, "disabled")
	for _, c := range []struct {
		namespace, pod, annotations map[string]string
		revision                    string
		want                        bool
		reason                      string
	}{
		{on, nil, nil, "", true, "istio-injection is enabled"},
		{off, nil, nil, "", false, "istio-injection is disabled"},
		{nil, nil, nil, "", false, "no label"},
		{on, labels(injectKey, "false"), nil, "", false, "label sidecar.istio.io/inject is false"},
		{on, labels(injectKey, "maybe"), nil, "", false, "is maybe"},
		{on, nil, labels(injectKey, "false"), "", false, "annotation sidecar.istio.io/inject is false"},
		{on, labels(injectKey, "true"), labels(injectKey, "false"), "", true, "label"},
		{nil, labels(injectKey, "true"), nil, "", true, "label sidecar.istio.io/inject is true"},
		{nil, nil, labels(injectKey, "true"), "", false, "no label"},
		{off, labels(injectKey, "true"), nil, "", false, "disabled"},
		{labels(revisionKey, "canary"), nil, nil, "canary", true, "istio.io/rev is canary"},
		{labels(revisionKey, "canary"), nil, nil, "", false, "this revision is default"},
		{labels(revisionKey, "default"), nil, nil, "", true, "istio.io/rev is default"},
		{on, nil, nil, "canary", false, "asks for the revision default"},
		{labels(namespaceKey, "enabled", revisionKey, "canary"), nil, nil, "", true, "enabled"},
		{nil, labels(revisionKey, "canary"), nil, "canary", true, "Pod's label istio.io/rev"},
		{nil, labels(revisionKey, "canary", injectKey, "true"), nil, "", false, "this revision is default"},
		{nil, labels(injectKey, "true"), nil, "canary", false, "no label"},
		{on, nil, labels(statusKey, "{}"), "", false, "already"},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: c.pod, Annotations: c.annotations}}
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: c.namespace}}
		if got, reason := Decide(pod, ns, Options{Revision: c.revision}); got != c.want || !strings.Contains(reason, c.reason) {
			t.Errorf("namespace %v, labels %v, annotations %v, revision %q: %t, %q; want %t, %q",
				c.namespace, c.pod, c.annotations, c.revision, got, reason, c.want, c.reason)
		}
	}
	if ok, reason := Decide(&corev1.Pod{Spec: corev1.PodSpec{HostNetwork: true}}, enabled, Options{}); ok || !strings.Contains(reason, "host's network") {
		t.Errorf("host network: %t, %s", ok, reason)
	}
	if ok, _ := Decide(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system"}}, enabled, Options{}); ok {
		t.Error("kube-system is injected")
	}
	if ok, _ := Decide(&corev1.Pod{}, nil, Options{}); ok {
		t.Error("a Pod without a namespace is injected")
	}
}

func TestAnnotations(t *testing.T) {
	pod := details(t)
	pod.Annotations = map[string]string{
		"sidecar.istio.io/proxyImage":                           "other:1",
		"sidecar.istio.io/logLevel":                             "debug",
		"sidecar.istio.io/proxyCPU":                             "50m",
		"sidecar.istio.io/proxyMemoryLimit":                     "64Mi",
		"sidecar.istio.io/rewriteAppHTTPProbers":                "false",
		"readiness.status.sidecar.istio.io/periodSeconds":       "2",
		"readiness.status.sidecar.istio.io/initialDelaySeconds": "3",
		"readiness.status.sidecar.istio.io/failureThreshold":    "5",
		"traffic.sidecar.istio.io/includeInboundPorts":          "*",
		"traffic.sidecar.istio.io/excludeInboundPorts":          "22, 15020",
		"traffic.sidecar.istio.io/includeOutboundIPRanges":      "10.0.0.0/8",
		"traffic.sidecar.istio.io/excludeOutboundIPRanges":      "10.1.0.0/16",
		"traffic.sidecar.istio.io/excludeOutboundPorts":         "3306",
		"traffic.sidecar.istio.io/includeOutboundPorts":         "443",
		"traffic.sidecar.istio.io/excludeInterfaces":            "net1",
		"proxy.istio.io/config":                                 "holdApplicationUntilProxyStarts: true\nconcurrency: 2\nproxyStatsMatcher:\n  inclusionPrefixes: [cluster.outbound]\n",
		"example.org/price":                                     "$(POD_NAME) $5",
	}
	result := injected(t, pod, options)
	proxy := &result.Spec.Containers[0]
	if proxy.Name != ProxyContainer || proxy.Lifecycle == nil || proxy.Image != "other:1" {
		t.Errorf("first container is %s of %s, lifecycle %v", proxy.Name, proxy.Image, proxy.Lifecycle)
	}
	if got := strings.Join(proxy.Args[8:], " "); got != "--status-port 15020 --log-level debug --concurrency 2" {
		t.Errorf("last arguments are %q", got)
	}
	if r := proxy.Resources; len(r.Requests) != 1 || r.Requests.Cpu().String() != "50m" || len(r.Limits) != 1 || r.Limits.Memory().String() != "64Mi" {
		t.Errorf("resources are %v", r)
	}
	if p := proxy.ReadinessProbe; p.PeriodSeconds != 2 || p.InitialDelaySeconds != 3 || p.FailureThreshold != 5 {
		t.Errorf("readiness probe is %v", p)
	}
	if p := container(t, result, "details").LivenessProbe.HTTPGet; p.Path != "/health" {
		t.Errorf("probe goes to %s", p.Path)
	}
	args := container(t, result, InitContainer).Args
	const want = "capture -p 15001 -z 15006 -u 1337 -m REDIRECT -i 10.0.0.0/8 -x 10.1.0.0/16 -b * -d 15090,15021,15020,22 -q 443 -o 3306 -c net1"
	if got := strings.Join(args, " "); got != want {
		t.Errorf("capture arguments are %q, want %q", got, want)
	}
	if _, err := capture.ParseArgs(args[1:]); err != nil {
		t.Error(err)
	}
	// Dollar signs survive kubelet's expansion.
	env := Env(result, ProxyContainer, "10.0.0.7", "192.168.65.1")
	var bootstrap struct {
		Node struct {
			ID       string
			Metadata struct {
				Name        string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(Expand(proxy.Args, env)[1]), &bootstrap); err != nil {
		t.Fatal(err)
	}
	n := bootstrap.Node
	if n.ID != "sidecar~10.0.0.7~details-v1-65599dcf88-8r4wd.default~default.svc.cluster.local" || n.Metadata.Name != pod.Name ||
		n.Metadata.Annotations["example.org/price"] != "$(POD_NAME) $5" {
		t.Errorf("node is %+v", n)
	}

	pod.Annotations = map[string]string{"sidecar.istio.io/interceptionMode": "NONE", "status.sidecar.istio.io/port": "0"}
	result = injected(t, pod, options)
	if len(result.Spec.InitContainers) != 0 || container(t, result, ProxyContainer).ReadinessProbe != nil {
		t.Error("interception mode NONE has an init container, or port 0 a probe")
	}
}

func TestMistakesAreReportedByName(t *testing.T) {
	for key, value := range map[string]string{
		"sidecar.istio.io/bootstrapOverride":              "x",
		"sidecar.istio.io/proxyCPU":                       "many",
		"sidecar.istio.io/interceptionMode":               "TPROXY",
		"sidecar.istio.io/nativeSidecar":                  "perhaps",
		"prometheus.istio.io/merge-metrics":               "perhaps",
		"traffic.sidecar.istio.io/excludeInboundPorts":    "80,http",
		"traffic.sidecar.istio.io/kubevirtInterfaces":     "eth1",
		"inject.istio.io/templates":                       "waypoint",
		"proxy.istio.io/config":                           "holdApplication: true",
		"status.sidecar.istio.io/port":                    "80",
		"readiness.status.sidecar.istio.io/periodSeconds": "-1",
	} {
		pod := details(t)
		pod.Annotations = map[string]string{key: value, "proxy.istio.io/overrides": "x"}
		_, _, err := Pod(pod, enabled, options)
		if err == nil || !strings.Contains(err.Error(), "annotation "+key) || !strings.Contains(err.Error(), "proxy.istio.io/overrides is not supported") {
			t.Errorf("%s=%s: error %v", key, value, err)
		}
	}
	pod := details(t)
	pod.Spec.Containers[0].Name = InitContainer
	if _, _, err := Pod(pod, enabled, options); err == nil || !strings.Contains(err.Error(), "of its own") {
		t.Errorf("error %v", err)
	}
	if _, _, err := Pod(details(t), enabled, Options{}); err == nil || !strings.Contains(err.Error(), "no proxy image") {
		t.Errorf("error %v", err)
	}
}

func TestGateway(t *testing.T) {
	objects := Gateway(GatewayOptions{Name: "istio-ingressgateway"}, options)
	var kinds []string
	for _, o := range objects {
		kinds = append(kinds, o.GetObjectKind().GroupVersionKind().Kind+" "+o.GetNamespace()+"/"+o.GetName())
	}
	want := []string{"ServiceAccount istio-system/istio-ingressgateway-service-account", "Service istio-system/istio-ingressgateway",
		"Deployment istio-system/istio-ingressgateway"}
	if !slices.Equal(kinds, want) {
		t.Errorf("objects are %q", kinds)
	}
	service, deployment := objects[1].(*corev1.Service), objects[2].(*appsv1.Deployment)
	if service.Spec.Selector["istio"] != "ingressgateway" || service.Spec.Ports[1].TargetPort.IntVal != 8080 || service.Spec.Type != corev1.ServiceTypeLoadBalancer {
		t.Errorf("service is %+v", service.Spec)
	}
	template := deployment.Spec.Template
	if mode, ok := template.Labels["security.istio.io/tlsMode"]; ok {
		t.Errorf("the gateway's Pods say tlsMode %q: clients would speak mutual TLS to plain servers", mode)
	}
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Name, pod.Namespace = "gw-0", "istio-system"
	if result, ok, err := Pod(pod, enabled, options); ok || err != nil || len(result.Spec.Containers) != 1 {
		t.Errorf("the gateway was injected: %t, %v", ok, err)
	}
	args := Expand(pod.Spec.Containers[0].Args, Env(pod, ProxyContainer, "10.0.0.1", ""))
	for _, part := range []string{"router~10.0.0.1~gw-0.istio-system~istio-system.svc.cluster.local",
		`SERVICE_ACCOUNT: "istio-ingressgateway-service-account"`, "cluster: \"istio-ingressgateway.istio-system\"", "istio: ingressgateway"} {
		if !strings.Contains(args[1], part) {
			t.Errorf("the bootstrap has no %s:\n%s", part, args[1])
		}
	}
	egress := Gateway(GatewayOptions{Name: "istio-egressgateway"}, options)[1].(*corev1.Service)
	if egress.Spec.Selector["istio"] != "egressgateway" || egress.Spec.Type != corev1.ServiceTypeClusterIP {
		t.Errorf("egress service is %+v", egress.Spec)
	}
}

func TestExpand(t *testing.T) {
	env := map[string]string{"A": "a", "B": "$(A)"}
	for in, want := range map[string]string{"$(A)-$(B)": "a-$(A)", "$$(A)": "$(A)", "$$$(A)": "$a", "$(NONE)": "$(NONE)", "$(A": "$(A", "$": "$",
		"a$": "a$", "$A": "$A", "$$": "$", "$()": "$()"} {
		if got := Expand([]string{in}, env)[0]; got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
		if got := Expand([]string{escape(in)}, env)[0]; got != in {
			t.Errorf("%q escaped becomes %q", in, got)
		}
	}
}

func TestEnv(t *testing.T) {
	pod := details(t)
	pod.Annotations = map[string]string{"a.b/c": "d"}
	const text = `
- {name: PORT, value: "9080"}
- {name: URL, value: http://x:$(PORT)/$(LATER)}
- {name: LATER, value: l}
- {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: HOST, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
- {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
- {name: NOTE, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['a.b/c']"}}}
- {name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
- {name: MILLI, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
- {name: SECRET, valueFrom: {secretKeyRef: {name: s, key: k}}}
`
	c := &pod.Spec.Containers[0]
	if err := yaml.UnmarshalStrict([]byte(text), &c.Env); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte("limits: {cpu: 1500m}"), &c.Resources); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"PORT": "9080", "URL": "http://x:9080/$(LATER)", "LATER": "l", "IP": "10.0.0.7", "HOST": "192.168.65.1",
		"APP": "details", "NOTE": "d", "CPUS": "2", "MILLI": "1500"}
	if got := Env(pod, "details", "10.0.0.7", "192.168.65.1"); !reflect.DeepEqual(got, want) {
		t.Errorf("environment is %v, want %v", got, want)
	}
}
