package bootstrap

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	bootstrappb "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// runtime accepts the layers that change nothing: flags of Envoy's own code, limits of
// its regex engine, and limits of connections that are none.
func (p *parser) runtime() {
	for i, l := range p.m.GetLayeredRuntime().GetLayers() {
		path := fmt.Sprintf("layeredRuntime.layers[%d]", i)
		switch l.GetLayerSpecifier().(type) {
		case nil, *bootstrappb.RuntimeLayer_AdminLayer_:
		case *bootstrappb.RuntimeLayer_StaticLayer:
			values := map[string]value{}
			flatten("", path+".staticLayer", l.GetStaticLayer(), values)
			for _, key := range slices.Sorted(maps.Keys(values)) {
				if v := values[key]; !p.withoutEffect(key, v.Value) {
					p.problem(v.path, "%s: not supported", key)
				}
			}
		default:
			p.problem(path, "only staticLayer and adminLayer are supported")
		}
	}
}

// value is a value of a layer and where it stands.
type value struct {
	*structpb.Value
	path string
}

// flatten gives the values of a layer the keys that Envoy knows them by: keys may be
// nested or joined by dots.
func flatten(prefix, path string, layer *structpb.Struct, values map[string]value) {
	for name, v := range layer.GetFields() {
		key, at := prefix+name, join(path, name)
		if inner := v.GetStructValue(); inner != nil {
			flatten(key+".", at, inner, values)
			continue
		}
		values[key] = value{v, at}
	}
}

// withoutEffect tells whether a runtime value changes nothing here.
func (p *parser) withoutEffect(key string, v *structpb.Value) bool {
	for _, prefix := range []string{"envoy.deprecated_features", "envoy.reloadable_features", "envoy.restart_features", "re2."} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	const noLimit = 1<<31 - 1
	unlimited := v.GetNumberValue() >= noLimit || v.GetStringValue() == strconv.Itoa(noLimit)
	if key == "overload.global_downstream_max_connections" {
		return unlimited
	}
	name, of := strings.CutPrefix(key, "envoy.resource_limits.listener.")
	name, limit := strings.CutSuffix(name, ".connection_limit")
	return of && limit && (unlimited || !p.listens(name))
}

// listens tells whether there is a listener of a name, or may be.
func (p *parser) listens(name string) bool {
	return p.m.GetDynamicResources() != nil || slices.ContainsFunc(p.m.GetStaticResources().GetListeners(),
		func(l *listenerpb.Listener) bool { return l.GetName() == name })
}
