package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Pod returns a copy of pod, with a sidecar if Decide says so; injected tells. The
// Namespace may be nil. Errors name annotations that are wrong or not supported.
func Pod(pod *corev1.Pod, ns *corev1.Namespace, o Options) (result *corev1.Pod, injected bool, err error) {
	result = pod.DeepCopy()
	if yes, _ := Decide(pod, ns, o); !yes {
		return result, false, nil
	}
	if err := o.setDefaults(); err != nil {
		return nil, false, err
	}
	s, problems := o.annotated(pod, namespaceOf(pod, ns))
	if problems = append(problems, conflicts(pod, s)...); len(problems) > 0 {
		return nil, false, problems
	}
	if err := o.add(result, ns, s); err != nil {
		return nil, false, err
	}
	return result, true, nil
}

// add puts the proxy into a Pod. A gateway is the proxy alone: nothing is captured, nobody
// waits for it, and clients must not take its ports for a sidecar's.
func (o *Options) add(pod *corev1.Pod, ns *corev1.Namespace, s *settings) error {
	w := workloadOf(pod, ns)
	_, ownMode := pod.Labels[tlsModeKey]
	pod.Labels = addLabels(pod.Labels, w)
	kind := "sidecar"
	if s.template == gatewayTemplate {
		kind, s.capture, s.hold, s.native = "router", nil, false, false
		openLowPorts(&pod.Spec)
		if !ownMode {
			delete(pod.Labels, tlsModeKey)
		}
	}
	proxy, err := o.proxy(bootstrapOf{kind, pod, w, s})
	if err != nil {
		return err
	}
	if err := s.serve(pod, proxy); err != nil {
		return err
	}
	for _, key := range []string{"kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container"} {
		if apps := applications(pod); pod.Annotations[key] == "" && len(apps) > 0 {
			pod.Annotations[key] = apps[0].Name
		}
	}
	return o.place(pod, proxy, s)
}

// serve has the proxy answer for the applications: their probes, their metrics.
func (s *settings) serve(pod *corev1.Pod, proxy *corev1.Container) error {
	if !s.keepProbes {
		probers, err := rewriteProbes(pod)
		if err != nil {
			return err
		}
		if probers != "" {
			proxy.Env = append(proxy.Env, corev1.EnvVar{Name: AppProbersEnv, Value: escape(probers)})
		}
	}
	if pod.Annotations == nil {
		pod.Annotations = make(map[string]string)
	}
	if s.mergeMetrics {
		if where := mergeMetrics(pod.Annotations); where != "" {
			proxy.Env = append(proxy.Env, corev1.EnvVar{Name: AppMetricsEnv, Value: escape(where)})
		}
	}
	return nil
}

// place puts the proxy's containers and volumes into a Pod, and notes which these are. A
// container that the Pod has for the proxy already is completed where it stands.
func (o *Options) place(pod *corev1.Pod, proxy *corev1.Container, s *settings) error {
	own := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == ProxyContainer })
	if own >= 0 {
		var err error
		if proxy, err = completed(proxy, &pod.Spec.Containers[own]); err != nil {
			return err
		}
		if s.native || s.hold {
			pod.Spec.Containers = slices.Delete(pod.Spec.Containers, own, own+1)
		}
	}
	added := status{Containers: []string{ProxyContainer}, Revision: o.Revision}
	if s.capture != nil {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, o.init(s))
		added.InitContainers = []string{InitContainer}
	}
	switch {
	case s.native:
		// The startup probe holds what comes after it.
		always := corev1.ContainerRestartPolicyAlways
		proxy.RestartPolicy = &always
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, *proxy)
		added.InitContainers, added.Containers = append(added.InitContainers, ProxyContainer), nil
	case s.hold:
		if proxy.Lifecycle == nil {
			proxy.Lifecycle = &corev1.Lifecycle{}
		}
		proxy.Lifecycle.PostStart = &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"meshproxy", "wait"}}}
		pod.Spec.Containers = slices.Insert(pod.Spec.Containers, 0, *proxy)
	case own >= 0:
		pod.Spec.Containers[own] = *proxy
	default:
		pod.Spec.Containers = append(pod.Spec.Containers, *proxy)
	}
	for _, v := range volumes() {
		pod.Spec.Volumes = append(pod.Spec.Volumes, v)
		added.Volumes = append(added.Volumes, v.Name)
	}
	text, err := json.Marshal(added)
	pod.Annotations[statusKey] = string(text)
	return err
}

// status is what the annotation sidecar.istio.io/status says was added.
type status struct {
	InitContainers []string `json:"initContainers"`
	Containers     []string `json:"containers"`
	Volumes        []string `json:"volumes"`
	Revision       string   `json:"revision"`
}

