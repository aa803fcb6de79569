package inject

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// settings are the mesh's with a Pod's annotations applied.
type settings struct {
	image       string
	logLevel    string
	concurrency int
	hold        bool
	keepProbes  bool
	native      bool
	drain       *time.Duration
	listeners   *time.Duration    // drain; nil: the proxy's own default
	metadata    map[string]string // proxyMetadata, which the proxy has in its environment
	// mergeMetrics sends Prometheus to the proxy for the application's metrics too.
	mergeMetrics bool
	capture      *capture.Options // nil: interception mode NONE
	none         bool             // the interception mode, until all annotations are read
	resources    corev1.ResourceRequirements
	probes       bool
	readiness    timing
	template     string
	config       map[string]any // of proxy.istio.io/config, for the node's metadata
}

// timing of the readiness probe, in seconds; Istio's defaults.
type timing struct{ initialDelay, period, failures int32 }

// annotation applies one annotation's value.
type annotation func(s *settings, value string) error

// annotations are all that are honoured. Others of Istio's that change the sidecar
// are refused: see refused.
var annotations = map[string]annotation{
	injectKey: keep, // Decide has read it
	statusKey: keep,

	"sidecar.istio.io/proxyImage":    func(s *settings, v string) error { s.image = v; return nil },
	"sidecar.istio.io/logLevel":      func(s *settings, v string) error { s.logLevel = v; return nil },
	"sidecar.istio.io/proxyCPU":      quantity(corev1.ResourceCPU, false),
	"sidecar.istio.io/proxyMemory":   quantity(corev1.ResourceMemory, false),
	"sidecar.istio.io/proxyCPULimit": quantity(corev1.ResourceCPU, true),

	"sidecar.istio.io/proxyMemoryLimit": quantity(corev1.ResourceMemory, true),
	"sidecar.istio.io/rewriteAppHTTPProbers": func(s *settings, v string) error {
		rewrite, err := strconv.ParseBool(v)
		s.keepProbes = !rewrite
		return err
	},
	"sidecar.istio.io/nativeSidecar": func(s *settings, v string) (err error) {
		s.native, err = strconv.ParseBool(v)
		return err
	},
	"prometheus.istio.io/merge-metrics": func(s *settings, v string) (err error) {
		s.mergeMetrics, err = strconv.ParseBool(v)
		return err
	},
	"sidecar.istio.io/interceptionMode": interceptionMode,
	// All statistics are kept: what is asked for is there.
	"sidecar.istio.io/statsInclusionPrefixes": keep,
	"sidecar.istio.io/statsInclusionRegexps":  keep,
	"sidecar.istio.io/statsInclusionSuffixes": keep,

	"status.sidecar.istio.io/port": func(s *settings, v string) error {
		switch v {
		case "0":
			s.probes = false
		case strconv.Itoa(AppPort), strconv.Itoa(HealthPort):
		default:
			return fmt.Errorf("%q: only %d, %d and 0 (no probes) are supported", v, AppPort, HealthPort)
		}
		return nil
	},
	"readiness.status.sidecar.istio.io/initialDelaySeconds": seconds(func(s *settings) *int32 { return &s.readiness.initialDelay }),
	"readiness.status.sidecar.istio.io/periodSeconds":       seconds(func(s *settings) *int32 { return &s.readiness.period }),
	"readiness.status.sidecar.istio.io/failureThreshold":    seconds(func(s *settings) *int32 { return &s.readiness.failures }),

	"traffic.sidecar.istio.io/includeInboundPorts": traffic(func(o *capture.Options, v string) (err error) {
		o.InboundPorts, err = capture.ParsePorts(v)
		return err
	}),
	"traffic.sidecar.istio.io/excludeInboundPorts": traffic(func(o *capture.Options, v string) error {
		return more(&o.ExcludeInboundPorts, v)
	}),
	"traffic.sidecar.istio.io/includeOutboundPorts": traffic(func(o *capture.Options, v string) (err error) {
		o.IncludeOutboundPorts, err = capture.ParsePortList(v)
		return err
	}),
	"traffic.sidecar.istio.io/excludeOutboundPorts": traffic(func(o *capture.Options, v string) (err error) {
		o.ExcludeOutboundPorts, err = capture.ParsePortList(v)
		return err
	}),
	"traffic.sidecar.istio.io/includeOutboundIPRanges": traffic(func(o *capture.Options, v string) (err error) {
		o.IncludeOutbound, err = capture.ParseRanges(v)
		return err
	}),
	"traffic.sidecar.istio.io/excludeOutboundIPRanges": traffic(func(o *capture.Options, v string) (err error) {
		o.ExcludeOutbound, err = capture.ParsePrefixes(v)
		return err
	}),
	"traffic.sidecar.istio.io/excludeInterfaces": traffic(func(o *capture.Options, v string) error {
		o.ExcludeInterfaces = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	}),

	templatesKey: template,
	configKey:    keep, // see settings.proxyConfigs
}

