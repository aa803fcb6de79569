// Package compile turns xDS resources into a snapshot.Proxy.
//
// In: a resource.Set. Out: plain data, validated, with Envoy's documented defaults
// filled in, or every problem at once. It must not import what makes resources.
//
// Nothing is ignored that would change behaviour: tables list the fields that are
// understood, message by message, and whatever else is set is refused by name
// (strict). What remains is converted by one function per message.
package compile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Compile makes a snapshot of a set. All problems (each a *Problem) are joined into
// the error, one line each: `cluster "reviews": outlierDetection.monitors: not supported`.
func Compile(set resource.Set) (*snapshot.Proxy, error) { return NewCompiler().Compile(set) }

// Compiler compiles one set after the other. What did not change keeps its
// identity: an equal cluster, listener or route configuration is the same pointer
// in the next snapshot. It is for one goroutine.
type Compiler struct {
	// ReadFile reads the files that resources name (certificates). Where it is nil
	// they are refused; who only wants to see the other problems returns no bytes.
	ReadFile func(name string) ([]byte, error)
	// Shared, where it is set, has what other compilers made of the same resources; its
	// Resource has made one of equal ones.
	Shared *Shared

	readFiles bool // since the resource at hand was begun
	last      map[resource.Type]map[string]compiled
	cleaner   cleaner
}

// compiled is one result and what it was made of.
type compiled struct {
	inputs   []*resource.Resource
	value    any
	clusters []string // that have to exist
}

// NewCompiler returns a compiler that has seen nothing.
func NewCompiler() *Compiler {
	return &Compiler{last: map[resource.Type]map[string]compiled{}, cleaner: cleaner{map[protoreflect.FullName]accepted{}}}
}

// build is one run of a compiler.
type build struct {
	*Compiler
	set  resource.Set
	next map[resource.Type]map[string]compiled
	errs []error
}

// Compile makes a snapshot of a set, see the function. After an error the compiler
// remembers the set before: the one that is still in force.
func (c *Compiler) Compile(set resource.Set) (*snapshot.Proxy, error) {
	b := &build{Compiler: c, set: set, next: map[resource.Type]map[string]compiled{}}
	p := &snapshot.Proxy{Clusters: map[string]*snapshot.Cluster{}, Routes: map[string]*snapshot.RouteConfig{}}
	for _, name := range set.Names(resource.Cluster) {
		if v, ok := b.one(resource.Cluster, name, b.cluster).(*snapshot.Cluster); ok {
			p.Clusters[name] = v
		}
	}
	for _, name := range set.Names(resource.Route) {
		if v, ok := b.one(resource.Route, name, b.routeConfig).(*snapshot.RouteConfig); ok {
			p.Routes[name] = v
		}
	}
	for _, name := range set.Names(resource.Listener) {
		if v, ok := b.one(resource.Listener, name, b.listener).(*snapshot.Listener); ok {
			p.Listeners = append(p.Listeners, v)
		}
	}
	p.Names = b.names()
	b.checkEndpoints()
	b.checkClusters()
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	c.last = b.next
	p.Version = version64(set)
	return p, nil
}

