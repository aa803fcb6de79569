// Package patch changes xDS resources as EnvoyFilters say.
//
// In: a model's EnvoyFilters and the resources that were made of the rest of the mesh.
// Out: the resources with the patches, or what is wrong with the filters. The rules are
// those of Istio's EnvoyFilter reference. It knows the model and Envoy's protos; it
// must not import translate, which uses it.
package patch

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// Problem is one thing that is wrong with an EnvoyFilter.
type Problem struct {
	Path string // of the field, as people write it: "spec.configPatches[0].patch.value.name"
	Text string
}

// patch is a patch whose value is read.
type patch struct {
	*model.EnvoyPatch
	version *regexp.Regexp // nil: any
	value   proto.Message  // nil for REMOVE
}

// targets makes the message that a patch of a target has for a value.
var targets = map[string]func() proto.Message{
	"CLUSTER":             func() proto.Message { return new(clusterpb.Cluster) },
	"LISTENER":            func() proto.Message { return new(listenerpb.Listener) },
	"LISTENER_FILTER":     func() proto.Message { return new(listenerpb.ListenerFilter) },
	"FILTER_CHAIN":        func() proto.Message { return new(listenerpb.FilterChain) },
	"NETWORK_FILTER":      func() proto.Message { return new(listenerpb.Filter) },
	"HTTP_FILTER":         func() proto.Message { return new(hcmpb.HttpFilter) },
	"ROUTE_CONFIGURATION": func() proto.Message { return new(routepb.RouteConfiguration) },
	"VIRTUAL_HOST":        func() proto.Message { return new(routepb.VirtualHost) },
	"HTTP_ROUTE":          func() proto.Message { return new(routepb.Route) },
}

// Check returns what is wrong with the values of a filter's patches.
func Check(f *model.EnvoyFilter) []Problem {
	var problems []Problem
	for _, p := range f.Patches {
		_, found := read(p)
		problems = append(problems, found...)
	}
	return problems
}

// read reads the value of a patch. What is to stand by itself has to be complete; what
// is merged need not be.
func read(p *model.EnvoyPatch) (*patch, []Problem) {
	out := &patch{EnvoyPatch: p}
	if p.Version != "" {
		version, err := regexp.Compile(p.Version)
		if err != nil {
			return nil, []Problem{{p.Path + ".match.proxy.proxyVersion", err.Error()}}
		}
		out.version = version
	}
	if p.Operation == "REMOVE" {
		return out, nil
	}
	at := p.Path + ".patch.value"
	make := targets[p.Target]
	if make == nil {
		return nil, []Problem{{p.Path + ".applyTo", p.Target + " is not supported"}}
	}
	out.value = make()
	if problems := unknown(p.Value, at, out.value.ProtoReflect().Descriptor()); len(problems) > 0 {
		return nil, problems
	}
	if err := protojson.Unmarshal(p.Value, out.value); err != nil {
		return nil, []Problem{{at, plain(err)}}
	}
	if v, ok := out.value.(interface{ ValidateAll() error }); ok && p.Operation != "MERGE" {
		if err := v.ValidateAll(); err != nil {
			return nil, []Problem{{at, err.Error()}}
		}
	}
	return out, nil
}

// plain is protojson's error without its own position, which is one in the JSON.
func plain(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ") // protobuf varies the blank
	text = strings.TrimPrefix(text, "proto: ")
	if strings.HasPrefix(text, "(line ") {
		if _, rest, ok := strings.Cut(text, "): "); ok {
			return rest
		}
	}
	return text
}

// unknown finds the fields that a message does not have, and types that nobody knows.
func unknown(text []byte, at string, md protoreflect.MessageDescriptor) []Problem {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return []Problem{{at, err.Error()}}
	}
	w := &walker{}
	w.message(value, at, md)
	return w.problems
}

type walker struct{ problems []Problem }

func (w *walker) errorf(at, format string, args ...any) {
	w.problems = append(w.problems, Problem{at, fmt.Sprintf(format, args...)})
}

func (w *walker) message(value any, at string, md protoreflect.MessageDescriptor) {
	object, ok := value.(map[string]any)
	if !ok {
		return // protojson tells, or it is a value such as a duration
	}
	switch {
	case md.FullName() == "google.protobuf.Any":
		w.any(object, at)
		return
	case strings.HasPrefix(string(md.FullName()), "google.protobuf."):
		return
	case md.FullName() == "udpa.type.v1.TypedStruct" || md.FullName() == "xds.type.v3.TypedStruct":
		w.typedStruct(object, at)
	}
	for _, name := range sortedKeys(object) {
		fd := md.Fields().ByJSONName(name)
		if fd == nil {
			fd = md.Fields().ByName(protoreflect.Name(name))
		}
		here := at + "." + name
		switch {
		case fd == nil && name == "@type":
		case fd == nil:
			w.errorf(here, "%s has no field %q", md.FullName(), name)
		default:
			w.field(object[name], here, fd)
		}
	}
}

func (w *walker) field(value any, at string, fd protoreflect.FieldDescriptor) {
	switch {
	case fd.IsMap():
		if entries, ok := value.(map[string]any); ok && fd.MapValue().Message() != nil {
			for _, k := range sortedKeys(entries) {
				w.message(entries[k], at+"."+k, fd.MapValue().Message())
			}
		}
	case fd.Message() == nil:
	case fd.IsList():
		items, _ := value.([]any)
		for i, item := range items {
			w.message(item, fmt.Sprintf("%s[%d]", at, i), fd.Message())
		}
	default:
		w.message(value, at, fd.Message())
	}
}

func (w *walker) any(object map[string]any, at string) {
	url, _ := object["@type"].(string)
	if url == "" {
		w.errorf(at, "has no @type")
		return
	}
	t, err := protoregistry.GlobalTypes.FindMessageByURL(url)
	if err != nil {
		w.errorf(at+".@type", "the type %q is not supported", url)
		return
	}
	w.message(object, at, t.Descriptor())
}

// typedStruct looks into a value whose type is known; others only the proxy can judge.
func (w *walker) typedStruct(object map[string]any, at string) {
	for _, name := range []string{"type_url", "typeUrl"} {
		url, _ := object[name].(string)
		if t, err := protoregistry.GlobalTypes.FindMessageByURL(url); err == nil && url != "" {
			w.message(object["value"], at+".value", t.Descriptor())
		}
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
