// Package resource has what translate makes, serve sends and the client receives:
// xDS resources by type and name, with versions that are hashes of their content.
package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Type is a type URL.
type Type = string

// The types, in the order in which a change has to be sent (make before break):
// what is referred to comes before what refers to it.
const (
	Cluster  Type = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	Endpoint Type = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	Listener Type = "type.googleapis.com/envoy.config.listener.v3.Listener"
	Route    Type = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	Secret   Type = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	// NameTable is Istio's: what a proxy answers its application's DNS queries with. A
	// proxy has one without a name, or none.
	NameTable Type = "type.googleapis.com/istio.networking.nds.v1.NameTable"
)

// Types lists them in that order.
var Types = []Type{Cluster, Endpoint, Listener, Route, Secret, NameTable}

// Resource is one marshalled resource. It is immutable and may be shared by many proxies.
type Resource struct {
	Name    string
	Version string // hex of the content's hash
	Body    *anypb.Any

	references atomic.Pointer[[]Reference] // found once
}

// New marshals a message deterministically.
func New(name string, m proto.Message) (*Resource, error) {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(value)
	return &Resource{
		Name:    name,
		Version: hex.EncodeToString(sum[:8]),
		Body:    &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value},
	}, nil
}

// Set has all resources of one proxy, by type and name. It does not change once it is shared.
type Set map[Type]map[string]*Resource

// Put adds a resource to a set under construction.
func (s Set) Put(t Type, r *Resource) {
	if s[t] == nil {
		s[t] = make(map[string]*Resource)
	}
	s[t][r.Name] = r
}

// Names returns the names of a type's resources, sorted.
func (s Set) Names(t Type) []string { return slices.Sorted(maps.Keys(s[t])) }

// Version is the hash of a type's names and versions: equal content, equal version.
func (s Set) Version(t Type) string {
	h := sha256.New()
	for _, name := range s.Names(t) {
		h.Write([]byte(name + "\x00" + s[t][name].Version + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
