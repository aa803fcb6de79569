package config

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// goField is a field of a Go struct under its JSON name.
type goField struct {
	name string
	t    reflect.Type
}

// fields lists what encoding/json reads into a struct, embedded structs included.
func (s *schemas) fields(t reflect.Type) []goField {
	if known, ok := s.structs[t]; ok {
		return known
	}
	var list []goField
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "":
			list = append(list, s.fields(dereferenced(f.Type))...)
		case f.IsExported():
			if name == "" {
				name = f.Name
			}
			list = append(list, goField{name, f.Type})
		}
	}
	s.structs[t] = list
	return list
}

func dereferenced(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()

	gatewayDuration = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)
)

// enums are the words of string types of the Kubernetes and Gateway APIs whose set is
// closed. Open sets (Gateway API's ProtocolType, pod phases …) are not here.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[corev1.Protocol]():                     {"TCP", "UDP", "SCTP"},
	reflect.TypeFor[corev1.ServiceType]():                  {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"},
	reflect.TypeFor[corev1.ServiceAffinity]():              {"ClientIP", "None"},
	reflect.TypeFor[corev1.ServiceExternalTrafficPolicy](): {"Cluster", "Local"},
	reflect.TypeFor[corev1.ServiceInternalTrafficPolicy](): {"Cluster", "Local"},
	reflect.TypeFor[corev1.IPFamily]():                     {"IPv4", "IPv6"},
	reflect.TypeFor[corev1.IPFamilyPolicy]():               {"SingleStack", "PreferDualStack", "RequireDualStack"},
	reflect.TypeFor[corev1.PullPolicy]():                   {"Always", "IfNotPresent", "Never"},
	reflect.TypeFor[corev1.RestartPolicy]():                {"Always", "OnFailure", "Never"},
	reflect.TypeFor[corev1.ContainerRestartPolicy]():       {"Always", "OnFailure", "Never"},
	reflect.TypeFor[corev1.DNSPolicy]():                    {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"},
	reflect.TypeFor[corev1.URIScheme]():                    {"HTTP", "HTTPS"},
	reflect.TypeFor[corev1.TerminationMessagePolicy]():     {"File", "FallbackToLogsOnError"},
	reflect.TypeFor[corev1.PodPhase]():                     {"Pending", "Running", "Succeeded", "Failed", "Unknown"},
	reflect.TypeFor[discoveryv1.AddressType]():             {"IPv4", "IPv6", "FQDN"},
	reflect.TypeFor[metav1.LabelSelectorOperator]():        {"In", "NotIn", "Exists", "DoesNotExist"},
	reflect.TypeFor[gatewayv1.PathMatchType]():             {"Exact", "PathPrefix", "RegularExpression"},
	reflect.TypeFor[gatewayv1.HeaderMatchType]():           {"Exact", "RegularExpression"},
	reflect.TypeFor[gatewayv1.QueryParamMatchType]():       {"Exact", "RegularExpression"},
	reflect.TypeFor[gatewayv1.GRPCMethodMatchType]():       {"Exact", "RegularExpression"},
	reflect.TypeFor[gatewayv1.GRPCHeaderMatchType]():       {"Exact", "RegularExpression"},
	reflect.TypeFor[gatewayv1.HTTPMethod]():                {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"},
	reflect.TypeFor[gatewayv1.HTTPRouteFilterType]():       {"RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "RequestRedirect", "URLRewrite", "ExtensionRef", "CORS", "ExternalAuth"},
	reflect.TypeFor[gatewayv1.GRPCRouteFilterType]():       {"RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef"},
	reflect.TypeFor[gatewayv1.HTTPPathModifierType]():      {"ReplaceFullPath", "ReplacePrefixMatch"},
	reflect.TypeFor[gatewayv1.FromNamespaces]():            {"All", "Selector", "Same", "None"},
	reflect.TypeFor[gatewayv1.TLSModeType]():               {"Terminate", "Passthrough"},
	reflect.TypeFor[gatewayv1.SessionPersistenceType]():    {"Cookie", "Header"},
	reflect.TypeFor[gatewayv1.CookieLifetimeType]():        {"Permanent", "Session"},
}

// goValue checks a value against a Go type and returns it as JSON has it. The second
// result is false where there is nothing to set: the value is null or wrong.
func (d *document) goValue(n *yaml.Node, t reflect.Type, path string) (any, bool) {
	n = d.enter(n, path)
	if n == nil {
		return nil, false
	}
	defer d.leave()
	if isNull(n) {
		return nil, false
	}
	t = dereferenced(t)
	if v, ok, special := d.special(n, t, path); special {
		return v, ok
	}
	switch t.Kind() {
	case reflect.Struct:
		return d.goStruct(n, t, path)
	case reflect.Map:
		return d.goMap(n, t, path)
	case reflect.Slice:
		return d.goSlice(n, t, path)
	case reflect.String:
		if allowed, ok := enums[t]; ok {
			return d.enum(n, path, allowed)
		}
		return d.text(n, path)
	case reflect.Bool:
		return d.boolean(n, path)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return d.integer(n, path, t.Bits(), true)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return d.integer(n, path, t.Bits(), false)
	case reflect.Float32, reflect.Float64:
		return d.number(n, path)
	}
	return d.anything(n, path)
}

// special reads the types that have a JSON form of their own.
func (d *document) special(n *yaml.Node, t reflect.Type, path string) (value any, ok, special bool) {
	if m, isProto := reflect.Zero(reflect.PointerTo(t)).Interface().(proto.Message); isProto {
		value, ok = d.message(n, m.ProtoReflect().Descriptor(), path)
		return value, ok, true
	}
	switch t {
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]():
		value, ok = d.time(n, path)
	case reflect.TypeFor[resource.Quantity]():
		value, ok = d.quantity(n, path)
	case reflect.TypeFor[intstr.IntOrString]():
		if n.Kind == yaml.ScalarNode && tagOf(n) == "!!str" {
			return n.Value, true, true
		}
		if n.Kind == yaml.ScalarNode && tagOf(n) == "!!int" {
			value, ok = d.integer(n, path, 32, true)
		} else {
			value, ok = d.wrong(n, path, "a number or a name", "")
		}
	case reflect.TypeFor[metav1.Duration]():
		var v time.Duration
		v, ok = d.duration(n, path)
		value = v.String()
	case reflect.TypeFor[gatewayv1.Duration]():
		value, ok = d.text(n, path)
		if ok && !gatewayDuration.MatchString(n.Value) {
			d.errorf(CodeFormat, n, "units are h, m, s and ms", "%s: expected a duration such as \"10s\", got %s", shown(path), describe(n))
			ok = false
		}
	case reflect.TypeFor[runtime.RawExtension](), reflect.TypeFor[metav1.FieldsV1]():
		value, ok = d.anything(n, path)
	default:
		if !reflect.PointerTo(t).Implements(unmarshaler) {
			return nil, false, false
		}
		value, ok = d.selfReading(n, t, path)
	}
	return value, ok, true
}

// selfReading reads a type that we know nothing of but that it reads JSON itself.
func (d *document) selfReading(n *yaml.Node, t reflect.Type, path string) (any, bool) {
	value, ok := d.anything(n, path)
	if !ok {
		return nil, false
	}
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, reflect.New(t).Interface())
	}
	if err != nil {
		d.errorf(CodeFormat, n, "", "%s: %v", shown(path), err)
		return nil, false
	}
	return value, true
}

