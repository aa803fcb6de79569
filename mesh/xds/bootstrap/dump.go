package bootstrap

import (
	"bytes"
	"encoding/json"
	"fmt"

	adminpb "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	bootstrappb "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Dump writes what is in force as Envoy's config_dump does, endpoints included. b
// may be nil; resources of its Static are static, all others of the set dynamic.
// Private keys are left out.
func Dump(set resource.Set, b *Bootstrap) ([]byte, error) {
	if b == nil {
		b = &Bootstrap{}
	}
	d := &dumper{set: set, static: b.Static}
	out := new(adminpb.ConfigDump)
	boot := b.Proto
	if boot == nil {
		boot = new(bootstrappb.Bootstrap)
	}
	for _, m := range []proto.Message{
		&adminpb.BootstrapConfigDump{Bootstrap: boot}, d.clusters(), d.endpoints(), d.listeners(), d.routes(), d.secrets(),
	} {
		m = proto.Clone(m) // what is in force stays as it is
		redact(m.ProtoReflect())
		body, err := anypb.New(m)
		if err != nil {
			return nil, err
		}
		out.Configs = append(out.Configs, body)
	}
	text, err := protojson.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("config_dump: %w", err)
	}
	// protojson varies its white space from build to build, on purpose.
	var stable bytes.Buffer
	if err := json.Indent(&stable, text, "", " "); err != nil {
		return nil, err
	}
	return stable.Bytes(), nil
}

type dumper struct{ set, static resource.Set }

// each calls f for the resources of a type, sorted by name, static ones first.
func (d *dumper) each(t resource.Type, f func(r *resource.Resource, static bool)) {
	for _, name := range d.static.Names(t) {
		f(d.static[t][name], true)
	}
	for _, name := range d.set.Names(t) {
		if d.static[t][name] == nil {
			f(d.set[t][name], false)
		}
	}
}

func (d *dumper) clusters() proto.Message {
	out := &adminpb.ClustersConfigDump{VersionInfo: d.set.Version(resource.Cluster)}
	d.each(resource.Cluster, func(r *resource.Resource, static bool) {
		if static {
			out.StaticClusters = append(out.StaticClusters, &adminpb.ClustersConfigDump_StaticCluster{Cluster: r.Body})
			return
		}
		out.DynamicActiveClusters = append(out.DynamicActiveClusters, &adminpb.ClustersConfigDump_DynamicCluster{VersionInfo: r.Version, Cluster: r.Body})
	})
	return out
}

func (d *dumper) endpoints() proto.Message {
	out := &adminpb.EndpointsConfigDump{}
	d.each(resource.Endpoint, func(r *resource.Resource, _ bool) {
		out.DynamicEndpointConfigs = append(out.DynamicEndpointConfigs, &adminpb.EndpointsConfigDump_DynamicEndpointConfig{VersionInfo: r.Version, EndpointConfig: r.Body})
	})
	return out
}

func (d *dumper) listeners() proto.Message {
	out := &adminpb.ListenersConfigDump{VersionInfo: d.set.Version(resource.Listener)}
	d.each(resource.Listener, func(r *resource.Resource, static bool) {
		if static {
			out.StaticListeners = append(out.StaticListeners, &adminpb.ListenersConfigDump_StaticListener{Listener: r.Body})
			return
		}
		out.DynamicListeners = append(out.DynamicListeners, &adminpb.ListenersConfigDump_DynamicListener{Name: r.Name,
			ActiveState: &adminpb.ListenersConfigDump_DynamicListenerState{VersionInfo: r.Version, Listener: r.Body}})
	})
	return out
}

func (d *dumper) routes() proto.Message {
	out := &adminpb.RoutesConfigDump{}
	d.each(resource.Route, func(r *resource.Resource, _ bool) {
		out.DynamicRouteConfigs = append(out.DynamicRouteConfigs, &adminpb.RoutesConfigDump_DynamicRouteConfig{VersionInfo: r.Version, RouteConfig: r.Body})
	})
	return out
}

func (d *dumper) secrets() proto.Message {
	out := &adminpb.SecretsConfigDump{}
	d.each(resource.Secret, func(r *resource.Resource, static bool) {
		if static {
			out.StaticSecrets = append(out.StaticSecrets, &adminpb.SecretsConfigDump_StaticSecret{Name: r.Name, Secret: r.Body})
			return
		}
		out.DynamicActiveSecrets = append(out.DynamicActiveSecrets, &adminpb.SecretsConfigDump_DynamicSecret{Name: r.Name, VersionInfo: r.Version, Secret: r.Body})
	})
	return out
}

// redact hides the private keys in a message and in all extensions in it. The
// message is changed; the bodies of Anys are replaced, so that resources that
// share them keep theirs.
func redact(m protoreflect.Message) {
	switch v := m.Interface().(type) {
	case *anypb.Any:
		inner, err := v.UnmarshalNew()
		if err != nil {
			return // protojson is going to refuse it
		}
		redact(inner.ProtoReflect())
		if value, err := proto.Marshal(inner); err == nil {
			v.Value = value
		}
		return
	case *tlspb.TlsCertificate:
		v.PrivateKey, v.Password, v.Pkcs12 = hide(v.PrivateKey), hide(v.Password), hide(v.Pkcs12)
		return
	case *tlspb.GenericSecret:
		v.Secret = hide(v.Secret)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case f.IsMap():
			if f.MapValue().Message() != nil {
				value.Map().Range(func(_ protoreflect.MapKey, e protoreflect.Value) bool {
					redact(e.Message())
					return true
				})
			}
		case f.Message() == nil:
		case f.IsList():
			for i := range value.List().Len() {
				redact(value.List().Get(i).Message())
			}
		default:
			redact(value.Message())
		}
		return true
	})
}

func hide(d *corepb.DataSource) *corepb.DataSource {
	if d == nil || d.GetFilename() != "" {
		return d
	}
	return &corepb.DataSource{Specifier: &corepb.DataSource_InlineString{InlineString: "[redacted]"}}
}
