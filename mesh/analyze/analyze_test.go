package analyze_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/analyze"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

const base = `apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{name: http, port: 9080}], selector: {app: reviews}}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-v1, labels: {app: reviews, security.istio.io/tlsMode: istio}}
spec: {containers: [{name: reviews, image: reviews}]}
status: {podIP: 10.0.0.1, phase: Running, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Service
metadata: {name: ingress}
spec: {ports: [{name: http, port: 80, targetPort: 8080}], selector: {istio: ingressgateway}}
---
apiVersion: v1
kind: Pod
metadata: {name: ingress, labels: {istio: ingressgateway}}
spec: {containers: [{name: proxy, image: proxy}]}
status: {podIP: 10.0.0.2, phase: Running, conditions: [{type: Ready, status: "True"}]}
---
`

func object(apiVersion, kind, name, spec string) string {
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s}\nspec: {%s}\n---\n", apiVersion, kind, name, spec)
}

func routes(rules string) string {
	return object("networking.istio.io/v1", "VirtualService", "v", "hosts: [reviews], http: ["+rules+"]")
}

func analyzed(t *testing.T, text string) []analyze.Finding {
	t.Helper()
	objects, found := config.Decode("f.yaml", 1, []byte(text))
	return analyze.Analyze(analyze.Input{View: store.NewView(objects...), Found: found})
}

func TestFindings(t *testing.T) {
	const to = "route: [{destination: {host: reviews}}]"
	gateway := func(name, server string) string {
		return object("networking.istio.io/v1", "Gateway", name, "selector: {istio: ingressgateway}, servers: [{"+server+"}]")
	}
	entry := func(name, ports string) string {
		return object("networking.istio.io/v1", "ServiceEntry", name, "hosts: [db.example], ports: ["+ports+"], resolution: STATIC, endpoints: [{address: 1.2.3.4}]")
	}
	for _, c := range []struct{ name, yaml, want string }{
		{"nothing", routes("{match: [{uri: {exact: /a}}], " + to + "}, {match: [{uri: {prefix: /a}}], " + to + "}, {" + to + "}"), ""},
		{"shadowed rule", routes("{match: [{uri: {prefix: /a}}], " + to + "}, {match: [{uri: {exact: /a/b}}], " + to + "}"),
			"warning WT0450 IST0130 spec.http[0].match[0]"},
		{"shadowed match", routes("{match: [{uri: {prefix: /a}}], " + to + "}, {match: [{uri: {exact: /a/b}}, {uri: {exact: /c}}], " + to + "}"),
			"warning WT0451 IST0131 spec.http[0].match[0]"},
		{"told by decoding", routes("{" + to + "}, {match: [{uri: {exact: /a/b}}], " + to + "}"), "warning WT0211 IST0130 takes every request"},
		{"unknown host", routes("{route: [{destination: {host: nobody}}]}"), "warning WT0401 IST0101 nobody"},
		{"unknown field", object("networking.istio.io/v1", "VirtualService", "v", "hosts: [reviews], htp: []"), "error WT0101 IST0106 htp"},
		{"gateways", gateway("a", "port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]") +
			gateway("b", "port: {number: 80, name: http, protocol: HTTP}, hosts: [b.example, a.example]"), "error WT0452 IST0145 default/a"},
		{"gateway's port", gateway("a", "port: {number: 81, name: http, protocol: HTTP}, hosts: [a.example]"), "warning WT0453 IST0162 81"},
		{"two protocols", "apiVersion: v1\nkind: Service\nmetadata: {name: unlike}\nspec: {ports: [{name: tcp, port: 9080}], selector: {app: reviews}}\n",
			"warning WT0454 IST0116 tcp"},
		{"port name", object("v1", "Service", "s", "ports: [{name: web, port: 1}], selector: {app: x}"), "info WT0456 IST0118 web"},
		{"entry for TCP", entry("a", "{number: 1, name: tcp, protocol: TCP}"), "warning WT0457 IST0134 TCP"},
		{"entry's protocol", entry("a", "{number: 1, name: http, protocol: HTTP}") + entry("b", "{number: 1, name: http2, protocol: HTTP2}"),
			"warning WT0458 IST0177 HTTP2"},
		{"two sidecars", object("networking.istio.io/v1", "Sidecar", "a", "egress: [{hosts: ['*/*']}]") + object("networking.istio.io/v1", "Sidecar", "b", "egress: [{hosts: ['*/*']}]"),
			"error WT0475 IST0111 default/a"},
		{"two telemetries", object("telemetry.istio.io/v1", "Telemetry", "a", "accessLogging: [{providers: [{name: envoy}]}]") +
			object("telemetry.istio.io/v1", "Telemetry", "b", "accessLogging: [{providers: [{name: envoy}]}]"), "error WT0476 IST0160 default/a"},
		{"TLS to anybody", object("networking.istio.io/v1", "DestinationRule", "d", "host: reviews, trafficPolicy: {portLevelSettings: [{port: {number: 9080}, tls: {mode: SIMPLE}}]}"),
			"warning WT0477 IST0129 SIMPLE"},
		{"plaintext to strict servers", object("networking.istio.io/v1", "DestinationRule", "d", "host: reviews, trafficPolicy: {tls: {mode: DISABLE}}") +
			object("security.istio.io/v1", "PeerAuthentication", "p", "mtls: {mode: STRICT}"), "warning WT0462  503"},
		{"namespace of a policy", object("security.istio.io/v1", "AuthorizationPolicy", "p", "rules: [{from: [{source: {namespaces: [elsewhere]}}]}]"),
			"warning WT0463 IST0101 elsewhere"},
		{"injection", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, labels: {istio-injection: enabled, istio.io/rev: a}}\n", "warning WT0464 IST0123 istio.io/rev"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, f := range analyzed(t, base+c.yaml) {
				got = append(got, fmt.Sprintf("%s %s %s %s", f.Severity, f.Code, f.Istio, f.Message))
				if f.Position.Line <= strings.Count(base, "\n") || f.Position.Col == 0 || f.Excerpt == "" {
					t.Errorf("%s is at %s", f.Message, f.Position)
				}
				if analyze.Meaning(f.Code) == "" {
					t.Errorf("%s has no meaning", f.Code)
				}
			}
			words := strings.Fields(c.want)
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], strings.Join(words[:2], " ")) ||
				strings.Count(c.want, "  ") == 0 && !strings.Contains(got[0], " "+words[2]+" ") || !strings.Contains(got[0], words[len(words)-1])) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestSARIF: the parts without which code hosts refuse a log (SARIF 2.1.0, 3.13 to 3.30).
func TestSARIF(t *testing.T) {
	var b bytes.Buffer
	if err := analyze.SARIF(&b, analyzed(t, base+routes("{route: [{destination: {host: nobody}}]}")), "v1"); err != nil {
		t.Fatal(err)
	}
	var log struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct{ ID string }
				}
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine, StartColumn int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || len(log.Runs) != 1 || log.Runs[0].Tool.Driver.Name != "windtunnel" || len(log.Runs[0].Results) != 1 {
		t.Fatalf("%s", b.String())
	}
	r := log.Runs[0].Results[0]
	at := r.Locations[0].PhysicalLocation
	if r.RuleID != "WT0401" || log.Runs[0].Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.Level != "warning" || r.Message.Text == "" ||
		at.ArtifactLocation.URI != "f.yaml" || at.Region.StartLine != strings.Count(base, "\n")+4 || at.Region.StartColumn == 0 {
		t.Errorf("%+v", r)
	}
}
