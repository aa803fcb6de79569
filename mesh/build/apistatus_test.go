package build

import (
	"fmt"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// attachmentsOf writes the Attachments of documents, a line for each listener and parent.
func attachmentsOf(t *testing.T, text string) string {
	t.Helper()
	objects, findings := config.Decode("test.yaml", 1, []byte(text))
	for _, f := range findings {
		if f.Severity == config.Error {
			t.Fatal(f)
		}
	}
	view := store.NewView(objects...)
	a := Attach(view, Options{})
	say := func(v Verdict) string {
		if v.Good() {
			return "yes"
		}
		return v.Reason
	}
	var b strings.Builder
	for _, o := range view.All() {
		for _, l := range a.Listeners[o.Key()] {
			fmt.Fprintf(&b, "%s %s: accepted %s, resolved %s, closed %t, %v, %d routes\n", o.Name, l.Name, say(l.Accepted), say(l.Resolved), l.Closed, l.Kinds, l.Attached)
		}
		for _, p := range a.Parents[o.Key()] {
			fmt.Fprintf(&b, "%s %s %s: accepted %s, resolved %s\n", o.Kind, o.Name, p.Reference.Name, say(p.Accepted), say(p.Resolved))
		}
	}
	return b.String()
}

func TestAttachments(t *testing.T) {
	const prelude = `
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: books}
spec: {selector: {app: shop}, ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door, namespace: books}
spec:
  gatewayClassName: istio
  listeners:
  - {name: http, port: 80, protocol: HTTP, hostname: "*.books.example"}
  - {name: all, port: 81, protocol: HTTP, allowedRoutes: {namespaces: {from: All}, kinds: [{kind: HTTPRoute}, {kind: TCPRoute}]}}
  - {name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: gone}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: others, namespace: books}
spec: {gatewayClassName: other, listeners: [{name: http, port: 80, protocol: HTTP}]}
`
	route := func(name, parent, hosts, backend string) string {
		return fmt.Sprintf("---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: %s, namespace: books}\n"+
			"spec: {parentRefs: [%s], hostnames: [%s], rules: [{backendRefs: [%s]}]}\n", name, parent, hosts, backend)
	}
	const shop, door = "{name: shop, port: 80}", "{name: door}"
	for _, c := range []struct{ name, route, want string }{
		{"good", route("r", door, "a.books.example", shop), "HTTPRoute r door: accepted yes, resolved yes"},
		{"counts at both listeners", route("r", door, "a.books.example", shop), "door http: accepted yes, resolved yes, closed false, [HTTPRoute GRPCRoute], 1 routes"},
		{"two parents, one listener, one route", route("r", "{name: door, sectionName: all}, {name: door, port: 81}", "a.b", shop),
			"door all: accepted yes, resolved InvalidRouteKinds, closed false, [HTTPRoute], 1 routes"},
		{"no certificate", "", "door tls: accepted yes, resolved InvalidCertificateRef, closed true, [HTTPRoute GRPCRoute], 0 routes"},
		{"no such listener", route("r", "{name: door, sectionName: nine}", "", shop), "HTTPRoute r door: accepted NoMatchingParent, resolved yes"},
		{"another's host", route("r", "{name: door, sectionName: http}", "a.example", shop), "accepted NoMatchingListenerHostname, resolved yes"},
		{"from elsewhere", strings.ReplaceAll(route("r", "{name: door, namespace: books, sectionName: http}", "a.books.example", "{name: shop, namespace: books, port: 80}"), "name: r, namespace: books", "name: r, namespace: pens"),
			"accepted NotAllowedByListeners, resolved RefNotPermitted"},
		{"no such backend", route("r", door, "", "{name: shoe, port: 80}"), "accepted yes, resolved BackendNotFound"},
		{"no backend", route("r", door, "", "{kind: Pod, name: shop, port: 80}"), "accepted yes, resolved InvalidKind"},
		{"nobody takes it, and its backend is missed all the same", route("r", "{name: door, port: 9}", "", "{name: shoe, port: 80}"), "accepted NoMatchingParent, resolved BackendNotFound"},
		{"the mesh", route("r", "{kind: Service, group: '', name: shop}", "", shop), "HTTPRoute r shop: accepted yes, resolved yes"},
		{"a port that is not there", route("r", "{kind: Service, group: '', name: shop, port: 9}", "", shop), "accepted NoMatchingParent"},
	} {
		if got := attachmentsOf(t, prelude+c.route); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q is not in\n%s", c.name, c.want, got)
		}
	}
	for _, parent := range []string{"{name: others}", "{name: nobody}"} {
		if got := attachmentsOf(t, prelude+route("r", parent, "", shop)); strings.Contains(got, "HTTPRoute r") {
			t.Errorf("a Gateway that another controller may have is not ours to speak for: %s", got)
		}
	}
}
