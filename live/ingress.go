package live

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/load/remote"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

const (
	ingressGateway = "istio-ingressgateway"
	gatewayGroup   = "gateway.networking.k8s.io"
)

// entry is a Service that clients outside reach.
type entry struct{ namespace, name string }

// ingress is where a client outside finds a host and port, as if the hosts of all
// Gateways were published in DNS: at the Service with the server that names the host most
// exactly, which is the ingress gateway where several do, and where none does. The
// simulator has the same rule.
func (w *World) ingress(ctx context.Context, host, port string) (entry, error) {
	best, rank := entry{w.env.System, ingressGateway}, 0
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return best, fmt.Errorf("port %q: %w", port, err)
	}
	number := uint32(n)
	apis, err := w.client.List(ctx, kube.Resource(gatewayGroup+"/v1", "Gateway"), "", "")
	if err != nil {
		return best, err
	}
	apis = slices.DeleteFunc(apis, func(u unstructured.Unstructured) bool { return !w.mine(u.GetNamespace()) })
	own, err := w.ownBalancers(ctx)
	if err != nil || len(apis)+len(own) == 0 {
		return best, err
	}
	istios, err := w.client.List(ctx, kube.Resource("networking.istio.io/v1", "Gateway"), "", "")
	if err != nil {
		return best, err
	}
	for i := range istios {
		g, ok := typed[networkingv1.Gateway](&istios[i], "networking.istio.io/v1", "Gateway")
		if !ok {
			continue
		}
		if w.selectsIngress(g.Spec.GetSelector()) {
			rank = max(rank, config.ServerRank(&g.Spec, host, number))
		}
		for _, b := range own {
			if len(g.Spec.GetSelector()) > 0 && labels.SelectorFromSet(g.Spec.GetSelector()).Matches(b.pod) {
				b.rank = max(b.rank, config.ServerRank(&g.Spec, host, number))
			}
		}
	}
	for _, b := range own {
		if b.rank > rank {
			best, rank = b.entry, b.rank
		}
	}
	slices.SortStableFunc(apis, func(a, b unstructured.Unstructured) int {
		return a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time)
	})
	for i := range apis {
		g, ok := typed[gatewayv1.Gateway](&apis[i], gatewayGroup+"/v1", "Gateway")
		if !ok {
			continue
		}
		namespace, name, _ := config.GatewayServiceIn(apis[i].GetNamespace(), apis[i].GetName(), g)
		found, err := w.client.Get(ctx, kube.Resource("v1", "Service"), namespace, name)
		if err != nil {
			return best, err
		}
		if r := config.ListenerRank(g, host, number); found != nil && r > rank && outside(found) {
			best, rank = entry{namespace, name}, r
		}
	}
	return best, nil
}

// balancer is a Service of the scenario's that clients outside reach, with the labels of one
// of its Pods: it may be before a gateway that people deployed.
type balancer struct {
	entry
	pod  labels.Set
	rank int
}

