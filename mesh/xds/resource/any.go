package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Wrap makes a resource of a body that came over the wire. Its version is the
// hash of the bytes, as New's is.
func Wrap(name string, body *anypb.Any) *Resource {
	sum := sha256.Sum256(body.GetValue())
	return &Resource{Name: name, Version: hex.EncodeToString(sum[:8]), Body: body}
}

// NewMessage returns an empty message of a type, or nil for a type that is not in Types.
func NewMessage(t Type) proto.Message {
	switch t {
	case Cluster:
		return new(clusterpb.Cluster)
	case Endpoint:
		return new(endpointpb.ClusterLoadAssignment)
	case Listener:
		return new(listenerpb.Listener)
	case Route:
		return new(routepb.RouteConfiguration)
	case Secret:
		return new(tlspb.Secret)
	default:
		return nil
	}
}

// NameOf is the name that a message of one of the Types carries in itself.
func NameOf(m proto.Message) string {
	switch m := m.(type) {
	case *clusterpb.Cluster:
		return m.GetName()
	case *endpointpb.ClusterLoadAssignment:
		return m.GetClusterName()
	case *listenerpb.Listener:
		return m.GetName()
	case *routepb.RouteConfiguration:
		return m.GetName()
	case *tlspb.Secret:
		return m.GetName()
	default:
		return ""
	}
}

// Unmarshal returns the message of a resource of type t.
func (r *Resource) Unmarshal(t Type) (proto.Message, error) {
	m := NewMessage(t)
	if m == nil {
		return nil, fmt.Errorf("resource type %q is not supported", t)
	}
	if r.Body.GetTypeUrl() != t {
		return nil, fmt.Errorf("resource %q has the type %q, expected %q", r.Name, r.Body.GetTypeUrl(), t)
	}
	if err := proto.Unmarshal(r.Body.GetValue(), m); err != nil {
		return nil, fmt.Errorf("resource %q: %w", r.Name, err)
	}
	return m, nil
}
