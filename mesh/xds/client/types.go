package client

import (
	"slices"

	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// response is one message of the control plane, the same for both protocols.
type response struct {
	typ       resource.Type
	nonce     string
	version   string
	resources []*resource.Resource
	removed   []string
	err       error // the response could not be read; it is to be refused
}

// kind is the state of one type on one stream.
type kind struct {
	typ   resource.Type
	names map[string]bool // asked for by name
	// candidate is what the control plane has sent, by name.
	candidate map[string]*resource.Resource
	nonce     string // of the last response
	version   string // of the last response
	accepted  string // version that is in force
	// unanswered are nonces without an answer, refused those that were answered with
	// a NACK and may turn out well with what comes later; oldest first.
	unanswered, refused []string
	// asked is the nonce with which names went out last.
	asked string
	// err is why the last response could not be read.
	err error
}

// newKind begins with what is in force, but for what did not come over xDS.
func newKind(t resource.Type, inForce, static resource.Set) *kind {
	k := &kind{typ: t, names: map[string]bool{}, candidate: map[string]*resource.Resource{}}
	for name, res := range inForce[t] {
		if res != static[t][name] {
			k.candidate[name] = res
		}
	}
	return k
}

// wildcard tells whether all resources of the type are asked for.
func (k *kind) wildcard() bool {
	return k.typ == resource.Cluster || k.typ == resource.Listener || k.typ == resource.NameTable
}

// take applies a response to the candidate. A resource that is asked for by name
// and goes away stays while something refers to it: only what it belonged to can
// be removed, as Envoy has it for endpoints and routes.
func (k *kind) take(r *response, delta bool) {
	k.nonce, k.version, k.err = r.nonce, r.version, r.err
	k.unanswered = append(k.unanswered, r.nonce)
	if r.err != nil {
		return
	}
	if !delta && k.wildcard() {
		clear(k.candidate)
	}
	for _, res := range r.resources {
		if known := k.candidate[res.Name]; known == nil || known.Version != res.Version {
			k.candidate[res.Name] = res
		}
	}
	if k.wildcard() {
		for _, name := range r.removed {
			delete(k.candidate, name)
		}
	}
}

// ask replaces the names asked for and returns the changes, sorted.
func (k *kind) ask(names map[string]bool) (added, dropped []string) {
	for name := range names {
		if !k.names[name] {
			added = append(added, name)
		}
	}
	for name := range k.names {
		if !names[name] {
			dropped = append(dropped, name)
		}
	}
	slices.Sort(added)
	slices.Sort(dropped)
	return added, dropped
}

// readSotW converts a state-of-the-world response. What is wrong with it becomes
// its error, which names the resource.
func readSotW(m *discoverypb.DiscoveryResponse) *response {
	r := &response{typ: m.GetTypeUrl(), nonce: m.GetNonce(), version: m.GetVersionInfo()}
	for _, body := range m.GetResources() {
		res, err := read(r.typ, body)
		if err != nil {
			r.err = err
			return r
		}
		r.resources = append(r.resources, res)
	}
	return r
}

func read(t resource.Type, body *anypb.Any) (*resource.Resource, error) {
	if body.MessageIs((*discoverypb.Resource)(nil)) {
		wrapped := new(discoverypb.Resource)
		if err := body.UnmarshalTo(wrapped); err != nil {
			return nil, err
		}
		body = wrapped.GetResource()
	}
	res := resource.Wrap("", body)
	if t == resource.NameTable { // it has no name, and is no message of Envoy's
		return res, nil
	}
	m, err := res.Unmarshal(t)
	if err != nil {
		return nil, err
	}
	res.Name = resource.NameOf(m)
	return res, nil
}

// readDelta converts a delta response.
func readDelta(m *discoverypb.DeltaDiscoveryResponse) *response {
	r := &response{typ: m.GetTypeUrl(), nonce: m.GetNonce(), version: m.GetSystemVersionInfo(), removed: m.GetRemovedResources()}
	for _, one := range m.GetResources() {
		res := &resource.Resource{Name: one.GetName(), Version: one.GetVersion(), Body: one.GetResource()}
		if res.Version == "" {
			res.Version = resource.Wrap("", res.Body).Version
		}
		r.resources = append(r.resources, res)
	}
	return r
}
