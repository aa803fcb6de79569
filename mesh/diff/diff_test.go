package diff

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/explain"
)

const objects = `apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{name: http, port: 9080}], selector: {app: reviews}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: c}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [reviews, books.example]
  gateways: [g, mesh]
  http:
  - match:
    - {uri: {prefix: /a/}, headers: {user: {exact: jason}}, queryParams: {q: {regex: "v[0-9]+"}}, withoutHeaders: {skip: {}}}
    route: [{destination: {host: reviews}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p}
spec: {rules: [{to: [{operation: {methods: [DELETE], paths: [/admin*]}}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: api}
spec:
  gatewayClassName: istio
  listeners:
  - {name: http, port: 8080, protocol: HTTP, hostname: "*.shop.example"}
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: api, sectionName: http}, {group: "", kind: Service, name: reviews, port: 9080}]
  rules:
  - matches: [{path: {value: /cart}, method: POST, headers: [{name: User, type: RegularExpression, value: "j.+"}], queryParams: [{name: q, value: "1"}]}]
    backendRefs: [{name: reviews, port: 9080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: r}
spec:
  parentRefs: [{name: api}]
  hostnames: [grpc.shop.example]
  rules:
  - matches: [{method: {service: shop.Cart, method: Add}}]
    backendRefs: [{name: reviews, port: 9080}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i}
spec:
  tls: [{hosts: [old.example], secretName: c}]
  rules:
  - host: old.example
    http:
      paths:
      - {path: /old, pathType: Prefix, backend: {service: {name: reviews, port: {number: 9080}}}}
      - {path: /wild/*, pathType: ImplementationSpecific, backend: {service: {name: reviews, port: {number: 9080}}}}
`

// Probes have each match, each of its boundaries, and what policies ask for.
func TestProbes(t *testing.T) {
	list, found := config.Decode("f.yaml", 1, []byte(objects))
	if len(found) > 0 {
		t.Fatal(found)
	}
	probes, err := Probes(list)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range probes {
		got = append(got, p.key())
	}
	for _, want := range []string{
		"false GET http://reviews.default:9080/",
		"false GET http://reviews.default:9080/a/?q=v0 user: jason",
		"false GET http://reviews.default:9080/a/x?q=v0 user: jason",
		"false GET http://reviews.default:9080/a?q=v0 user: jason",   // the prefix without its end
		"false GET http://reviews.default:9080/a/ user: jason",       // without the parameter
		"false GET http://reviews.default:9080/a/?q=v0",              // without the header
		"false GET http://reviews.default:9080/a/?q=v0 user: jasonx", // with another value
		"false GET http://reviews.default:9080/a/?q=v0 skip: x user: jason",
		"false DELETE http://reviews.default:9080/adminx",
		"false GET http://reviews.default:9080/adminx",
		"true GET https://books.example/a/?q=v0 user: jason",
		"true POST http://any.shop.example:8080/cart?q=1 user: jx",
		"true POST http://any.shop.example:8080/cart/x?q=1 user: jx", // below the prefix
		"true POST http://any.shop.example:8080/cartx?q=1 user: jx",  // not below it
		"true POST http://any.shop.example:8080/cart user: jx",       // without the parameter
		"true PUT http://any.shop.example:8080/cart?q=1 user: jx",
		"false POST http://reviews.default:9080/cart?q=1 user: jx", // a Service is the parent
		"true POST http://grpc.shop.example:8080/shop.Cart/Add content-type: application/grpc",
		"true POST https://grpc.shop.example/shop.Cart/Add content-type: application/grpc",
		"true POST https://grpc.shop.example/shop.Cart/Addx content-type: application/grpc",
		"true GET http://old.example/old",
		"true GET https://old.example/old/x",
		"true GET http://old.example/oldx", // not below it
		"true GET http://old.example/wild/x",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not asked, of\n%s", want, strings.Join(got, "\n"))
		}
	}
	if !slices.IsSorted(got) {
		t.Error("the order is not that of the text")
	}
}

