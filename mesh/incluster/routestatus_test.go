package incluster

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	routePath   = "/apis/gateway.networking.k8s.io/v1/namespaces/books/httproutes/r"
	ingressPath = "/apis/networking.k8s.io/v1/namespaces/books/ingresses/in"
	shopService = "apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: books}\nspec: {ports: [{port: 80}]}\n"
)

// route has an HTTPRoute in the cluster, with a status, and in the view.
func (d *deploying) route(spec, status string) {
	d.Helper()
	const object = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: books%s}\nspec: {%s}\n"
	d.api.Put(d.T, routePath, fmt.Sprintf(object, ", generation: 2", spec)+"status: "+status+"\n")
	d.see(fmt.Sprintf(object, "", spec))
}

// conditions are those of a parent or listener in words: "Accepted=True/Accepted ...".
func conditions(u *unstructured.Unstructured, list string, i int) string {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", list)
	if i >= len(all) {
		return fmt.Sprintf("%d %s", len(all), list)
	}
	var b strings.Builder
	for _, c := range all[i].(map[string]any)["conditions"].([]any) {
		m := c.(map[string]any)
		fmt.Fprintf(&b, "%v=%v/%v ", m["type"], m["status"], m["reason"])
	}
	return b.String()
}

func TestRoutesAndListenersAreTold(t *testing.T) {
	d := newDeploying(t, nil)
	d.see(shopService)
	d.gateway("listeners: [{name: http, port: 80, protocol: HTTP}, {name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: gone}]}}]")
	const others = "{parents: [{parentRef: {name: x}, controllerName: example.com/other, conditions: [{type: Accepted, status: 'True'}]}]}"
	d.route("parentRefs: [{name: shop, sectionName: http}, {name: shop, sectionName: nine}], rules: [{backendRefs: [{name: shop, port: 80}]}]", others)
	d.await("the route is told, after what another says of it", func() bool {
		r := d.api.Get(routePath)
		return conditions(r, "parents", 0) == "Accepted=True/<nil> " && conditions(r, "parents", 1) == "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs " &&
			strings.HasPrefix(conditions(r, "parents", 2), "Accepted=False/NoMatchingParent ")
	})
	d.await("so are the listeners", func() bool {
		g := d.api.Get(gatewayPath)
		return conditions(g, "listeners", 0) == "Accepted=True/Accepted Programmed=True/Programmed ResolvedRefs=True/ResolvedRefs " &&
			conditions(g, "listeners", 1) == "Accepted=True/Accepted Programmed=False/Invalid ResolvedRefs=False/InvalidCertificateRef "
	})
	list, _, _ := unstructured.NestedSlice(d.api.Get(gatewayPath).Object, "status", "listeners")
	if first := list[0].(map[string]any); first["attachedRoutes"] != int64(1) || len(first["supportedKinds"].([]any)) != 2 {
		t.Errorf("the listener: %v", first)
	}
	before := d.api.Get(routePath).GetResourceVersion()
	d.see(strings.ReplaceAll(shopService, "port: 80", "port: 81"))
	d.await("its backend has another port now", func() bool {
		return strings.Contains(conditions(d.api.Get(routePath), "parents", 1), "ResolvedRefs=False/BackendNotFound")
	})
	if d.api.Get(routePath).GetResourceVersion() == before {
		t.Error("nothing was written")
	}
	d.route("parentRefs: [{name: elsewhere}]", "{parents: "+strings.TrimSuffix(strings.TrimPrefix(others, "{parents: "), "}")+"}")
	d.await("a parent that is not ours is left to others", func() bool { return conditions(d.api.Get(routePath), "parents", 1) == "1 parents" })
}

func TestStatusIsWrittenOnce(t *testing.T) {
	d := newDeploying(t, nil)
	d.see(shopService)
	d.gateway("listeners: [{name: http, port: 80, protocol: HTTP}]")
	d.route("parentRefs: [{name: shop}], rules: [{backendRefs: [{name: shop, port: 80}]}]", "{}")
	told := func() bool { return strings.HasPrefix(conditions(d.api.Get(routePath), "parents", 0), "Accepted=True") }
	d.await("the route is told", told)
	route, gateway := d.api.Get(routePath).GetResourceVersion(), d.api.Get(gatewayPath).GetResourceVersion()
	// A change that is none for them; what is written for it tells that it was seen.
	d.route2()
	d.await("the other route is told", func() bool {
		return conditions(d.api.Get(strings.Replace(routePath, "httproutes/r", "httproutes/s", 1)), "parents", 0) != "0 parents"
	})
	if d.api.Get(routePath).GetResourceVersion() != route {
		t.Error("the route's status was written again")
	}
	if d.api.Get(gatewayPath).GetResourceVersion() == gateway {
		t.Error("the listener does not count the second route")
	}
}

// route2 is a second route, to the same Gateway.
func (d *deploying) route2() {
	const object = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: s, namespace: books}\nspec: {parentRefs: [{name: shop}], rules: [{backendRefs: [{name: shop, port: 80}]}]}\n"
	d.api.Put(d.T, strings.Replace(routePath, "httproutes/r", "httproutes/s", 1), object)
	d.see(object)
}

func TestIngressesAreToldWhereTheyAreReached(t *testing.T) {
	d := newDeploying(t, nil)
	const ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: in, namespace: books, annotations: {kubernetes.io/ingress.class: %s}}\n" +
		"spec: {defaultBackend: {service: {name: shop, port: {number: 80}}}}\n"
	d.api.Put(t, ingressPath, fmt.Sprintf(ingress, "istio"))
	d.see(fmt.Sprintf(ingress, "istio"))
	service := func(status string) {
		d.see("apiVersion: v1\nkind: Service\nmetadata: {name: istio-ingressgateway, namespace: istio-system}\nspec: {type: LoadBalancer, ports: [{port: 80}], externalIPs: [9.9.9.9]}\nstatus: {loadBalancer: {ingress: [" + status + "]}}\n")
	}
	reached := func(want string) func() bool {
		return func() bool {
			list, _, _ := unstructured.NestedSlice(d.api.Get(ingressPath).Object, "status", "loadBalancer", "ingress")
			return fmt.Sprint(list) == want
		}
	}
	service("{ip: 1.2.3.4}, {hostname: door.example}")
	d.await("its addresses", reached("[map[ip:1.2.3.4] map[hostname:door.example] map[ip:9.9.9.9]]"))
	service("{ip: 1.2.3.5}")
	d.await("the new ones", reached("[map[ip:1.2.3.5] map[ip:9.9.9.9]]"))
}
