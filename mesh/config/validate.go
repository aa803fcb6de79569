package config

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// checker collects what is wrong with one object.
type checker struct {
	o     *Object
	diags []Diagnostic
}

func (c *checker) errorf(code, path, hint, format string, args ...any) {
	c.diags = append(c.diags, c.o.Diagnose(Error, code, path, path+": "+fmt.Sprintf(format, args...), hint))
}

func (c *checker) warnf(code, path, hint, format string, args ...any) {
	c.diags = append(c.diags, c.o.Diagnose(Warning, code, path, path+": "+fmt.Sprintf(format, args...), hint))
}

// validateMeta checks what all objects have: name, namespace, labels.
func validateMeta(c *checker, k *kind) {
	meta, ok := c.o.Value.(metav1.Object)
	if !ok {
		return
	}
	rule := validation.IsDNS1123Subdomain
	switch {
	case k.group == "" && k.name == "Namespace":
		rule = validation.IsDNS1123Label
	case k.group == "" && k.name == "Service":
		rule = validation.IsDNS1035Label
	}
	if c.o.Name == "" {
		c.errorf(CodeRequired, "metadata.name", "", "a name is required")
	} else {
		c.named("metadata.name", c.o.Name, rule)
	}
	if c.o.Namespace != "" {
		c.named("metadata.namespace", c.o.Namespace, validation.IsDNS1123Label)
	}
	c.labels("metadata.labels", meta.GetLabels())
	for _, key := range slices.Sorted(maps.Keys(meta.GetAnnotations())) {
		c.named(join("metadata.annotations", key), strings.ToLower(key), validation.IsQualifiedName)
	}
}

// named checks a string by one of Kubernetes' rules for names.
func (c *checker) named(path, value string, rule func(string) []string) bool {
	problems := rule(value)
	if value == "" {
		problems = []string{"expected a name, and it is empty"}
	}
	if len(problems) > 0 {
		c.errorf(CodeName, path, "", "%q: %s", clip(value), problems[0])
	}
	return len(problems) == 0
}

func (c *checker) labels(path string, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		c.named(join(path, key), key, validation.IsQualifiedName)
		c.named(join(path, key), labels[key], validation.IsValidLabelValue)
	}
}

func (c *checker) port(path string, number uint32) {
	if number == 0 || number > 65535 {
		c.errorf(CodePort, path, "", "%d is not a port; expected 1 to 65535", number)
	}
}

// atLeastMillisecond checks a duration that must be 1 ms or more where it is written.
func (c *checker) atLeastMillisecond(path, hint string, d *durationpb.Duration) {
	if d != nil && d.AsDuration() < time.Millisecond {
		c.errorf(CodeValue, path, hint, "%s is too short; expected 1ms or more", d.AsDuration())
	}
}

func (c *checker) notNegative(path string, n int32) {
	if n < 0 {
		c.errorf(CodeValue, path, "", "%d is negative", n)
	}
}

func (c *checker) between(path string, n, low, high float64) {
	if n < low || n > high {
		c.errorf(CodeValue, path, "", "%v is out of range; expected %v to %v", n, low, high)
	}
}

// percentage checks Istio's rule: 0, or between what Envoy can express (a ten-thousandth
// of a per cent) and 100.
func (c *checker) percentage(path string, v float64) {
	if v != 0 && (v < 0.0001 || v > 100) {
		c.errorf(CodePercentage, join(path, "value"), "", "%v is not a percentage; expected 0, or 0.0001 to 100", v)
	}
}

var (
	hostLabel  = regexp.MustCompile(`^[a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?$`)
	headerName = regexp.MustCompile("^:?[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
)

// fqdn reports whether a string is a DNS name of one or more labels.
func fqdn(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > 255 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if len(label) > 63 || !hostLabel.MatchString(label) {
			return false
		}
	}
	return true
}

// host checks a DNS name, which may be "*" or begin with "*." where wildcards may be.
func (c *checker) host(path, host string, wildcard bool) bool {
	bare := host
	if wildcard {
		if host == "*" {
			return true
		}
		bare = strings.TrimPrefix(host, "*.")
	}
	if fqdn(bare) {
		return true
	}
	hint := ""
	switch {
	case strings.Contains(host, "://"):
		hint = "write the host only, without a scheme"
	case strings.Contains(bare, "*"):
		hint = `a wildcard is "*" or stands alone at the beginning, as in "*.example.com"`
	case strings.Contains(host, ":"):
		hint = "write the host only; the port is a field of its own"
	}
	c.errorf(CodeHost, path, hint, "%q is not a host name", clip(host))
	return false
}

// prefix checks an address or a CIDR prefix.
func (c *checker) prefix(path, value string) {
	if _, err := netip.ParsePrefix(value); err == nil {
		return
	}
	if _, err := netip.ParseAddr(value); err == nil {
		return
	}
	c.errorf(CodeAddress, path, "", "%q is neither an IP address nor a prefix such as 10.0.0.0/8", clip(value))
}

func (c *checker) header(path, name string) {
	if name == "" || !headerName.MatchString(name) {
		c.errorf(CodeHeader, path, "", "%q is not a header name", clip(name))
	}
}

func (c *checker) regex(path, expression string) {
	if _, err := regexp.Compile(expression); err != nil {
		c.errorf(CodeRegex, path, "expressions are RE2: no look-around, no back-references", "%q is not a regular expression: %v", clip(expression), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
}

// exportTo checks to whom an object is shown: ".", "*", "~" (nobody) or namespaces.
func (c *checker) exportTo(list []string) {
	seen := make(map[string]bool)
	for i, to := range list {
		at := index("spec.exportTo", i)
		if to != "." && to != "*" && to != "~" {
			c.named(at, to, validation.IsDNS1123Label)
		}
		if seen[to] {
			c.errorf(CodeRepeated, at, "", "%q stands twice", to)
		}
		seen[to] = true
	}
	if (seen["*"] || seen["~"]) && len(list) > 1 {
		c.errorf(CodeExclusive, "spec.exportTo", "", `"*" and "~" stand alone`)
	}
}

// selector checks labels that select workloads, where Istio knows no wildcards.
func (c *checker) selector(path string, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		at := join(path, key)
		if strings.Contains(key, "*") || strings.Contains(labels[key], "*") {
			c.errorf(CodeSelector, at, "", "wildcards do not work in selectors")
			continue
		}
		c.named(at, key, validation.IsQualifiedName)
		c.named(at, labels[key], validation.IsValidLabelValue)
	}
}

// repeated reports values that stand twice in a list, at their second place.
func (c *checker) repeated(path string, list []string, what string) {
	for i, v := range list {
		if slices.Contains(list[:i], v) {
			c.errorf(CodeRepeated, index(path, i), "", "%s %q stands twice", what, clip(v))
		}
	}
}
