package build

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// Attachments are what became of the Gateway API's listeners and routes, as the Gateway
// API wants it in their status: the findings of a build as conditions.
type Attachments struct {
	Listeners map[config.Key][]Listener // of the mesh's Gateways, as they stand in spec.listeners
	Parents   map[config.Key][]Parent   // of routes: those that are the mesh's, as they stand in spec.parentRefs
}

// Verdict is a condition that is true, unless it has a reason why it is not.
type Verdict struct{ Reason, Message string }

// Good tells whether the condition is true.
func (v Verdict) Good() bool { return v.Reason == "" }

// Listener is a listener of a Gateway.
type Listener struct {
	Name string
	// Kinds of routes that may attach, and how many routes have.
	Kinds    []string
	Attached int
	// Accepted: it has a protocol that is served. Resolved: its certificate and the kinds
	// that it allows are there.
	Accepted, Resolved Verdict
	Closed             bool // it is not served
}

// Parent is a route's reference to what it wants to be attached to.
type Parent struct {
	Reference gatewayv1.ParentReference
	// Accepted: the parent takes it. Resolved: its backends are there, and may be used.
	Accepted, Resolved Verdict
}

// Attach finds the Attachments of a view. It makes of the mesh only what these depend on.
func Attach(v *store.View, o Options) *Attachments {
	b := newBuilder(v, o)
	b.settings()
	b.workloads()
	b.services()
	b.serviceEntries()
	a := b.newGatewayAPI()
	a.became = &Attachments{Listeners: make(map[config.Key][]Listener), Parents: make(map[config.Key][]Parent)}
	a.attach()
	return a.became
}

// note remembers the first of a route's backends that cannot be used.
func (a *gatewayAPI) note(o *config.Object, grants bool, v Verdict) {
	key := unresolvedKey{o.Key(), grants}
	if _, ok := a.unresolved[key]; !ok {
		a.unresolved[key] = v
	}
}

// unresolvedKey is a route, with or without the need of grants for its backends.
type unresolvedKey struct {
	route  config.Key
	grants bool
}

// parent remembers what became of a parent.
func (a *gatewayAPI) parent(r *apiRoute, p *gatewayv1.ParentReference, grants bool, accepted Verdict) {
	if a.became == nil {
		return
	}
	// Whether the backends are there does not depend on who takes the route.
	if r.connections != nil {
		r.connections(grants)
	}
	r.with(grants)
	key := r.object.Key()
	a.became.Parents[key] = append(a.became.Parents[key], Parent{*p, accepted, a.unresolved[unresolvedKey{key, grants}]})
}

// listener remembers what became of a listener; the routes are counted as they come.
func (a *gatewayAPI) listener(o *config.Object, l *apiListener, accepted, resolved Verdict, served bool) {
	if a.became == nil {
		return
	}
	key := o.Key()
	l.gateway, l.index = key, len(a.became.Listeners[key])
	a.became.Listeners[key] = append(a.became.Listeners[key], Listener{Name: l.name, Kinds: l.kinds, Accepted: accepted, Resolved: resolved, Closed: !served})
}

// attached counts a route once for a listener, whichever of its parents lead there.
func (a *gatewayAPI) attached(r *apiRoute, l *apiListener) {
	key := "attached|" + l.ref
	if a.became == nil || r.known[key] {
		return
	}
	r.known[key] = true
	a.became.Listeners[l.gateway][l.index].Attached++
}

// protocolVerdict tells whether there is such a protocol.
func protocolVerdict(l gatewayv1.Listener) Verdict {
	if len(routeKinds(l)) == 0 {
		return Verdict{string(gatewayv1.ListenerReasonUnsupportedProtocol), fmt.Sprintf("protocol %s is not supported: HTTP, HTTPS, TLS and TCP are", l.Protocol)}
	}
	return Verdict{}
}
