package analyze_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

func annotatedObject(apiVersion, kind, name, annotation, value, spec string) string {
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata:\n  name: %s\n  annotations:\n    %s: %q\nspec: {%s}\n---\n", apiVersion, kind, name, annotation, value, spec)
}

func namespace(name, labels string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {%s}}\n---\n", name, labels)
}

// certificate makes a Secret; the key is that of another one where it should not fit.
func certificate(t *testing.T, name string, until time.Time, fits bool) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.example"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if !fits {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ntype: kubernetes.io/tls\ndata: {tls.crt: %s, tls.key: %s}\n---\n",
		name, text("CERTIFICATE", der), text("PRIVATE KEY", private))
}

// TestSituations: each thing that istioctl analyze has a code for is found at its field,
// and not found where it is put right.
func TestSituations(t *testing.T) {
	const (
		networking = "networking.istio.io/v1"
		security   = "security.istio.io/v1"
		telemetry  = "telemetry.istio.io/v1"
		to         = "route: [{destination: {host: reviews}}]"
		router     = "listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: %s}}}}"
	)
	tlsGateway := func(name, selector, host, credential string) string {
		return object(networking, "Gateway", name, fmt.Sprintf("selector: {%s}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [%s], tls: {mode: SIMPLE, credentialName: %s}}]",
			selector, host, credential))
	}
	deployment := func(spec string) string {
		return object("apps/v1", "Deployment", "d", "selector: {matchLabels: {app: d}}, template: {metadata: {labels: {app: d}}, spec: {"+spec+"}}")
	}
	patch := func(name, priority, target, match, operation, value string) string {
		return object("networking.istio.io/v1alpha3", "EnvoyFilter", name,
			fmt.Sprintf("%s configPatches: [{applyTo: %s, match: {%s}, patch: {operation: %s%s}}]", priority, target, match, operation, value))
	}
	connection := func(kind, rules string) string {
		return object(networking, "VirtualService", "v", "hosts: [reviews], "+kind+": ["+rules+"]")
	}
	subsets := object(networking, "DestinationRule", "d", "host: reviews, subsets: [{name: v1, labels: {app: reviews}}]") +
		object(networking, "Gateway", "g", "selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]}]")
	later := time.Now().Add(24 * time.Hour)
	good := certificate(t, "good", later, true)
	const lua = `, value: {name: mine, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}`
	for _, c := range []struct{ code, istio, wrong, at, right string }{
		{"WT0467", "IST0108", annotatedObject("v1", "Service", "s", "networking.istio.io/exportsTo", ".", "ports: [{name: http, port: 1}]"), "exportsTo",
			annotatedObject("v1", "Service", "s", "networking.istio.io/exportTo", ".", "ports: [{name: http, port: 1}]")},
		{"WT0468", "IST0107", annotatedObject("v1", "Service", "s", "sidecar.istio.io/proxyCPU", "1", "ports: [{name: http, port: 1}]"), "proxyCPU",
			annotatedObject("v1", "Pod", "p", "sidecar.istio.io/proxyCPU", "1", "containers: [{name: a, image: a}]")},
		{"WT0469", "IST0125", annotatedObject("v1", "Pod", "p", "traffic.sidecar.istio.io/excludeOutboundPorts", "80,http", "containers: [{name: a, image: a}]"), "80,http",
			annotatedObject("v1", "Pod", "p", "traffic.sidecar.istio.io/excludeOutboundPorts", "80, 443", "containers: [{name: a, image: a}]")},
		{"WT0470", "IST0135", annotatedObject("v1", "Pod", "p", "sidecar.istio.io/inject", "false", "containers: [{name: a, image: a}]"), "inject",
			annotatedObject("v1", "Pod", "p", "proxy.istio.io/config", "{}", "containers: [{name: a, image: a}]")},
		{"WT0471", "IST0136", annotatedObject("v1", "Pod", "p", "sidecar.istio.io/logLevel", "info", "containers: [{name: a, image: a}]"), "logLevel",
			annotatedObject("v1", "Pod", "p", "proxy.istio.io/config", "{}", "containers: [{name: a, image: a}]")},
		{"WT0472", "IST0144", deployment("securityContext: {runAsUser: 1337}, containers: [{name: a, image: a}]"), "1337",
			deployment("securityContext: {runAsUser: 1337}, containers: [{name: istio-proxy, image: a}, {name: a, image: a, securityContext: {runAsUser: 1}}]")},
		{"WT0473", "IST0146", deployment("containers: [{name: istio-proxy, image: auto}]"), "image: auto",
			namespace("default", "istio-injection: enabled") + deployment("containers: [{name: istio-proxy, image: auto}]")},
		{"WT0474", "IST0147", object("v1", "Pod", "p", "containers: [{name: istio-proxy, image: auto}]"), "image: auto",
			namespace("default", "istio.io/rev: canary") + object("v1", "Pod", "p", "containers: [{name: istio-proxy, image: auto}]")},
		{"WT0459", "IST0110", object(networking, "Sidecar", "a", "workloadSelector: {labels: {app: reviews}}, egress: [{hosts: ['*/*']}]") +
			object(networking, "Sidecar", "b", "workloadSelector: {labels: {app: reviews}}, egress: [{hosts: ['*/*']}]"), "name: b",
			object(networking, "Sidecar", "a", "workloadSelector: {labels: {app: reviews}}, egress: [{hosts: ['*/*']}]") + object(networking, "Sidecar", "b", "egress: [{hosts: ['*/*']}]")},
		{"WT0452", "IST0145", object(networking, "Gateway", "a", "selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]}]") +
			object(networking, "Gateway", "b", "selector: {istio: ingressgateway, site: one}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]}]"), "site: one",
			object(networking, "Gateway", "a", "selector: {istio: ingressgateway, site: two}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]}]") +
				object(networking, "Gateway", "b", "selector: {istio: ingressgateway, site: one}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]}]")},
		{"WT0478", "IST0138", good + tlsGateway("a", "istio: ingressgateway", "a.example", "good") + tlsGateway("b", "istio: ingressgateway", "b.example", "good"), "b.example",
			good + certificate(t, "other", later, true) + tlsGateway("a", "istio: ingressgateway", "a.example", "good") + tlsGateway("b", "istio: ingressgateway", "b.example", "other")},
		{"WT0479", "IST0161", certificate(t, "old", time.Now().Add(-time.Hour), true) + tlsGateway("a", "istio: ingressgateway", "a.example", "old"), "credentialName: old",
			good + tlsGateway("a", "istio: ingressgateway", "a.example", "good")},
		{"WT0479", "IST0161", certificate(t, "unlike", later, false) + tlsGateway("a", "istio: ingressgateway", "a.example", "unlike"), "credentialName: unlike",
			good + tlsGateway("a", "istio: ingressgateway", "a.example", "good")},
		{"WT0410", "IST0101", tlsGateway("a", "istio: ingressgateway", "a.example", "none"), "credentialName: none", good + tlsGateway("a", "istio: ingressgateway", "a.example", "good")},
		{"WT0422", "IST0161", "apiVersion: v1\nkind: Secret\nmetadata: {name: empty}\ndata: {tls.crt: YQ==}\n---\n" + tlsGateway("a", "istio: ingressgateway", "a.example", "empty"), "credentialName: empty",
			good + tlsGateway("a", "istio: ingressgateway", "a.example", "good")},
		{"WT0412", "IST0132", object(networking, "Gateway", "g", "selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]}]") +
			object(networking, "Gateway", "h", "selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [b.example]}]") +
			object(networking, "VirtualService", "v", "hosts: [a.example], gateways: [g, h], http: [{"+to+"}]"), "gateways: [g, h]",
			object(networking, "Gateway", "g", "selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]}]") +
				object(networking, "VirtualService", "v", "hosts: [a.example], gateways: [g], http: [{"+to+"}]")},
		{"WT0426", "IST0165", object(networking, "VirtualService", "v", "hosts: [a.example], gateways: [web-istio-autogenerated-k8s-gateway-http], http: [{"+to+"}]"), "autogenerated",
			object(networking, "VirtualService", "v", "hosts: [a.example], http: [{"+to+"}]")},
		{"WT0482", "IST0149", object(networking, "Gateway", "g", "selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]}]") +
			object(networking, "VirtualService", "v", "hosts: [a.example], gateways: [g], http: [{match: [{headers: {'@request.auth.claims.sub': {exact: a}}}], "+to+"}]"), "claims.sub",
			object(networking, "Gateway", "g", "selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]}]") +
				object(security, "RequestAuthentication", "r", "selector: {matchLabels: {istio: ingressgateway}}, jwtRules: [{issuer: a, jwksUri: 'http://keys.example/'}]") +
				object(networking, "VirtualService", "v", "hosts: [a.example], gateways: [g], http: [{match: [{headers: {'@request.auth.claims.sub': {exact: a}}}], "+to+"}]")},
		{"WT0483", "IST0150", object("v1", "Service", "s", "type: ExternalName, externalName: a.example, ports: [{name: tcp, port: 1}]"), "name: tcp",
			object("v1", "Service", "s", "type: ExternalName, externalName: a.example, ports: [{name: https, port: 1}]")},
		{"WT0461", "IST0128", object(networking, "DestinationRule", "d", "host: reviews, trafficPolicy: {tls: {mode: SIMPLE, credentialName: c}}"), "credentialName",
			object(networking, "DestinationRule", "d", "host: reviews, workloadSelector: {matchLabels: {app: reviews}}, trafficPolicy: {tls: {mode: SIMPLE, credentialName: c}}")},
		{"WT0480", "IST0151", patch("a", "", "HTTP_FILTER", fmt.Sprintf(router, "envoy.filters.http.router"), "INSERT_BEFORE", lua), "INSERT_BEFORE",
			patch("a", "priority: 1,", "HTTP_FILTER", fmt.Sprintf(router, "envoy.filters.http.router"), "INSERT_BEFORE", lua)},
		{"WT0481", "IST0155", patch("a", "", "HTTP_FILTER", "proxy: {proxyVersion: '1.*'}, "+fmt.Sprintf(router, "envoy.filters.http.router"), "INSERT_BEFORE", lua), "proxyVersion",
			patch("a", "", "HTTP_FILTER", "proxy: {proxyVersion: '1.*'}, "+fmt.Sprintf(router, "envoy.filters.http.router"), "INSERT_FIRST", lua)},
		{"WT0423", "IST0152", patch("a", "", "CLUSTER", "cluster: {name: a}", "REPLACE", ", value: {name: a}"), "REPLACE", patch("a", "", "CLUSTER", "cluster: {name: a}", "MERGE", ", value: {connect_timeout: 1s}")},
		{"WT0424", "IST0153", patch("a", "", "ROUTE_CONFIGURATION", "", "ADD", ", value: {name: a}"), "ADD", patch("a", "", "CLUSTER", "", "ADD", ", value: {name: a}")},
		{"WT0425", "IST0154", patch("a", "", "ROUTE_CONFIGURATION", "", "REMOVE", ""), "REMOVE", patch("a", "", "CLUSTER", "cluster: {name: a}", "REMOVE", "")},
		{"WT0484", "IST0167", namespace("default", "istio.io/dataplane-mode: ambient") + object(networking, "Sidecar", "a", "egress: [{hosts: ['*/*']}]"), "name: a",
			namespace("default", "istio.io/dataplane-mode: ambient, istio-injection: enabled") + object(networking, "Sidecar", "a", "egress: [{hosts: ['*/*']}]")},
		{"WT0464", "IST0123", namespace("default", "istio.io/dataplane-mode: ambient, istio-injection: enabled"), "ambient",
			namespace("default", "istio.io/dataplane-mode: ambient, istio-injection: disabled")},
		{"WT0485", "IST0166", object(security, "AuthorizationPolicy", "p", "selector: {matchLabels: {gateway.networking.k8s.io/gateway-name: web}}, rules: [{}]"), "selector",
			object(security, "AuthorizationPolicy", "p", "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}], rules: [{}]")},
		{"WT0486", "IST0171", object("v1", "Service", "s", "ports: [{name: http, port: 1}]") + "apiVersion: v1\nkind: Service\nmetadata: {name: r}\nspec: {ports: [{name: http, port: 1}]}\n" +
			"status: {conditions: [{type: Bound, status: 'False', reason: NotFound, lastTransitionTime: '2024-01-01T00:00:00Z', message: no waypoint}]}\n", "Bound",
			"apiVersion: v1\nkind: Service\nmetadata: {name: r}\nspec: {ports: [{name: http, port: 1}]}\n" +
				"status: {conditions: [{type: Bound, status: 'True', reason: Found, lastTransitionTime: '2024-01-01T00:00:00Z', message: ''}]}\n"},
		{"WT0487", "IST0157", object(telemetry, "Telemetry", "t", "accessLogging: [{filter: {expression: 'response.code >= 400'}}]"), "filter",
			object(telemetry, "Telemetry", "t", "accessLogging: [{providers: [{name: envoy}]}]")},
		{"WT0406", "IST0101", object(telemetry, "Telemetry", "t", "selector: {matchLabels: {app: nobody}}, accessLogging: [{providers: [{name: envoy}]}]"), "nobody",
			object(telemetry, "Telemetry", "t", "selector: {matchLabels: {app: reviews}}, accessLogging: [{providers: [{name: envoy}]}]")},
		{"WT0406", "IST0127", object(security, "AuthorizationPolicy", "p", "selector: {matchLabels: {app: nobody}}, rules: [{}]"), "nobody",
			object(security, "AuthorizationPolicy", "p", "selector: {matchLabels: {app: reviews}}, rules: [{}]")},
		{"WT0490", "IST0127", strings.Replace(object(security, "AuthorizationPolicy", "p", "rules: [{}]"), "name: p", "name: p, namespace: empty", 1), "namespace: empty",
			object(security, "AuthorizationPolicy", "p", "rules: [{}]")},
		{"WT0463", "IST0101", object(security, "AuthorizationPolicy", "p", "rules: [{from: [{source: {notNamespaces: ['prod-*']}}]}]"), "prod-*",
			namespace("prod-a", "a: b") + object(security, "AuthorizationPolicy", "p", "rules: [{from: [{source: {notNamespaces: ['prod-*']}}]}]")},
		{"WT0488", "IST0101", annotatedObject("v1", "Service", "s", "networking.istio.io/exportTo", "elsewhere", "ports: [{name: http, port: 1}]") +
			object(networking, "VirtualService", "v", "hosts: [a.example], http: [{route: [{destination: {host: s}}]}]"), "host: s",
			annotatedObject("v1", "Service", "s", "networking.istio.io/exportTo", "elsewhere,.", "ports: [{name: http, port: 1}]") +
				object(networking, "VirtualService", "v", "hosts: [a.example], http: [{route: [{destination: {host: s}}]}]")},
		{"WT0489", "IST0101", object(security, "RequestAuthentication", "r", "jwtRules: [{issuer: a, jwksUri: 'http://keys.default.svc/jwks'}]"), "keys.default.svc",
			object(security, "RequestAuthentication", "r", "jwtRules: [{issuer: a, jwksUri: 'http://reviews.default.svc:9080/jwks'}]")},
		{"WT0491", "", object(networking, "VirtualService", "v", "http: [{"+to+"}]"), "name: v",
			object(networking, "VirtualService", "v", "http: [{"+to+"}]") + object(networking, "VirtualService", "root", "hosts: [reviews], http: [{delegate: {name: v}}]")},
		{"WT0492", "IST0101", object(networking, "Sidecar", "a", "egress: [{hosts: ['./review.default.svc.cluster.local']}]"), "review.default",
			object(networking, "Sidecar", "a", "egress: [{hosts: ['./reviews.default.svc.cluster.local', '*/*.example', '~/*']}]")},
		{"WT0493", "", object(security, "AuthorizationPolicy", "p", "rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/review]}}]}]"), "sa/review",
			object(security, "AuthorizationPolicy", "p", "rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/default]}}]}]")},
		{"WT0494", "IST0140", subsets + object(networking, "VirtualService", "in", "hosts: [a.example], gateways: [g], http: [{"+to+"}]") +
			object(networking, "VirtualService", "v", "hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]"), "name: in",
			subsets + object(networking, "VirtualService", "in", "hosts: [a.example], gateways: [g], http: [{route: [{destination: {host: reviews, subset: v1}}]}]") +
				object(networking, "VirtualService", "v", "hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]")},
		{"WT0409", "IST0173", strings.Replace(subsets, "labels: {app: reviews}", "labels: {version: v9}", 1) + object(networking, "VirtualService", "v", "hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]"), "version: v9",
			subsets + object(networking, "VirtualService", "v", "hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]")},
		{"WT0415", "IST0101", object(telemetry, "Telemetry", "t", "tracing: [{providers: [{name: nobody}]}]"), "nobody", object(telemetry, "Telemetry", "t", "tracing: [{disableSpanReporting: true}]")},
		{"WT0415", "IST0101", object(telemetry, "Telemetry", "t", "accessLogging: [{providers: [{name: nobody}]}]"), "nobody", object(telemetry, "Telemetry", "t", "accessLogging: [{providers: [{name: envoy}]}]")},
		{"WT0403", "IST0109", object(networking, "VirtualService", "a", "hosts: [reviews], exportTo: [x, y], http: [{"+to+"}]") + object(networking, "VirtualService", "b", "hosts: [reviews], exportTo: [y], http: [{"+to+"}]"), "name: b",
			object(networking, "VirtualService", "a", "hosts: [reviews], exportTo: [x], http: [{"+to+"}]") + object(networking, "VirtualService", "b", "hosts: [reviews], exportTo: [y], http: [{"+to+"}]")},
		{"WT0450", "IST0130", connection("tls", "{match: [{sniHosts: ['reviews'], port: 9080}], "+to+"}, {match: [{sniHosts: [reviews], port: 9080, sourceLabels: {a: b}}], "+to+"}"), "sourceLabels",
			connection("tls", "{match: [{sniHosts: ['reviews'], port: 9080, sourceLabels: {a: b}}], "+to+"}, {match: [{sniHosts: [reviews], port: 9080}], "+to+"}")},
		{"WT0451", "IST0131", connection("tcp", "{match: [{destinationSubnets: [10.0.0.0/8]}], "+to+"}, {match: [{destinationSubnets: [10.1.0.0/16]}, {port: 1}], "+to+"}"), "10.1.0.0/16",
			connection("tcp", "{match: [{destinationSubnets: [10.1.0.0/16]}], "+to+"}, {match: [{destinationSubnets: [10.0.0.0/8]}, {port: 1}], "+to+"}")},
		{"WT0451", "IST0131", routes("{match: [{uri: {prefix: /a}}, {uri: {prefix: /a/b}}], " + to + "}"), "/a/b", routes("{match: [{uri: {prefix: /a/b}}, {uri: {prefix: /c}}], " + to + "}")},
		{"WT0218", "IST0131", routes("{match: [{uri: {prefix: /a}}], " + to + "}, {match: [{uri: {prefix: /a}}, {uri: {prefix: /c}}], " + to + "}"), "prefix: /c",
			routes("{match: [{uri: {prefix: /a}}], " + to + "}, {match: [{uri: {prefix: /b}}, {uri: {prefix: /c}}], " + to + "}")},
	} {
		t.Run(c.code+" "+c.at, func(t *testing.T) {
			found := false
			for _, f := range analyzed(t, base+c.wrong) {
				at := strings.Contains(f.Excerpt, c.at) || c.at == "name: "+f.Object.Name
				found = found || f.Code == c.code && f.Istio == c.istio && at
			}
			if !found {
				t.Errorf("is not found in\n%s", c.wrong)
				for _, f := range analyzed(t, base+c.wrong) {
					t.Logf("%s %s %s %s %q", f.Position, f.Code, f.Istio, f.Message, f.Excerpt)
				}
			}
			for _, f := range analyzed(t, base+c.right) {
				if f.Code == c.code {
					t.Errorf("is found where all is well: %s %s", f.Message, f.Excerpt)
				}
			}
		})
	}
}

// TestRelativeToAnotherFilter: without a priority, what another EnvoyFilter brings may come too late.
func TestRelativeToAnotherFilter(t *testing.T) {
	filter := func(name, anchor, own string) string {
		return object("networking.istio.io/v1alpha3", "EnvoyFilter", name, "configPatches: [{applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {name: hcm, subFilter: {name: "+anchor+
			`}}}}}, patch: {operation: INSERT_BEFORE, value: {name: `+own+`, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}}}]`)
	}
	var got bytes.Buffer
	for _, f := range analyzed(t, base+filter("one", "envoy.filters.http.router", "first")+filter("two", "first", "second")) {
		fmt.Fprintln(&got, f.Severity, f.Code, f.Object.Name)
	}
	if want := "info WT0480 one\nwarning WT0480 two\n"; got.String() != want {
		t.Errorf("found %q, want %q", got.String(), want)
	}
}
