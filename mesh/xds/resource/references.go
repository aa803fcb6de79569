package resource

import (
	"bytes"
	"slices"
	"strings"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Reference names a resource that another one needs before it can work.
type Reference struct {
	Type Type
	Name string
}

// References returns what a cluster or listener wants from ADS: the endpoints of
// an EDS cluster, the routes of a connection manager with rds, the secrets of a
// transport socket. Secrets and routes from elsewhere (files, a local agent) are
// not in it. Sorted, without duplicates; other types refer to nothing.
// It is found once, and not to be changed.
func (r *Resource) References(t Type) ([]Reference, error) {
	if t != Cluster && t != Listener {
		return nil, nil
	}
	if found := r.references.Load(); found != nil {
		return *found, nil
	}
	var found []Reference
	if mayRefer(r.Body.GetValue()) {
		m, err := r.Unmarshal(t)
		if err != nil {
			return nil, err
		}
		collect(m.ProtoReflect(), &found)
	}
	slices.SortFunc(found, compareReferences)
	found = slices.Compact(found)
	r.references.Store(&found)
	return found, nil
}

// Learn takes over what was found of a resource of the same type, if it is the same.
func (r *Resource) Learn(of *Resource) {
	if of != nil && of.Version == r.Version {
		r.references.CompareAndSwap(nil, of.references.Load())
	}
}

func compareReferences(a, b Reference) int {
	if c := slices.Index(Types, a.Type) - slices.Index(Types, b.Type); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

func collect(m protoreflect.Message, refs *[]Reference) {
	switch v := m.Interface().(type) {
	case *anypb.Any:
		if !mayRefer(v.GetValue()) {
			return
		}
		// What is linked in is looked into; what is not cannot refer to anything that we know.
		if inner, err := v.UnmarshalNew(); err == nil {
			collect(inner.ProtoReflect(), refs)
		}
		return
	case *routepb.RouteConfiguration:
		return // routes name clusters, which are all asked for
	case *clusterpb.Cluster:
		if v.GetType() == clusterpb.Cluster_EDS && OverADS(v.GetEdsClusterConfig().GetEdsConfig()) {
			*refs = append(*refs, Reference{Endpoint, EndpointName(v)})
		}
		if socket := v.GetTransportSocket(); socket != nil {
			collect(socket.ProtoReflect(), refs)
		}
		for _, match := range v.GetTransportSocketMatches() {
			collect(match.ProtoReflect(), refs)
		}
		return
	case *hcmpb.Rds:
		if OverADS(v.GetConfigSource()) {
			*refs = append(*refs, Reference{Route, v.GetRouteConfigName()})
		}
		return
	case *tlspb.SdsSecretConfig:
		if OverADS(v.GetSdsConfig()) {
			*refs = append(*refs, Reference{Secret, v.GetName()})
		}
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		collectField(f, value, refs)
		return true
	})
}

// mayRefer tells whether there can be a reference in a message's bytes: a
// ConfigSource over ADS holds an empty message, in field 3 (ads) or 5 (self).
func mayRefer(raw []byte) bool {
	return bytes.Contains(raw, []byte{3<<3 | 2, 0}) || bytes.Contains(raw, []byte{5<<3 | 2, 0})
}

func collectField(f protoreflect.FieldDescriptor, value protoreflect.Value, refs *[]Reference) {
	switch {
	case f.IsMap():
		if f.MapValue().Message() != nil {
			value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				collect(v.Message(), refs)
				return true
			})
		}
	case f.Message() == nil:
	case f.IsList():
		for i := range value.List().Len() {
			collect(value.List().Get(i).Message(), refs)
		}
	default:
		collect(value.Message(), refs)
	}
}

// EndpointName is the name under which a cluster asks for its endpoints.
func EndpointName(c *clusterpb.Cluster) string {
	if name := c.GetEdsClusterConfig().GetServiceName(); name != "" {
		return name
	}
	return c.GetName()
}

// OverADS tells whether a configuration source is the aggregated stream itself.
func OverADS(s *corepb.ConfigSource) bool { return s.GetAds() != nil || s.GetSelf() != nil }