func TestExamplesMatch(t *testing.T) {
	for _, expression := range []string{"a+b", "/(x|y)/[0-9]{3}", ".*jason.*", "[^a-c]+", "(?i)Jason", "v[0-9]+(beta)?", "^.*?(;)?(user=jason)(;.*)?$", `\d+\.\d+`} {
		text, ok := example(expression)
		if !ok || !regexp.MustCompile(`\A(?:`+expression+`)\z`).MatchString(text) {
			t.Errorf("%s: %q does not match", expression, text)
		}
	}
	if text, ok := example(`[\x00-\x01]`); ok {
		t.Errorf("%q is an example that no header can have", text)
	}
}

func TestReportGathersClients(t *testing.T) {
	old := &explain.Way{Workloads: []string{"a"}, Hops: []*explain.Hop{{Timeout: 1.5}}}
	new := &explain.Way{Workloads: []string{"a"}, Status: 403, Hops: []*explain.Hop{{Policies: []explain.Policy{{Name: "ns[d]-policy[p]-rule[0]"}}}}}
	r := &Report{}
	for _, from := range []string{"x", "y"} {
		r.Add(Probe{Method: "GET", URL: "http://a/"}, from, Compare(old, new))
	}
	r.Add(Probe{Method: "GET", URL: "http://a/"}, "z", Compare(old, old))
	want := []Difference{{"answer", "of a", "403"}, {"timeout", "1.5s", ""}, {"authorization", "", "turned away by ns[d]-policy[p]-rule[0]"}}
	if r.Requests != 3 || len(r.Changes) != 1 || !slices.Equal(r.Changes[0].From, []string{"x", "y"}) || !slices.Equal(r.Changes[0].Differences, want) {
		t.Errorf("%+v", r)
	}
}

// Tokens are those of the issuers' rules: their claims, their place, and who takes them.
func TestTokens(t *testing.T) {
	const text = `apiVersion: v1
kind: Service
metadata: {name: a}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: r}
spec:
  jwtRules:
  - {issuer: one, audiences: [books], fromParams: [token]}
  - {issuer: two, fromCookies: [session]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p}
spec:
  rules:
  - from: [{source: {requestPrincipals: [two/ann]}}]
  - when: [{key: "request.auth.claims[a][b]", values: ["v*"]}, {key: request.auth.presenter, values: [app]}]
`
	list, found := config.Decode("f.yaml", 1, []byte(text))
	if len(found) > 0 {
		t.Fatal(found)
	}
	probes, err := Probes(list)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, p := range probes {
		if p.Token != nil {
			got[p.Token.key()] = true
			if text, err := p.Token.Signed(); err != nil || strings.Count(text, ".") != 2 {
				t.Errorf("%q, %v", text, err)
			}
		}
	}
	for want, is := range map[string]bool{
		`{"aud":"books","iss":"one","sub":"x"} "authorization" "Bearer " "token"`:                            true,
		`{"iss":"two","sub":"ann"} "cookie" "session=" ""`:                                                   true,
		`{"aud":"books","iss":"two","sub":"ann"} "authorization" "Bearer " "token"`:                          false, // another issuer's
		`{"a":{"b":"vx"},"aud":"books","azp":"app","iss":"one","sub":"x"} "authorization" "Bearer " "token"`: true,
		`{"a":{"b":"vxx"},"azp":"app","iss":"two","sub":"x"} "cookie" "session=" ""`:                         true,
		`{"azp":"app","iss":"two","sub":"x"} "cookie" "session=" ""`:                                         true, // one claim less
		`{"iss":"https://unknown.invalid","sub":"x"} "cookie" "session=" ""`:                                 true,
	} {
		if got[want] != is {
			t.Errorf("%s: %v, want %v, of\n%v", want, got[want], is, got)
		}
	}
}