func (d *document) time(n *yaml.Node, path string) (any, bool) {
	s, ok := d.text(n, path)
	if !ok {
		return nil, false
	}
	if _, err := time.Parse(time.RFC3339Nano, s); err != nil {
		d.errorf(CodeFormat, n, "", "%s: expected a time such as \"2006-01-02T15:04:05Z\", got %s", shown(path), describe(n))
		return nil, false
	}
	return s, true
}

func (d *document) quantity(n *yaml.Node, path string) (any, bool) {
	if n.Kind != yaml.ScalarNode || tagOf(n) == "!!bool" {
		return d.wrong(n, path, `a quantity such as "500m" or "1Gi"`, "")
	}
	if _, err := resource.ParseQuantity(n.Value); err != nil {
		d.errorf(CodeFormat, n, "suffixes are n, u, m, k, M, G, T, P, E and Ki, Mi, Gi, Ti, Pi, Ei",
			"%s: expected a quantity such as \"500m\" or \"1Gi\", got %s", shown(path), describe(n))
		return nil, false
	}
	return n.Value, true
}

func (d *document) goStruct(n *yaml.Node, t reflect.Type, path string) (any, bool) {
	if n.Kind != yaml.MappingNode {
		return d.wrong(n, path, "a mapping", "")
	}
	fields := d.fields(t)
	m := make(map[string]any, len(n.Content)/2)
	for _, p := range d.pairs(n, path) {
		i := slices.IndexFunc(fields, func(f goField) bool { return f.name == p.name })
		if i < 0 {
			names := make([]string, len(fields))
			for i, f := range fields {
				names[i] = f.name
			}
			d.unknown(p, path, t.Name(), names)
			continue
		}
		at := join(path, p.name)
		d.mark(at, p.key, p.value)
		if v, ok := d.goValue(p.value, fields[i].t, at); ok {
			m[p.name] = v
		}
	}
	return m, true
}

func (d *document) unknown(p pair, path, typeName string, names []string) {
	d.errorf(CodeUnknownField, p.key, didYouMean(p.name, names), "unknown field %q in %s (%s)", clip(p.name), shown(path), typeName)
}

func (d *document) goMap(n *yaml.Node, t reflect.Type, path string) (any, bool) {
	if n.Kind != yaml.MappingNode {
		return d.wrong(n, path, "a mapping", "")
	}
	m := make(map[string]any, len(n.Content)/2)
	for _, p := range d.pairs(n, path) {
		at := join(path, p.name)
		d.mark(at, p.key, p.value)
		if v, ok := d.goValue(p.value, t.Elem(), at); ok {
			m[p.name] = v
		}
	}
	return m, true
}

func (d *document) goSlice(n *yaml.Node, t reflect.Type, path string) (any, bool) {
	if t.Elem().Kind() == reflect.Uint8 {
		return d.base64(n, path)
	}
	return d.list(n, path, func(item *yaml.Node, at string) (any, bool) { return d.goValue(item, t.Elem(), at) })
}

// list reads a list whose items are read by a function; an empty item is an error.
func (d *document) list(n *yaml.Node, path string, read func(item *yaml.Node, at string) (any, bool)) (any, bool) {
	if n.Kind != yaml.SequenceNode {
		hint := ""
		if n.Kind != yaml.AliasNode {
			hint = `write it as an item: "- …"`
		}
		return d.wrong(n, path, "a list", hint)
	}
	list := make([]any, 0, len(n.Content))
	for i, item := range n.Content {
		at := index(path, i)
		d.mark(at, nil, item)
		if isNull(item) {
			d.errorf(CodeType, item, "", "%s: the item is empty", at)
			continue
		}
		if v, ok := read(item, at); ok {
			list = append(list, v)
		}
	}
	return list, true
}
