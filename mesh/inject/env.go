package inject

import (
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Expand does to arguments what kubelet does: $(NAME) becomes the variable's value, a
// reference to an unknown variable stays as it is, $$ is one dollar sign.
func Expand(args []string, env map[string]string) []string {
	expanded := make([]string, len(args))
	for i, a := range args {
		expanded[i] = expand(a, env)
	}
	return expanded
}

func expand(s string, env map[string]string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		s = s[i:]
		end := strings.IndexByte(s, ')')
		switch {
		case s[1] == '$':
			b.WriteByte('$')
			s = s[2:]
		case s[1] == '(' && end > 0:
			if value, ok := env[s[2:end]]; ok {
				b.WriteString(value)
			} else {
				b.WriteString(s[:end+1])
			}
			s = s[end+1:]
		default:
			b.WriteString(s[:2])
			s = s[2:]
		}
	}
}

// escape makes Expand give s back.
func escape(s string) string { return strings.ReplaceAll(s, "$", "$$") }

func escapeAll(m map[string]string) map[string]string {
	escaped := make(map[string]string, len(m))
	for k, v := range m {
		escaped[escape(k)] = escape(v)
	}
	return escaped
}

func escapeValue(v any) any {
	switch v := v.(type) {
	case string:
		return escape(v)
	case list:
		escaped := make(list, len(v))
		for i := range v {
			escaped[i] = escapeValue(v[i])
		}
		return escaped
	case object:
		escaped := make(object, len(v))
		for k, field := range v {
			escaped[escape(k)] = escapeValue(field)
		}
		return escaped
	}
	return v
}

// Env returns a container's environment: values with references to earlier variables
// expanded, fields of the Pod (the downward API), and the container's own resources.
// Variables that come from ConfigMaps and Secrets are not there: the Pod alone does
// not tell their values.
func Env(pod *corev1.Pod, container, podIP, hostIP string) map[string]string {
	env := make(map[string]string)
	for _, c := range allContainers(pod) {
		if c.Name != container {
			continue
		}
		for _, v := range c.Env {
			switch {
			case v.ValueFrom == nil:
				env[v.Name] = expand(v.Value, env)
			case v.ValueFrom.FieldRef != nil:
				if value, ok := field(pod, v.ValueFrom.FieldRef.FieldPath, podIP, hostIP); ok {
					env[v.Name] = value
				}
			case v.ValueFrom.ResourceFieldRef != nil:
				if value, ok := resourceField(pod, c, v.ValueFrom.ResourceFieldRef); ok {
					env[v.Name] = value
				}
			}
		}
	}
	return env
}

func allContainers(pod *corev1.Pod) []*corev1.Container {
	var all []*corev1.Container
	for i := range pod.Spec.InitContainers {
		all = append(all, &pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		all = append(all, &pod.Spec.Containers[i])
	}
	return all
}

// keyed matches the fields that have a key: metadata.labels['app'].
var keyed = regexp.MustCompile(`^metadata\.(labels|annotations)\['(.*)'\]$`)

func field(pod *corev1.Pod, path, podIP, hostIP string) (string, bool) {
	if m := keyed.FindStringSubmatch(path); m != nil {
		if m[1] == "labels" {
			return pod.Labels[m[2]], true
		}
		return pod.Annotations[m[2]], true
	}
	switch path {
	case "metadata.name":
		return pod.Name, true
	case "metadata.namespace":
		return pod.Namespace, true
	case "metadata.uid":
		return string(pod.UID), true
	case "spec.nodeName":
		return pod.Spec.NodeName, true
	case "spec.serviceAccountName":
		if pod.Spec.ServiceAccountName == "" {
			return "default", true
		}
		return pod.Spec.ServiceAccountName, true
	case "status.podIP", "status.podIPs":
		return podIP, true
	case "status.hostIP", "status.hostIPs":
		return hostIP, true
	}
	return "", false
}

// resourceField is a request or limit in units of its divisor, rounded up.
func resourceField(pod *corev1.Pod, c *corev1.Container, ref *corev1.ResourceFieldSelector) (string, bool) {
	for _, other := range allContainers(pod) {
		if ref.ContainerName == other.Name {
			c = other
		}
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	from := map[string]corev1.ResourceList{"limits": c.Resources.Limits, "requests": c.Resources.Requests}[kind]
	value, ok := from[corev1.ResourceName(name)]
	if !ok {
		return "", false
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if name == string(corev1.ResourceCPU) {
		return ceil(value.MilliValue(), divisor.MilliValue()), true
	}
	return ceil(value.Value(), divisor.Value()), true
}

func ceil(a, b int64) string { return strconv.FormatInt((a+b-1)/b, 10) }
