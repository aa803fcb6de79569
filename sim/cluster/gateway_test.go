package cluster

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

func gatewayOf(class, listeners string) string {
	return "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: shop}\nspec: {gatewayClassName: " + class + ", listeners: [" + listeners + "]}\n"
}

func TestGatewayIsDeployedAndGoesWithItsObject(t *testing.T) {
	const http, other = "{name: http, port: 80, protocol: HTTP}", "{name: other, port: 8080, protocol: HTTP}"
	c, k, s := newCluster()
	apply(t, c, gatewayOf("istio", http))
	if got, want := k.take(), "start shop-istio"; got != want {
		t.Fatalf("kubelet did %q, want %q", got, want)
	}
	service := func() *corev1.Service {
		if o := s.View().Get("Service", "default", "shop-istio"); o != nil {
			return o.Value.(*corev1.Service)
		}
		return nil
	}
	if p := service().Spec.Ports; len(p) != 2 || p[1].Port != 80 || p[1].TargetPort.IntValue() != 80 || *p[1].AppProtocol != "http" {
		t.Errorf("ports %+v", p)
	}
	if p := c.Pods()[0]; p.Labels[config.GatewayNameLabel] != "shop" || p.Spec.ServiceAccountName != "shop-istio" || len(p.Spec.Containers) != 1 {
		t.Errorf("Pod %s has labels %v", p.Name, p.Labels)
	}
	key := config.Key{Group: "apps", Kind: "Deployment", Namespace: "default", Name: "shop-istio"}
	if err := c.Scale(t.Context(), key, 2); err != nil {
		t.Fatal(err)
	}
	k.take()
	apply(t, c, gatewayOf("istio", http+","+other))
	if got := k.take(); got != "" || len(service().Spec.Ports) != 3 || len(c.Pods()) != 2 {
		t.Errorf("with another listener the kubelet did %q, the Service has %d ports, and there are %d Pods", got, len(service().Spec.Ports), len(c.Pods()))
	}
	gateway := config.Key{Group: "gateway.networking.k8s.io", Kind: "Gateway", Namespace: "default", Name: "shop"}
	if err := c.Delete(t.Context(), []config.Key{gateway}); err != nil {
		t.Fatal(err)
	}
	if service() != nil || len(c.Pods()) != 0 {
		t.Error("something outlives the Gateway")
	}
}

func TestGatewayOfOthersIsLeftAlone(t *testing.T) {
	const http = "{name: http, port: 80, protocol: HTTP}"
	c, k, s := newCluster()
	apply(t, c, "apiVersion: v1\nkind: Service\nmetadata: {name: shop-edge}\nspec: {ports: [{port: 1}]}\n", gatewayOf("edge", http))
	if got := k.take(); got != "" {
		t.Errorf("without a class the kubelet did %q", got)
	}
	apply(t, c, "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: edge}\nspec: {controllerName: istio.io/gateway-controller}\n")
	if got, want := k.take(), "start shop-edge"; got != want {
		t.Errorf("with Istio's class the kubelet did %q, want %q", got, want)
	}
	if p := s.View().Get("Service", "default", "shop-edge").Value.(*corev1.Service).Spec.Ports; p[0].Port != 1 {
		t.Errorf("an applied Service was replaced: %+v", p)
	}
}