// ownBalancers are the Services of types that clients outside reach, by name.
func (w *World) ownBalancers(ctx context.Context) ([]*balancer, error) {
	services, err := w.client.List(ctx, kube.Resource("v1", "Service"), "", "")
	if err != nil {
		return nil, err
	}
	var list []*balancer
	for i := range services {
		u := &services[i]
		kind, _, _ := unstructured.NestedString(u.Object, "spec", "type")
		selector, _, _ := unstructured.NestedStringMap(u.Object, "spec", "selector")
		if !w.mine(u.GetNamespace()) || len(selector) == 0 || kind != string(corev1.ServiceTypeLoadBalancer) && kind != string(corev1.ServiceTypeNodePort) {
			continue
		}
		for _, p := range w.pods() {
			if p.Namespace == u.GetNamespace() && labels.SelectorFromSet(selector).Matches(labels.Set(p.Labels)) {
				list = append(list, &balancer{entry: entry{u.GetNamespace(), u.GetName()}, pod: p.Labels})
				break
			}
		}
	}
	slices.SortFunc(list, func(a, b *balancer) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	return list, nil
}

// outside tells whether clients outside of a cluster could reach a Service. Those of the
// mesh's own gateways may be of any type here: a kind cluster has no load balancers.
func outside(service *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(service.Object, "spec", "type")
	return kind != string(corev1.ServiceTypeClusterIP) || service.GetName() == ingressGateway
}

// typed makes a typed object of one that the API server has, as the control plane does.
func typed[T any](u *unstructured.Unstructured, apiVersion, kind string) (*T, bool) {
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	o, ok := kube.Read(u)
	if !ok {
		return nil, false
	}
	value, ok := o.Value.(*T)
	return value, ok
}

func (w *World) selectsIngress(selector map[string]string) bool {
	for _, p := range w.pods() {
		if p.Namespace == w.env.System && p.workload == ingressGateway {
			return labels.SelectorFromSet(selector).Matches(labels.Set(p.Labels))
		}
	}
	return false
}

// deployment is what the control plane deploys for a Gateway of the Gateway API; nil
// where it deploys nothing.
func (w *World) deployment(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if u.GetKind() != "Gateway" || !strings.HasPrefix(u.GetAPIVersion(), gatewayGroup+"/") {
		return nil, nil
	}
	g, ok := typed[gatewayv1.Gateway](u.DeepCopy(), u.GetAPIVersion(), "Gateway")
	if !ok {
		return nil, nil
	}
	class := string(g.Spec.GatewayClassName)
	found, err := w.client.Get(ctx, kube.Resource(gatewayGroup+"/v1", "GatewayClass"), "", class)
	if err != nil {
		return nil, err
	}
	var defined *gatewayv1.GatewayClass
	if found != nil {
		defined, _ = typed[gatewayv1.GatewayClass](found, gatewayGroup+"/v1", "GatewayClass")
	}
	name, made := config.GatewayService(u.GetName(), g)
	if !made || !config.GatewayClassOurs(class, defined) {
		return nil, nil
	}
	d := &unstructured.Unstructured{Object: map[string]any{"apiVersion": appsv1.SchemeGroupVersion.String(), "kind": "Deployment"}}
	d.SetNamespace(u.GetNamespace())
	d.SetName(name)
	return d, nil
}

// deployed waits until a Gateway's proxies run. While the control plane is away nobody
// makes them.
func (w *World) deployed(ctx context.Context, d *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeoutCause(ctx, rolloutLimit, fmt.Errorf("not after %s", rolloutLimit))
	defer cancel()
	if w.down(ctx) {
		return nil
	}
	err := w.until(ctx, func() (string, error) {
		found, err := w.client.Get(ctx, kube.Resource(d.GetAPIVersion(), d.GetKind()), d.GetNamespace(), d.GetName())
		if found == nil {
			return "the control plane has not made " + w.names.scenario(kube.Name(d)), err
		}
		return "", err
	})
	if err != nil {
		return err
	}
	if err := w.rollout(ctx, d); err != nil {
		return err
	}
	if !usesClient(w.scenario) {
		return nil
	}
	// A Service's address leads to its Pods when kube-proxy has heard of them, which is later.
	url := fmt.Sprintf("http://%s.%s:%d/healthz/ready", d.GetName(), d.GetNamespace(), inject.HealthPort)
	agent, err := w.origin(ctx, fromOutside, url)
	if err != nil {
		return err
	}
	return w.until(ctx, func() (string, error) {
		found, err := remote.Ask(ctx, http.DefaultClient, "http://"+agent.agent, &remote.Call{URL: url, Timeout: poll * 10, Send: &remote.Send{Count: 1}})
		if err != nil || found == nil || len(found.Records) != 1 || found.Records[0].Status != http.StatusOK {
			return "nobody reaches the Pods of " + w.names.scenario(kube.Name(d)) + " by their Service", nil
		}
		return "", nil
	})
}
