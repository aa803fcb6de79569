package translate_test

import (
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
)

// wide uses what the bookstore does not: sniffed and headless ports, originated
// TLS, hashes on cookies, external names, rewrites, mirrors.
func wide() string {
	return service("istiod", "istio-system", "10.96.5.5", "{name: grpc-xds, port: 15010}, {name: https-dns, port: 15012}, {name: other, port: 99}", "app: istiod") +
		service("headless", "default", "None", "{name: http, port: 9000}, {name: tcp, port: 9001}", "app: reviews") + `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: details}
spec:
  host: details
  trafficPolicy:
    loadBalancer: {consistentHash: {httpCookie: {name: u, ttl: 0s}}}
    tls: {mode: SIMPLE}
    outlierDetection: {consecutiveGatewayErrors: 2}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec: {hosts: [api.example.com], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /old}, method: {exact: GET}}]
    redirect: {uri: /new, authority: example.com, redirectCode: 308}
  - fault: {abort: {percentage: {value: 5}, grpcStatus: UNAVAILABLE}}
    mirror: {host: reviews, subset: v2}
    corsPolicy: {allowOrigins: [{regex: ".*"}]}
    retries: {attempts: 3, retryOn: "5xx,503", perTryTimeout: 1s}
    rewrite: {uriRegexRewrite: {match: "/a/(.*)", rewrite: "/\\1"}}
    route: [{destination: {host: reviews, subset: v1}, weight: 1}, {destination: {host: reviews, subset: v2}, weight: 2}]
---
`
}

func TestTheDataPlaneAcceptsAWideMesh(t *testing.T) {
	for _, n := range []model.Node{productpage, reviewsV1, ingress} {
		if _, err := compile.Compile(translated(t, n, bookinfo(), rules, gateway, wide())); err != nil {
			t.Errorf("%s: %v", n.ID, err)
		}
	}
}