// families are the prefixes of annotations that speak to the injector.
var families = []string{"sidecar.istio.io/", "status.sidecar.istio.io/", "readiness.status.sidecar.istio.io/",
	"traffic.sidecar.istio.io/", "inject.istio.io/", "proxy.istio.io/", "prometheus.istio.io/"}

// annotated applies a Pod's annotations and the ProxyConfigs for it, and reports everything
// that is wrong with them.
func (o *Options) annotated(pod *corev1.Pod, namespace string) (*settings, Problems) {
	c := *o.Capture
	s := &settings{image: o.ProxyImage, hold: o.HoldApplication, drain: o.Drain, keepProbes: o.KeepProbes, capture: &c,
		native: o.NativeSidecars, mergeMetrics: true, none: o.NoCapture, template: sidecarTemplate,
		listeners: o.ListenerDrain, concurrency: int(o.Concurrency), metadata: maps.Clone(o.Metadata),
		probes: true, readiness: timing{period: 15, failures: 4}}
	problems := s.proxyConfigs(o, pod, namespace)
	for _, key := range slices.Sorted(maps.Keys(pod.Annotations)) {
		apply := annotations[key]
		switch {
		case apply != nil:
			if err := apply(s, pod.Annotations[key]); err != nil {
				problems = append(problems, ofAnnotation(key, ": "+err.Error()))
			}
		case slices.ContainsFunc(families, func(family string) bool { return strings.HasPrefix(key, family) }):
			problems = append(problems, ofAnnotation(key, " is not supported"))
		}
	}
	s.capture.RedirectDNS, _ = strconv.ParseBool(s.metadata[config.DNSCapture]) // it has been checked
	if s.none {
		s.capture = nil
	}
	if s.resources.Requests == nil && s.resources.Limits == nil {
		s.resources = defaultResources()
	}
	return s, problems
}

// ofAnnotation is what is wrong with an annotation as a whole.
func ofAnnotation(key, message string) Problem {
	return Problem{annotationsPath + key, config.Diagnostic{Severity: config.Error, Code: CodeRefused,
		Message: "annotation " + key + message}}
}

func defaultResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("1Gi")},
	}
}

func keep(*settings, string) error { return nil }

func interceptionMode(s *settings, v string) error {
	if v != "REDIRECT" && v != "NONE" {
		return fmt.Errorf("mode %q is not supported, only REDIRECT and NONE", v)
	}
	s.none = v == "NONE"
	return nil
}

// quantity sets one of the proxy's resources. As in Istio, the defaults are void as
// soon as one is set.
func quantity(name corev1.ResourceName, limit bool) annotation {
	return func(s *settings, v string) error {
		q, err := resource.ParseQuantity(v)
		if err != nil {
			return fmt.Errorf("%q: %w", v, err)
		}
		list := &s.resources.Requests
		if limit {
			list = &s.resources.Limits
		}
		if *list == nil {
			*list = make(corev1.ResourceList)
		}
		(*list)[name] = q
		return nil
	}
}

func seconds(field func(*settings) *int32) annotation {
	return func(s *settings, v string) error {
		n, err := strconv.ParseUint(v, 10, 31)
		*field(s) = int32(n)
		return err
	}
}

func traffic(apply func(*capture.Options, string) error) annotation {
	return func(s *settings, v string) error { return apply(s.capture, v) }
}

// more adds ports to those that are excluded anyway.
func more(ports *[]uint16, v string) error {
	list, err := capture.ParsePortList(v)
	all := slices.Clone(*ports)
	for _, p := range list {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	*ports = all
	return err
}
