package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	meshpb "istio.io/api/mesh/v1alpha1"
	networkingpb "istio.io/api/networking/v1beta1"
	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// configKey is the annotation with a ProxyConfig for one Pod.
const configKey = "proxy.istio.io/config"

// perPod are the fields that may stand in the annotation.
var perPod = []string{"concurrency", "drainDuration", "gatewayTopology", "holdApplicationUntilProxyStarts", "interceptionMode",
	"proxyMetadata", "proxyStatsMatcher", "statusPort", "terminationDrainDuration"}

// proxyConfigs lays over the mesh's defaultConfig, in Istio's order: the ProxyConfig of the
// root namespace, that of the Pod's namespace, the Pod's annotation, and the ProxyConfig
// that selects it.
func (s *settings) proxyConfigs(o *Options, pod *corev1.Pod, namespace string) Problems {
	if o.RootNamespace != namespace {
		s.environmentOf(o.namespaceConfig(o.RootNamespace))
	}
	s.environmentOf(o.namespaceConfig(namespace))
	problems := s.annotatedConfig(pod)
	s.environmentOf(o.selectingConfig(namespace, pod.Labels))
	return problems
}

// namespaceConfig is the oldest ProxyConfig without a selector of a namespace.
func (o *Options) namespaceConfig(namespace string) *networkingpb.ProxyConfig {
	return o.proxyConfig(namespace, func(selector map[string]string) bool { return len(selector) == 0 })
}

// selectingConfig is the oldest ProxyConfig that selects a Pod.
func (o *Options) selectingConfig(namespace string, labels map[string]string) *networkingpb.ProxyConfig {
	return o.proxyConfig(namespace, func(selector map[string]string) bool {
		for k, v := range selector {
			if label, ok := labels[k]; !ok || label != v {
				return false
			}
		}
		return len(selector) > 0
	})
}

func (o *Options) proxyConfig(namespace string, fits func(selector map[string]string) bool) *networkingpb.ProxyConfig {
	var oldest *config.Object
	var found *networkingpb.ProxyConfig
	for _, object := range o.ProxyConfigs {
		c, ok := object.Value.(*networkingv1beta1.ProxyConfig)
		if !ok || object.Namespace != namespace || !fits(c.Spec.GetSelector().GetMatchLabels()) {
			continue
		}
		if oldest == nil || object.Created.Before(oldest.Created) {
			oldest, found = object, &c.Spec
		}
	}
	return found
}

// environmentOf takes over a ProxyConfig. The control plane has refused what it could not
// mean; the image is this program's own.
func (s *settings) environmentOf(c *networkingpb.ProxyConfig) {
	if n := c.GetConcurrency(); n != nil {
		s.concurrency = int(n.GetValue())
	}
	s.variables(c.GetEnvironmentVariables())
}

// variables adds to the proxy's environment; what is there under a name is replaced.
func (s *settings) variables(of map[string]string) {
	if s.metadata == nil {
		s.metadata = make(map[string]string)
	}
	maps.Copy(s.metadata, of)
}

// annotatedConfig takes over the Pod's annotation.
func (s *settings) annotatedConfig(pod *corev1.Pod) Problems {
	text, ok := pod.Annotations[configKey]
	if !ok {
		return nil
	}
	written, found := config.DecodeProxyConfig(text)
	if written != nil {
		found = append(found, s.written(written)...)
	}
	var problems Problems
	for _, d := range found {
		if d.Severity == config.Error {
			d.Message = "annotation " + configKey + ": " + d.Message
			problems = append(problems, Problem{annotationsPath + configKey, d})
		}
	}
	return problems
}

// written takes over what stands in an annotation.
func (s *settings) written(p *config.ProxyConfigText) []config.Diagnostic {
	found := notPerPod(p)
	refuse := func(path, message string) { found = append(found, p.Diagnose(CodeRefused, path, message, "")) }
	c := p.Value
	if h := c.GetHoldApplicationUntilProxyStarts(); h != nil {
		s.hold = h.GetValue()
	}
	if n := c.GetConcurrency(); n != nil {
		if s.concurrency = int(n.GetValue()); s.concurrency < 0 || s.concurrency > math.MaxUint16 {
			refuse("concurrency", fmt.Sprintf("concurrency %d: expected 0 to %d", s.concurrency, math.MaxUint16))
		}
	}
	if p.Has("interceptionMode") {
		if err := interceptionMode(s, c.GetInterceptionMode().String()); err != nil {
			refuse("interceptionMode", "interceptionMode: "+err.Error())
		}
	}
	if p.Has("statusPort") && c.GetStatusPort() != AppPort {
		refuse("statusPort", fmt.Sprintf("statusPort %d is not supported: it is %d", c.GetStatusPort(), AppPort))
	}
	s.ending(c, refuse)
	for _, name := range slices.Sorted(maps.Keys(c.GetProxyMetadata())) {
		if err := config.CheckProxyMetadata(name, c.GetProxyMetadata()[name]); err != nil {
			refuse("proxyMetadata."+name, "proxyMetadata: "+err.Error())
		}
	}
	s.variables(c.GetProxyMetadata())
	s.config = asWritten(c)
	return found
}

// asWritten is the configuration for the node's metadata, where the control plane finds what
// it has to know (gatewayTopology). Messages always marshal.
func asWritten(c *meshpb.ProxyConfig) map[string]any {
	text, _ := protojson.Marshal(c)
	var tree map[string]any
	_ = json.Unmarshal(text, &tree)
	return tree
}

// notPerPod finds fields that hold for the whole mesh only, or not at all.
func notPerPod(p *config.ProxyConfigText) []config.Diagnostic {
	var found []config.Diagnostic
	fields := p.Value.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if name := fields.Get(i).JSONName(); p.Has(name) && !slices.Contains(perPod, name) {
			found = append(found, p.Diagnose(CodeRefused, name, name+" is not supported for one Pod",
				"supported are "+strings.Join(perPod, ", ")))
		}
	}
	return found
}

// ending takes over how connections and the proxy are to end.
func (s *settings) ending(c *meshpb.ProxyConfig, refuse func(path, message string)) {
	if v := c.GetDrainDuration(); v != nil {
		d := v.AsDuration()
		if err := config.CheckDrain(d); err != nil {
			refuse("drainDuration", err.Error())
		}
		s.listeners = &d
	}
	if v := c.GetTerminationDrainDuration(); v != nil {
		d := v.AsDuration()
		if d < 0 || d%time.Second != 0 {
			refuse("terminationDrainDuration", fmt.Sprintf("terminationDrainDuration %v: expected whole seconds, such as 30s", d))
		}
		s.drain = &d
	}
}
