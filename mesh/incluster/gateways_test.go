package incluster

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube/kubetest"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

const (
	gatewayPath    = "/apis/gateway.networking.k8s.io/v1/namespaces/books/gateways/shop"
	deploymentPath = "/apis/apps/v1/namespaces/books/deployments/shop-istio"
	servicePath    = "/api/v1/namespaces/books/services/shop-istio"
)

// deploying is a control plane that deploys Gateways.
type deploying struct {
	*testing.T
	api  *kubetest.Server
	view *store.Memory
}

func newDeploying(t *testing.T, objects map[string]string) *deploying {
	t.Helper()
	d := &deploying{t, kubetest.New(t, objects), store.NewMemory(store.MemoryOptions{})}
	client, err := kube.Connect(kube.ClientOptions{Kubeconfig: d.api.Kubeconfig(), Agent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateways{client: client, source: d.view, inject: inject.Options{ProxyImage: "proxy:1", SystemNamespace: "istio-system"}, mesh: config.DefaultMeshConfig, logger: slog.New(slog.DiscardHandler)}
	go g.run(t.Context())
	return d
}

// see puts documents into the view, as the control plane reads them from the cluster.
func (d *deploying) see(text string) {
	d.Helper()
	objects, findings := config.Decode("test", 1, []byte(text))
	if len(objects) == 0 {
		d.Fatalf("%s: %v", text, findings)
	}
	d.view.Apply(objects...)
}

// gateway has a Gateway in the cluster, and in the view.
func (d *deploying) gateway(spec string) {
	d.Helper()
	const object = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: shop, namespace: books%s}\nspec: {gatewayClassName: istio, %s}\n"
	d.api.Put(d.T, gatewayPath, fmt.Sprintf(object, ", uid: one, generation: 3", spec))
	d.see(fmt.Sprintf(object, "", spec))
}

func (d *deploying) await(what string, is func() bool) {
	d.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.Fatalf("not within 20 s: %s: %v", what, d.api.Get(gatewayPath))
		}
	}
}

// programmed tells whether the Gateway's status says what is wanted of Programmed.
func (d *deploying) programmed(status, message string) func() bool {
	return func() bool {
		list, _, _ := unstructured.NestedSlice(d.api.Get(gatewayPath).Object, "status", "conditions")
		for _, c := range list {
			m := c.(map[string]any)
			if m["type"] == "Programmed" && m["status"] == status && strings.Contains(fmt.Sprint(m["message"]), message) {
				return m["observedGeneration"] == int64(3)
			}
		}
		return false
	}
}

func TestGatewayIsDeployed(t *testing.T) {
	const http = "listeners: [{name: http, port: 80, protocol: HTTP}]"
	d := newDeploying(t, nil)
	d.await("the class is made", func() bool {
		return d.api.Get("/apis/gateway.networking.k8s.io/v1/gatewayclasses/istio") != nil
	})
	d.gateway(http)
	d.await("its status says what is missing", d.programmed("False", "not there yet"))
	made := d.api.Get(deploymentPath)
	if made == nil || len(made.GetOwnerReferences()) != 1 || made.GetOwnerReferences()[0].UID != "one" {
		t.Fatalf("the Deployment: %v", made)
	}
	if _, found, _ := unstructured.NestedFieldNoCopy(made.Object, "spec", "replicas"); found {
		t.Error("the number of replicas would be written again after somebody has scaled it")
	}
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: shop-istio, namespace: books}\nspec: {type: %s, ports: [{port: 80}]}\n"
	d.see(fmt.Sprintf(service, "LoadBalancer"))
	d.await("nobody gave it an address", d.programmed("False", "of type LoadBalancer"))
	d.see(fmt.Sprintf(service, "ClusterIP"))
	d.await("no Pods", d.programmed("False", "has 0 Pods"))
	d.see("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: shop, namespace: books, labels: {kubernetes.io/service-name: shop-istio}}\n" +
		"addressType: IPv4\nendpoints: [{addresses: [10.1.1.1]}]\n")
	d.await("it serves", d.programmed("True", "books/shop-istio"))
	if list, _, _ := unstructured.NestedSlice(d.api.Get(gatewayPath).Object, "status", "addresses"); len(list) != 1 ||
		list[0].(map[string]any)["value"] != "shop-istio.books.svc.cluster.local" {
		t.Errorf("addresses %v", list)
	}
	d.gateway(http + ", addresses: [{type: Hostname, value: other.books.svc.cluster.local}]")
	d.await("served by another, it needs no proxies", func() bool { return d.api.Get(deploymentPath) == nil && d.api.Get(servicePath) == nil })
}

func TestGatewayLeavesAloneWhatPeopleMade(t *testing.T) {
	d := newDeploying(t, map[string]string{servicePath: "{apiVersion: v1, kind: Service, metadata: {namespace: books}, spec: {ports: [{port: 1}]}}"})
	d.gateway("listeners: [{name: http, port: 80, protocol: HTTP}]")
	d.await("it is told", d.programmed("False", "Service books/shop-istio is there already"))
	if s := d.api.Get(servicePath); s.GetLabels()[kube.OwnerLabel] != "" {
		t.Errorf("it was changed: %v", s)
	}
}