// init programs the capture rules before anything else runs.
func (o *Options) init(s *settings) corev1.Container {
	return corev1.Container{
		Name: InitContainer, Image: s.image, ImagePullPolicy: o.ImagePullPolicy,
		Args:      append([]string{"capture"}, s.capture.Args()...),
		Resources: s.resources,
		// Why rules failed stands in the Pod's status, not only in a log.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: pointer(false), Privileged: pointer(false),
			Capabilities:           &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN", "NET_RAW"}, Drop: []corev1.Capability{"ALL"}},
			ReadOnlyRootFilesystem: pointer(false),
			RunAsUser:              pointer(int64(0)), RunAsGroup: pointer(int64(0)), RunAsNonRoot: pointer(false),
		},
	}
}

// proxy is the proxy's container, of a sidecar or a gateway.
func (o *Options) proxy(b bootstrapOf) (*corev1.Container, error) {
	s := b.settings
	config, err := o.bootstrap(b)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	args := []string{"--config-yaml", config, "--ca-address", o.discoveryAddress(), "--token-path", TokenPath, "--ca-root-path", RootCertPath,
		"--status-port", fmt.Sprint(AppPort)}
	if s.logLevel != "" {
		args = append(args, "--log-level", s.logLevel)
	}
	if s.concurrency > 0 {
		args = append(args, "--concurrency", fmt.Sprint(s.concurrency))
	}
	if s.listeners != nil && *s.listeners != defaultListenerDrain {
		args = append(args, "--drain-time", s.listeners.String())
	}
	c := &corev1.Container{
		Name: ProxyContainer, Image: s.image, ImagePullPolicy: o.ImagePullPolicy,
		Args:      args,
		Env:       s.environment(),
		Ports:     []corev1.ContainerPort{{Name: "http-envoy-prom", ContainerPort: MetricsPort, Protocol: corev1.ProtocolTCP}},
		Resources: s.resources,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: pointer(false), Privileged: pointer(false),
			Capabilities:           &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			ReadOnlyRootFilesystem: pointer(true),
			RunAsUser:              pointer(ProxyUser), RunAsGroup: pointer(ProxyUser), RunAsNonRoot: pointer(true),
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: rootVolume, MountPath: "/var/run/secrets/istio", ReadOnly: true},
			{Name: tokenVolume, MountPath: "/var/run/secrets/tokens", ReadOnly: true},
		},
	}
	if s.probes {
		c.StartupProbe = healthProbe(timing{period: 1, failures: 600})
		c.ReadinessProbe = healthProbe(s.readiness)
	}
	return c, nil
}

func healthProbe(t timing) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: "/healthz/ready", Port: intstr.FromInt32(HealthPort), Scheme: corev1.URISchemeHTTP}},
		InitialDelaySeconds: t.initialDelay, PeriodSeconds: t.period, FailureThreshold: t.failures, TimeoutSeconds: 3,
	}
}

// environment has the variables that the bootstrap refers to, and how the proxy ends.
func (s *settings) environment() []corev1.EnvVar {
	var env []corev1.EnvVar
	for _, v := range []struct{ name, path string }{
		{"POD_NAME", "metadata.name"}, {"POD_NAMESPACE", "metadata.namespace"}, {"INSTANCE_IP", "status.podIP"}, {"INSTANCE_IPS", "status.podIPs"},
		{"SERVICE_ACCOUNT", "spec.serviceAccountName"}, {"NODE_NAME", "spec.nodeName"}, {"HOST_IP", "status.hostIP"},
	} {
		env = append(env, corev1.EnvVar{Name: v.name, ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: v.path}}})
	}
	drain := 5 * time.Second
	if s.drain != nil {
		drain = *s.drain
	}
	env = append(env, corev1.EnvVar{Name: drainEnv, Value: strconv.Itoa(int(drain / time.Second))})
	for _, name := range slices.Sorted(maps.Keys(s.metadata)) {
		env = append(env, corev1.EnvVar{Name: name, Value: s.metadata[name]})
	}
	return env
}

const (
	tokenVolume = "istio-token"
	rootVolume  = "istiod-ca-cert"
)

// volumes are the token that proves who the proxy is and the roots that it trusts.
func volumes() []corev1.Volume {
	token := &corev1.ServiceAccountTokenProjection{Audience: "istio-ca", ExpirationSeconds: pointer(int64(43200)), Path: "istio-token"}
	return []corev1.Volume{
		{Name: tokenVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: token}}}}},
		{Name: rootVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: RootConfigMap}}}},
	}
}

func pointer[T any](v T) *T { return &v }
