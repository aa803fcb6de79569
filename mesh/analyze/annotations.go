package analyze

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"istio.io/api/annotation"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/spelling"
)

// foreignAnnotations are of Istio's domains and set by programs, not by people.
var foreignAnnotations = []string{"istio.io/rev", "ambient.istio.io/redirection", "sidecar.istio.io/status", "gateway.istio.io/controller-version"}

// annotations looks at Istio's annotations, by the list that Istio's API has of them:
// those that do not exist, stand at a kind that nobody looks for them at, or have values
// that nobody can read have no effect, and Kubernetes takes them all.
func (a *analysis) annotations() {
	known := map[string]*annotation.Instance{}
	for _, i := range annotation.AllResourceAnnotations() {
		known[i.Name] = i
	}
	for _, o := range a.written {
		if meta, ok := o.Value.(metav1.Object); ok {
			a.annotated(o, "metadata.annotations.", o.Kind, meta.GetAnnotations(), known)
		}
		if t := templateOf(o); t != nil && t.path != "" {
			a.annotated(o, t.path+"metadata.annotations.", "Pod", t.meta.Annotations, known)
		}
	}
}

func (a *analysis) annotated(o *config.Object, path, kind string, values map[string]string, known map[string]*annotation.Instance) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		domain, _, _ := strings.Cut(key, "/")
		i := known[key]
		switch {
		case slices.Contains(foreignAnnotations, key) || strings.HasSuffix(domain, "operator.istio.io"):
		case i == nil && (domain == "istio.io" || strings.HasSuffix(domain, ".istio.io")):
			hint := ""
			if near := spelling.Nearest(key, slices.Collect(maps.Keys(known))); near != "" {
				hint = "did you mean " + near + "?"
			}
			a.report(o, config.Warning, CodeUnknownAnnotation, path+key, fmt.Sprintf("Istio has no annotation %s: it has no effect", key), hint)
		case i != nil:
			a.known(o, path+key, kind, values[key], i)
		}
	}
}

// known looks at one of the annotations that exist.
func (a *analysis) known(o *config.Object, path, kind, value string, i *annotation.Instance) {
	var places []string
	for _, r := range i.Resources {
		places = append(places, r.String())
	}
	// A Gateway of the Gateway API hands its annotations on to what is made of it.
	if !slices.Contains(places, "Any") && !slices.Contains(places, kind) && o.StoreKind() != "gateway.networking.k8s.io/Gateway" {
		hint := ""
		if t := templateOf(o); t != nil && t.path != "" && slices.Contains(places, "Pod") {
			hint = "write it below spec.template.metadata.annotations"
		}
		a.report(o, config.Warning, CodeMisplacedAnnotation, path, fmt.Sprintf("%s has no effect at a %s: it is for %s", i.Name, kind, strings.Join(places, ", ")), hint)
	} else if check := annotationForms[i.Name]; check != nil {
		if problem := check(value); problem != "" {
			a.report(o, config.Warning, CodeInvalidAnnotation, path, fmt.Sprintf("%s: %s", i.Name, problem), "")
		}
	}
	switch {
	case i.Deprecated && i.Name == "sidecar.istio.io/inject":
		a.report(o, config.Info, CodeDeprecatedAnnotation, path, i.Name+" is out of use as an annotation: webhooks do not look at it", "make it a label")
	case i.Deprecated:
		a.report(o, config.Info, CodeDeprecatedAnnotation, path, i.Name+" is out of use", "")
	case i.FeatureStatus == annotation.Alpha:
		a.report(o, config.Info, CodeAlphaAnnotation, path, i.Name+" is for experiments: Istio may change it with any version (Alpha)", "")
	}
}

// annotationForms are the forms of values; a check says what is wrong with one, "" for nothing.
var annotationForms = map[string]func(string) string{
	"istio.io/dry-run":                                      oneOf("true", "false"),
	"networking.istio.io/traffic-distribution":              oneOf("PreferClose", "PreferSameZone", "PreferSameNode", "PreferNode", "Any"),
	"prometheus.istio.io/merge-metrics":                     oneOf("true", "false"),
	"readiness.status.sidecar.istio.io/applicationPorts":    ports(""),
	"readiness.status.sidecar.istio.io/failureThreshold":    number(1<<31 - 1),
	"readiness.status.sidecar.istio.io/initialDelaySeconds": number(1<<31 - 1),
	"readiness.status.sidecar.istio.io/periodSeconds":       number(1<<31 - 1),
	"sidecar.istio.io/inject":                               oneOf("true", "false", "yes", "no", "y", "n", "on", "off"),
	"sidecar.istio.io/interceptionMode":                     oneOf("REDIRECT", "TPROXY", "NONE"),
	"sidecar.istio.io/nativeSidecar":                        oneOf("true", "false"),
	"sidecar.istio.io/logLevel":                             oneOf("trace", "debug", "info", "warning", "warn", "error", "critical", "off"),
	"sidecar.istio.io/proxyCPU":                             quantity,
	"sidecar.istio.io/proxyCPULimit":                        quantity,
	"sidecar.istio.io/proxyMemory":                          quantity,
	"sidecar.istio.io/proxyMemoryLimit":                     quantity,
	"sidecar.istio.io/rewriteAppHTTPProbers":                oneOf("true", "false"),
	"status.sidecar.istio.io/port":                          number(65535),
	"traffic.sidecar.istio.io/excludeInboundPorts":          ports(""),
	"traffic.sidecar.istio.io/excludeOutboundIPRanges":      prefixes(""),
	"traffic.sidecar.istio.io/excludeOutboundPorts":         ports(""),
	"traffic.sidecar.istio.io/includeInboundPorts":          ports("*"),
	"traffic.sidecar.istio.io/includeOutboundIPRanges":      prefixes("*"),
	"traffic.sidecar.istio.io/includeOutboundPorts":         ports(""),
}

func oneOf(words ...string) func(string) string {
	return func(v string) string {
		if slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, v) }) {
			return ""
		}
		return fmt.Sprintf("%q is none of %s", v, strings.Join(words, ", "))
	}
}

func number(most uint64) func(string) string {
	return func(v string) string {
		if n, err := strconv.ParseUint(v, 10, 64); err != nil || n > most {
			return fmt.Sprintf("%q is no number from 0 to %d", v, most)
		}
		return ""
	}
}

func quantity(v string) string {
	if _, err := resource.ParseQuantity(v); err != nil {
		return fmt.Sprintf("%q is no quantity, like 100m or 128Mi", v)
	}
	return ""
}

// ports checks a list of ports with commas between, or the one word for all of them.
func ports(all string) func(string) string { return listed(all, "port", number(65535)) }

func prefixes(all string) func(string) string {
	return listed(all, "IP range", func(v string) string {
		_, noPrefix := netip.ParsePrefix(v)
		_, noAddress := netip.ParseAddr(v)
		if noPrefix != nil && noAddress != nil {
			return fmt.Sprintf("%q is no IP range, like 10.0.0.0/8", v)
		}
		return ""
	})
}

func listed(all, what string, check func(string) string) func(string) string {
	return func(v string) string {
		if v == "" || v == all {
			return ""
		}
		for item := range strings.SplitSeq(v, ",") {
			if problem := check(cmp.Or(strings.TrimSpace(item), " ")); problem != "" {
				return "a list with commas of each a " + what + ": " + problem
			}
		}
		return ""
	}
}
