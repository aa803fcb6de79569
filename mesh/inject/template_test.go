package inject

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// gatewayPod is a gateway's Pod as Istio's installation guide writes it.
func gatewayPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "ingress", Namespace: "edge", Labels: map[string]string{"istio": "ingress", injectKey: "true"},
			Annotations: map[string]string{templatesKey: gatewayTemplate}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: ProxyContainer, Image: autoImage, ImagePullPolicy: corev1.PullAlways, // as the API server completes it
			Ports: []corev1.ContainerPort{{ContainerPort: 8443}, {ContainerPort: MetricsPort, Name: "prom"}},
			Env:   []corev1.EnvVar{{Name: "POD_NAME", Value: "mine"}, {Name: "OWN", Value: "1"}},
			Resources: corev1.ResourceRequirements{
				Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("3")}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}},
		}}},
	}
}

func TestGatewayTemplate(t *testing.T) {
	bare := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "edge"}}
	o := options
	o.HoldApplication, o.NativeSidecars = true, true // are about applications
	result, yes, err := Pod(gatewayPod(), bare, o)
	if err != nil || !yes {
		t.Fatalf("injected: %t, %v", yes, err)
	}
	if len(result.Spec.InitContainers) != 0 || len(result.Spec.Containers) != 1 {
		t.Fatalf("a gateway is one container: %+v", result.Spec)
	}
	c := result.Spec.Containers[0]
	if c.Image != options.ProxyImage || c.ImagePullPolicy != options.ImagePullPolicy || !strings.Contains(c.Args[1], "router~$(INSTANCE_IP)") || c.Lifecycle != nil {
		t.Errorf("the container is %+v", c)
	}
	if _, ok := result.Labels[tlsModeKey]; ok || result.Labels[canonicalName] != "ingress" {
		t.Errorf("labels %v", result.Labels)
	}
	if s := result.Spec.SecurityContext; s == nil || !slices.Equal(s.Sysctls, []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}}) {
		t.Errorf("the gateway cannot open low ports: %+v", s)
	}
	again, yes, err := Pod(result, bare, o)
	if err != nil || yes || again.Annotations[statusKey] != result.Annotations[statusKey] {
		t.Errorf("injected once more: %t, %v", yes, err)
	}
}

func TestOwnProxyContainerIsCompleted(t *testing.T) {
	gateway := gatewayPod()
	beside := details(t)
	beside.Spec.Containers = append(beside.Spec.Containers, gateway.Spec.Containers[0])
	for name, pod := range map[string]*corev1.Pod{"gateway": gateway, "sidecar": beside} {
		result := injected(t, pod, options)
		c := container(t, result, ProxyContainer)
		if i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "POD_NAME" }); c.Env[i].Value != "mine" || c.Env[i].ValueFrom != nil ||
			c.Env[len(c.Env)-1].Name != "OWN" {
			t.Errorf("%s: the environment is %+v", name, c.Env)
		}
		if len(c.Ports) != 2 || c.Ports[0].Name != "prom" || c.Ports[1].ContainerPort != 8443 {
			t.Errorf("%s: ports %+v", name, c.Ports)
		}
		if cpu, memory := c.Resources.Limits.Cpu().String(), c.Resources.Limits.Memory().String(); cpu != "3" || memory != "1Gi" {
			t.Errorf("%s: limits %s and %s", name, cpu, memory)
		}
		if c.ReadinessProbe.TCPSocket == nil || c.ReadinessProbe.HTTPGet != nil || c.ReadinessProbe.PeriodSeconds != 15 {
			t.Errorf("%s: readiness %+v", name, c.ReadinessProbe)
		}
	}
	result := injected(t, beside, options)
	if apps := result.Annotations["kubectl.kubernetes.io/default-container"]; apps != "details" || len(result.Spec.Containers) != 2 {
		t.Errorf("%d containers, of which %q is the application", len(result.Spec.Containers), apps)
	}
	if bootstrap := container(t, result, ProxyContainer).Args[1]; !strings.Contains(bootstrap, "APP_CONTAINERS: details\n") {
		t.Errorf("the bootstrap has the proxy among the applications:\n%s", bootstrap)
	}
	for name, o := range map[string]Options{"held": {HoldApplication: true}, "native": {NativeSidecars: true}} {
		o.ProxyImage = options.ProxyImage
		result := injected(t, beside, o)
		if c := container(t, result, ProxyContainer); len(allContainers(result)) != 3 || c.Env[len(c.Env)-1].Name != "OWN" {
			t.Errorf("%s: %d containers, environment %+v", name, len(allContainers(result)), c.Env)
		}
	}
}

func TestWhatCannotBeCompleted(t *testing.T) {
	for want, change := range map[string]func(*corev1.Pod){
		"args of the container":    func(p *corev1.Pod) { p.Spec.Containers[0].Args = []string{"proxy"} },
		"command of the container": func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"envoy"} },
		"init container": func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: ProxyContainer}}
		},
		"another user": func(p *corev1.Pod) {
			p.Annotations[templatesKey] = "sidecar, sidecar"
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: pointer(int64(7))}
		},
		`there is no template "waypoint", only sidecar and gateway`: func(p *corev1.Pod) { p.Annotations[templatesKey] = "gateway,waypoint" },
		"not both": func(p *corev1.Pod) { p.Annotations[templatesKey] = "sidecar,gateway" },
		"volume":   func(p *corev1.Pod) { p.Spec.Volumes = volumes()[:1] },
	} {
		pod := gatewayPod()
		change(pod)
		if _, _, err := Pod(pod, nil, options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, error %v", want, err)
		}
	}
}
