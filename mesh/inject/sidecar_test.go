package inject

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	meshpb "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestNativeSidecarStartsAfterCapture(t *testing.T) {
	pod := details(t)
	pod.Annotations = map[string]string{"sidecar.istio.io/nativeSidecar": "true"}
	result := injected(t, pod, options)
	if len(result.Spec.InitContainers) != 2 || len(result.Spec.Containers) != 1 {
		t.Fatalf("init containers %v, containers %v", result.Spec.InitContainers, result.Spec.Containers)
	}
	proxy := result.Spec.InitContainers[1]
	if proxy.Name != ProxyContainer || proxy.RestartPolicy == nil || *proxy.RestartPolicy != corev1.ContainerRestartPolicyAlways || proxy.StartupProbe == nil {
		t.Errorf("the sidecar is %+v", proxy)
	}
	if s := result.Annotations[statusKey]; !strings.Contains(s, `"initContainers":["istio-init","istio-proxy"],"containers":null`) {
		t.Errorf("status is %s", s)
	}
	o := options
	o.NativeSidecars = true
	pod.Annotations = map[string]string{"sidecar.istio.io/nativeSidecar": "false"}
	if result := injected(t, pod, o); len(result.Spec.InitContainers) != 1 {
		t.Error("the annotation does not win over the mesh")
	}
}

func TestMetricsAreMerged(t *testing.T) {
	for _, c := range []struct {
		annotations map[string]string
		port, env   string
	}{
		{nil, "15020", ""},
		{map[string]string{scrapeKey: "true", scrapePortKey: "9080", scrapePathKey: "/m"}, "15020", `{"path":"/m","port":"9080","scrape":"true"}`},
		{map[string]string{scrapeKey: "false", scrapePortKey: "9080"}, "9080", ""},
		{map[string]string{scrapePortKey: "9080", "prometheus.istio.io/merge-metrics": "false"}, "9080", ""},
	} {
		pod := details(t)
		pod.Annotations = c.annotations
		result := injected(t, pod, options)
		if got := result.Annotations[scrapePortKey]; got != c.port {
			t.Errorf("%v: Prometheus goes to port %q, want %q", c.annotations, got, c.port)
		}
		if got := Env(result, ProxyContainer, "10.0.0.7", "")[AppMetricsEnv]; got != c.env {
			t.Errorf("%v: the proxy knows %q, want %q", c.annotations, got, c.env)
		}
	}
}

func TestProbesOfEachKindGoToTheProxy(t *testing.T) {
	pod := details(t)
	c := &pod.Spec.Containers[0]
	port := c.Ports[0].ContainerPort
	c.Ports[0].Name = "web"
	c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("web")}}, PeriodSeconds: 7}
	c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 7000}}, TimeoutSeconds: 3}
	c.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
	result := injected(t, pod, options)
	got := container(t, result, c.Name)
	for _, p := range []struct {
		probe *corev1.Probe
		path  string
	}{{got.LivenessProbe, "/app-health/details/livez"}, {got.ReadinessProbe, "/app-health/details/readyz"}} {
		if p.probe.HTTPGet == nil || p.probe.HTTPGet.Path != p.path || p.probe.HTTPGet.Port.IntValue() != AppPort || p.probe.TCPSocket != nil || p.probe.GRPC != nil {
			t.Errorf("probe is %+v", p.probe)
		}
	}
	if got.LivenessProbe.PeriodSeconds != 7 || got.StartupProbe.Exec == nil {
		t.Error("what is not about the connection has changed")
	}
	env := Env(result, ProxyContainer, "10.0.0.7", "")[AppProbersEnv]
	for _, want := range []string{fmt.Sprintf(`"tcpSocket":{"port":%d}`, port), `"grpc":{"port":7000,"service":null},"timeoutSeconds":3`} {
		if !strings.Contains(env, want) {
			t.Errorf("the proxy knows %s, want %s", env, want)
		}
	}
}

