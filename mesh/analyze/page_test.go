package analyze

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

var update = flag.Bool("update", false, "write docs/ANALYZE.md")

// The page about findings is the table of codes; "make findings" writes it.
func TestPage(t *testing.T) {
	const file = "../../docs/ANALYZE.md"
	want := findingsPage()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("docs/ANALYZE.md is out of date: run make findings")
	}
}

const pageHead = `# What analyze finds

Made by ` + "`make findings`" + ` from the table of codes (mesh/config/codes.go, mesh/build/codes.go, mesh/analyze/codes.go).

` + "`windtunnel analyze PATH…`" + ` reads manifests and scenarios as one configuration, lets the simulator's cluster make Pods of the workloads, and tells all that is wrong
at once. Each finding has a place, ` + "`file:line:col`" + `, a code of its own, and that of istioctl analyze for the same situation where it has one. Findings that are worth
knowing and not wrong are told with ` + "`--info`" + `.

What a file leaves open is not held against it: selectors are looked at where there are workloads, Services of Gateways where there are Pods for them.

| code | istioctl | what it means |
| --- | --- | --- |
`

const pageRest = `
## Where the answers differ from istioctl's

* Of two objects that exclude each other (Gateways, Sidecars, Telemetries, VirtualServices, certificates, ServiceEntries) the finding stands at the later one, and names the
  other with its place. Of several Services of a workload it stands at the Service's port, not at the Deployment.
* IST0130 and IST0131 follow from what the matches mean (prefixes, expressions, headers, methods, ports, gateways, subnets, SNI), not from their being equal. A rule
  whose matches are all taken is IST0130 only.
* IST0132: a Gateway of the Gateway API takes no VirtualServices, whatever their hosts are: IST0101.
* IST0151 and IST0155 are told with ` + "`--info`" + `: what Istio itself brings is there before any EnvoyFilter. Where the filter that is meant is brought by another EnvoyFilter
  it is a warning.
* IST0153 and IST0154: HTTP_ROUTE has ADD and REMOVE, as in Istio's code.
* IST0166 and the credentialName of IST0128 and IST0129 are told with ` + "`--info`" + `: selectors find Gateways, and gateways read
  credentials.
* IST0157 is also told of a Telemetry that switches logs off and names no provider; not where a Telemetry of the namespace, or of the root namespace, names one.
* A VirtualService for some namespaces and one for all do not conflict (IST0109): the first holds where it is seen.

## What istioctl finds and analyze does not

| istioctl | why |
| --- | --- |
`

// elsewhere are istioctl's codes that say nothing about files, or not here.
var elsewhere = []struct{ code, why string }{
	{"IST0001", "a failure of istioctl itself"},
	{"IST0103", "about running Pods: here each Pod is made by the injector. `doctor` and `proxy-status` ask a cluster"},
	{"IST0126", "MeshNetworks are not supported: there is one cluster"},
	{"IST0139", "about the webhooks of a cluster"},
	{"IST0141", "about the rights of who asks a cluster"},
	{"IST0142", "about a cluster's version"},
	{"IST0143", "about the sockets of running applications"},
	{"IST0148", "an installation that injects everywhere is not supported"},
	{"IST0156", "the versions of the Gateway API that are read are the decoder's, WT0107"},
	{"IST0158", "about the images of running Pods"},
	{"IST0163", "an external control plane is not supported"},
	{"IST0164", "an external control plane is not supported"},
	{"IST0168", "about an upgrade of Istio"},
	{"IST0169", "about an upgrade of Istio"},
	{"IST0170", "about several clusters"},
	{"IST0172", "the versions of the Gateway API that are read are the decoder's, WT0107"},
	{"IST0175", "about istiod's environment"},
	{"IST0176", "about the definitions in a cluster"},
}

// findingsPage writes the tables as Markdown.
func findingsPage() string {
	var b strings.Builder
	b.WriteString(pageHead)
	codes := slices.Concat(config.Codes(), slices.Collect(maps.Keys(meanings)))
	slices.Sort(codes)
	for _, code := range slices.Compact(codes) {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", code, strings.Join(istioCodes(code), ", "), Meaning(code))
	}
	b.WriteString(pageRest)
	for _, e := range elsewhere {
		fmt.Fprintf(&b, "| %s | %s |\n", e.code, e.why)
	}
	return b.String()
}

// istioCodes are all of istioctl's that a code may have.
func istioCodes(code string) []string {
	var list []string
	for _, kind := range []string{"", "Sidecar"} {
		for _, severity := range []config.Severity{config.Error, config.Warning} {
			if istio := istioCode(config.Diagnostic{Code: code, Severity: severity, Object: config.Key{Kind: kind}}); istio != "" {
				list = append(list, istio)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// TestNoCodeOfIstioIsForgotten: each of istioctl's codes is one of ours, or has a reason.
func TestNoCodeOfIstioIsForgotten(t *testing.T) {
	have := map[string]int{}
	for _, e := range elsewhere {
		have[e.code]++
	}
	found := map[string]bool{}
	for _, code := range slices.Concat(config.Codes(), slices.Collect(maps.Keys(meanings))) {
		for _, istio := range istioCodes(code) {
			found[istio] = true
		}
	}
	for istio := range found {
		have[istio]++
	}
	numbers := []int{1, 2, 101, 102, 103, 106, 107, 108, 109, 110, 111, 112, 116, 118, 123}
	for n := 125; n <= 177; n++ { // the rest is without gaps
		numbers = append(numbers, n)
	}
	for _, n := range numbers {
		if code := fmt.Sprintf("IST%04d", n); have[code] != 1 {
			t.Errorf("%s stands %d times: it belongs into one of the two tables", code, have[code])
		}
	}
}
