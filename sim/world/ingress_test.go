package world

import (
	"context"
	"fmt"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Clients outside find a host at the gateway that names it most exactly.
func TestIngressFindsTheGatewayOfAHost(t *testing.T) {
	const objects = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: classic}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*", "./classic.shop.com"]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: any}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}, {name: other, port: 81, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: shop}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP, hostname: "*.shop.com"}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: inner, annotations: {networking.istio.io/service-type: ClusterIP}}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP, hostname: inner.shop.com}]}
`
	s := &spec.Scenario{Name: "ingress"}
	err := (&Sim{}).Do(t.Context(), s, run.Options{Seed: 1}, func(ctx context.Context, world run.World) error {
		w := world.(*World)
		applied, err := w.Apply(ctx, []spec.Document{{File: "ingress.yaml", Line: 1, Text: []byte(objects)}})
		if err != nil || len(applied.Rejected)+len(applied.Warnings) > 0 {
			return fmt.Errorf("%+v: %w", applied, err)
		}
		for _, c := range []struct{ addr, namespace, service string }{
			{"www.other.com:80", systemNamespace, ingressGateway}, // both have it
			{"www.other.com:81", "default", "any-istio"},
			{"www.other.com:82", systemNamespace, ingressGateway}, // nobody has it
			{"www.Shop.com:80", "default", "shop-istio"},
			{"classic.shop.com:80", systemNamespace, ingressGateway},
			{"inner.shop.com:80", "default", "shop-istio"}, // the exact one is not reached from outside
		} {
			want, ok := w.cluster.ServiceIP(c.namespace, c.service)
			if got, err := w.ingressAddress(c.addr); err != nil || !ok || got.Addr() != want {
				t.Errorf("%s is at %v (%v), want %s at %v", c.addr, got, err, c.service, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