func TestHowTheProxyEnds(t *testing.T) {
	pod := details(t)
	env := func(config string) map[string]string {
		pod.Annotations = map[string]string{"proxy.istio.io/config": config}
		return Env(injected(t, pod, options), ProxyContainer, "10.0.0.7", "")
	}
	if e := env("{}"); e[drainEnv] != "5" {
		t.Errorf("by default the proxy drains for %q seconds", e[drainEnv])
	}
	e := env("terminationDrainDuration: 30s\nproxyMetadata: {EXIT_ON_ZERO_ACTIVE_CONNECTIONS: 'true', MINIMUM_DRAIN_DURATION: 2s}\n")
	if e[drainEnv] != "30" || e["EXIT_ON_ZERO_ACTIVE_CONNECTIONS"] != "true" || e["MINIMUM_DRAIN_DURATION"] != "2s" {
		t.Errorf("the environment is %v", e)
	}
	mesh := options.Under(&meshpb.MeshConfig{DefaultConfig: &meshpb.ProxyConfig{TerminationDrainDuration: durationpb.New(12 * time.Second)}})
	for config, want := range map[string]string{"{}": "12", "terminationDrainDuration: 30s": "30"} {
		pod.Annotations = map[string]string{"proxy.istio.io/config": config}
		if e := Env(injected(t, pod, mesh), ProxyContainer, "10.0.0.7", ""); e[drainEnv] != want {
			t.Errorf("of a mesh that drains for 12 seconds, with %s, the proxy drains for %q", config, e[drainEnv])
		}
	}
	for config, want := range map[string]string{
		"terminationDrainDuration: 1500ms":                          "whole seconds",
		"proxyMetadata: {EXIT_ON_ZERO_ACTIVE_CONNECTIONS: perhaps}": "true or false",
		"proxyMetadata: {MINIMUM_DRAIN_DURATION: soon}":             "soon",
		"drainDuration: 1500ms":                                     "whole seconds",
		"interceptionMode: TPROXY":                                  "TPROXY",
		"proxyMetadata: {BOOTSTRAP_XDS_AGENT: 'true'}":              "BOOTSTRAP_XDS_AGENT",
	} {
		pod.Annotations = map[string]string{"proxy.istio.io/config": config}
		if _, _, err := Pod(pod, enabled, options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}

func TestTheMeshsProxyConfig(t *testing.T) {
	mesh := options.Under(&meshpb.MeshConfig{DefaultConfig: &meshpb.ProxyConfig{
		DrainDuration: durationpb.New(20 * time.Second), Concurrency: wrapperspb.Int32(3), InterceptionMode: meshpb.ProxyConfig_NONE,
		ProxyMetadata: map[string]string{"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true", "MINIMUM_DRAIN_DURATION": "2s"},
	}})
	pod := details(t)
	for _, c := range []struct {
		annotations                                 map[string]string
		drain, concurrency, exit, minimum, captures string
	}{
		{nil, "20s", "3", "true", "2s", "no"},
		{map[string]string{"proxy.istio.io/config": "drainDuration: 30s\nconcurrency: 1\ninterceptionMode: REDIRECT\nproxyMetadata: {MINIMUM_DRAIN_DURATION: 9s}"},
			"30s", "1", "true", "9s", "yes"},
		{map[string]string{"sidecar.istio.io/interceptionMode": "REDIRECT", "proxy.istio.io/config": "drainDuration: 45s"}, "", "3", "true", "2s", "yes"},
	} {
		pod.Annotations = c.annotations
		result := injected(t, pod, mesh)
		proxy := result.Spec.Containers[slices.IndexFunc(result.Spec.Containers, func(c corev1.Container) bool { return c.Name == ProxyContainer })]
		argument := func(name string) string {
			if i := slices.Index(proxy.Args, name); i >= 0 {
				return proxy.Args[i+1]
			}
			return ""
		}
		env := Env(result, ProxyContainer, "10.0.0.7", "")
		captures := "no"
		if slices.ContainsFunc(result.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == InitContainer }) {
			captures = "yes"
		}
		got := []string{argument("--drain-time"), argument("--concurrency"), env["EXIT_ON_ZERO_ACTIVE_CONNECTIONS"], env["MINIMUM_DRAIN_DURATION"], captures}
		if want := []string{c.drain, c.concurrency, c.exit, c.minimum, c.captures}; !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", c.annotations, got, want)
		}
	}
}