// version64 is the hash of all content.
func version64(set resource.Set) string {
	h := sha256.New()
	for _, t := range resource.Types {
		if t == resource.NameTable && len(set[t]) == 0 {
			continue // most proxies have none
		}
		h.Write([]byte(t + "\x00" + set.Version(t) + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// words name the types in errors.
var words = map[resource.Type]string{
	resource.Cluster: "cluster", resource.Endpoint: "endpoints", resource.Listener: "listener",
	resource.Route: "route configuration", resource.Secret: "secret", resource.NameTable: "name table",
}

// one compiles a resource, or takes what the last run made of the same inputs.
func (b *build) one(t resource.Type, name string, f func(place, proto.Message, *compiled) any) any {
	res := b.set[t][name]
	if known, ok := b.last[t][name]; ok && b.unchanged(t, res, known.inputs) {
		b.keep(t, name, known)
		return known.value
	}
	done := compiled{inputs: b.inputs(t, res)}
	if b.Shared != nil {
		if known, ok := b.Shared.find(done.inputs); ok {
			b.keep(t, name, known)
			return known.value
		}
	}
	m, err := res.Unmarshal(t)
	if err != nil {
		b.errs = append(b.errs, &Problem{t, name, "", err.Error()})
		return nil
	}
	b.readFiles = false
	var problems []*Problem
	at := place{errs: &problems}
	if own := resource.NameOf(m); own != name {
		at.errorf("the resource calls itself %q", own)
	}
	b.strict(at, res, m)
	if len(problems) == 0 {
		done.value = f(at, m, &done)
	}
	if len(problems) > 0 {
		for _, p := range problems {
			p.Type, p.Name = t, name
			b.errs = append(b.errs, p)
		}
		return nil
	}
	b.keep(t, name, done)
	if b.Shared != nil && !b.readFiles {
		b.Shared.add(done)
	}
	return done.value
}

func (b *build) keep(t resource.Type, name string, c compiled) {
	if b.next[t] == nil {
		b.next[t] = map[string]compiled{}
	}
	b.next[t][name] = c
}

// inputs lists a resource with the endpoints and secrets that are compiled into
// it; nil for those that are not there. Routes are looked up when requests come.
func (b *build) inputs(t resource.Type, res *resource.Resource) []*resource.Resource {
	in := []*resource.Resource{res}
	refs, _ := res.References(t) // Unmarshal has reported it
	for _, ref := range refs {
		if ref.Type == resource.Endpoint || ref.Type == resource.Secret {
			in = append(in, b.set[ref.Type][ref.Name])
		}
	}
	return in
}

func (b *build) unchanged(t resource.Type, res *resource.Resource, inputs []*resource.Resource) bool {
	// What a resource refers to is in its body: with an equal body only the others can differ.
	return equal(res, inputs[0]) && (len(inputs) == 1 && t == resource.Route ||
		slices.EqualFunc(b.inputs(t, res)[1:], inputs[1:], equal))
}

func equal(a, b *resource.Resource) bool {
	return a == b || a != nil && b != nil && a.Version == b.Version && bytes.Equal(a.Body.GetValue(), b.Body.GetValue())
}

// checkEndpoints refuses endpoints that nobody compiled because no cluster wants
// them, where they are not even readable.
func (b *build) checkEndpoints() {
	for _, name := range b.set.Names(resource.Endpoint) {
		res := b.set[resource.Endpoint][name]
		if known, ok := b.last[resource.Endpoint][name]; !ok || !equal(res, known.inputs[0]) {
			if _, err := res.Unmarshal(resource.Endpoint); err != nil {
				b.errs = append(b.errs, &Problem{resource.Endpoint, name, "", err.Error()})
				continue
			}
		}
		b.keep(resource.Endpoint, name, compiled{inputs: []*resource.Resource{res}})
	}
}

// checkClusters refuses routes to clusters that do not exist, in the inline tables
// that Envoy validates.
func (b *build) checkClusters() {
	for _, name := range b.set.Names(resource.Listener) {
		for _, cluster := range b.next[resource.Listener][name].clusters {
			if b.set[resource.Cluster][cluster] == nil {
				b.errs = append(b.errs, &Problem{resource.Listener, name, "", fmt.Sprintf("unknown cluster %q", cluster)})
			}
		}
	}
}

func (b *build) cluster(at place, m proto.Message, _ *compiled) any {
	return b.compileCluster(at, m.(*clusterpb.Cluster))
}

func (b *build) routeConfig(at place, m proto.Message, _ *compiled) any {
	return b.compileRoutes(at, m.(*routepb.RouteConfiguration))
}

func (b *build) listener(at place, m proto.Message, done *compiled) any {
	return b.compileListener(at, m.(*listenerpb.Listener), done)
}

// assignment returns the endpoints of an EDS cluster, or nil where none have come.
func (b *build) assignment(at place, name string) *endpointpb.ClusterLoadAssignment {
	res := b.set[resource.Endpoint][name]
	if res == nil {
		return nil
	}
	m, err := res.Unmarshal(resource.Endpoint)
	if err != nil {
		return nil // checkEndpoints reports it
	}
	before := len(*at.errs)
	if b.strict(at, res, m); len(*at.errs) == before {
		return m.(*endpointpb.ClusterLoadAssignment)
	}
	return nil
}

// strict reports what is not understood in a resource, and what the protos do not allow.
func (b *build) strict(at place, res *resource.Resource, m proto.Message) {
	if !b.cleaner.clean(res.Body.GetValue(), m.ProtoReflect().Descriptor()) {
		strict(at, m.ProtoReflect())
	}
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		invalid(at, v.ValidateAll())
	}
}
