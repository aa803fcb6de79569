// Package windtunnel_test holds the house to its plan: imports point one way.
package windtunnel_test

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/windtunnel-mesh/windtunnel/"

// rule says what the packages below one path may not reach, directly or not.
type rule struct {
	from   string   // package path or prefix ending in /..., below the module
	never  []string // prefixes; those without a dot in the first element are the module's own
	reason string
}

var rules = []rule{
	{"mesh/config", []string{"mesh/store", "mesh/build", "mesh/model", "mesh/xds", "mesh/proxy", "sim", "scenarios"}, "config imports nothing of ours"},
	{"mesh/model", []string{"mesh/", "sim", "scenarios", "k8s.io/", "istio.io/", "google.golang.org/", "github.com/"}, "model imports the standard library only"},
	{"mesh/build", []string{"mesh/xds", "mesh/proxy", "sim", "scenarios"}, "build makes a model, no protos"},
	{"mesh/xds/translate", []string{"mesh/proxy", "mesh/config", "mesh/store", "mesh/build", "sim", "scenarios", "k8s.io/"}, "translate knows the model and the protos only"},
	{"mesh/xds/compile", []string{"mesh/model", "mesh/config", "mesh/store", "mesh/build", "sim", "k8s.io/"}, "compile knows the protos and the snapshot only"},
	{"mesh/proxy/...", []string{"mesh/model", "mesh/config", "mesh/store", "mesh/build", "mesh/kube", "mesh/xds", "sim", "scenarios", "k8s.io/", "istio.io/", "github.com/envoyproxy/"},
		"the proxy and the control plane meet only on the wire"},
	{"mesh/attributes", []string{"mesh/", "sim", "scenarios", "k8s.io/", "istio.io/", "github.com/envoyproxy/"}, "both planes share the expressions, and nothing behind them"},
	{"sim/collector", []string{"sim/", "scenarios", "mesh/"}, "spans come over the wire, whoever reports them"},
	{"mesh/analyze", []string{"mesh/xds", "mesh/proxy", "mesh/explain", "sim", "scenarios"}, "analyze knows the configuration and its model only"},
	{"mesh/diff", []string{"mesh/xds", "mesh/build", "mesh/model", "sim", "scenarios"}, "diff knows objects and explain's answers only"},
	{"mesh/kube", []string{"mesh/build", "mesh/model", "mesh/xds", "mesh/proxy", "sim", "scenarios"}, "a cluster is a source of objects, and a place for them"},
	{"mesh/webhook", []string{"mesh/kube", "mesh/model", "mesh/xds", "mesh/proxy", "sim", "scenarios", "k8s.io/client-go"}, "a webhook answers questions; it asks nobody"},
	{"mesh/incluster", []string{"mesh/proxy/router", "mesh/proxy/http1", "sim", "scenarios"}, "a place for the control plane"},
	{"mesh/install", []string{"mesh/proxy/router", "mesh/proxy/http1", "sim", "scenarios"}, "an installation is manifests"},
	{"live", []string{"sim/world", "sim/cluster", "sim/fabric", "mesh/meshd", "mesh/meshproxy", "mesh/build", "mesh/xds/translate", "mesh/xds/serve", "mesh/xds/client"},
		"a real cluster's world runs nothing of the mesh itself"},
	{"kind", []string{"mesh", "sim", "scenarios", "load"}, "kind makes clusters, whatever is in them"},
	{"mesh/xds/dump", []string{"mesh/model", "mesh/config", "mesh/store", "mesh/build", "mesh/kube", "sim", "scenarios", "k8s.io/"}, "a dump may be any proxy's"},
	{"mesh/meshd", []string{"k8s.io/client-go", "sim", "scenarios"}, "the control plane knows no cluster but by its Place"},
	{"mesh/explain", []string{"mesh/model", "mesh/config", "mesh/store", "mesh/build", "mesh/xds", "sim", "scenarios", "k8s.io/", "istio.io/"},
		"explain asks the data plane only"},
	{"mesh/meshproxy", []string{"mesh/model", "mesh/config", "mesh/store", "mesh/build", "sim", "scenarios", "k8s.io/"}, "the data plane is lean"},
	{"mesh/capture", []string{"mesh/", "sim", "k8s.io/", "github.com/", "golang.org/"}, "capture imports the standard library only"},
	{"mesh/capture/nft", []string{"mesh/proxy", "mesh/netx", "sim", "k8s.io/"}, "nft knows the rules and netlink only"},
	{"mesh/nameserver", []string{"mesh/model", "mesh/config", "mesh/store", "mesh/build", "mesh/xds", "mesh/kube", "sim", "scenarios", "k8s.io/", "istio.io/", "github.com/envoyproxy/"},
		"a name server knows its table and the network only"},
	{"mesh/xds/nds", []string{"mesh/model", "mesh/config", "mesh/store", "mesh/build", "mesh/proxy", "sim", "scenarios", "k8s.io/", "istio.io/"}, "a wire format is nobody's"},
	{"mesh/status", []string{"mesh/proxy", "mesh/model", "mesh/xds", "sim", "k8s.io/", "istio.io/"}, "status knows the network only"},
	{"load/remote", []string{"mesh/proxy/router", "mesh/model", "mesh/xds", "sim", "scenarios", "k8s.io/"}, "remote knows load and the network only"},
	{"workload", []string{"mesh/proxy/router", "mesh/proxy/engine", "mesh/model", "mesh/xds", "mesh/meshd", "mesh/meshproxy"}, "test workloads carry no mesh"},
	{"workload/fault", []string{"mesh", "sim", "scenarios", "load", "k8s.io/"}, "whoever breaks Pods knows no mesh"},
	{"mesh/...", []string{"github.com/prometheus/prometheus"}, "PromQL is the worlds', not the mesh's"},
	{"cmd/meshproxy", []string{"github.com/prometheus/prometheus"}, "only windtunnel carries Prometheus"},
	{"cmd/meshd", []string{"github.com/prometheus/prometheus"}, "only windtunnel carries Prometheus"},
	{"scenarios/...", []string{"github.com/prometheus/prometheus"}, "the engine knows worlds by its Env only"},
	{"sim/prometheus", []string{"sim/", "scenarios", "mesh/model", "mesh/xds", "mesh/meshproxy", "k8s.io/api/"}, "metrics come from registries, whoever's they are"},
	{"cmd/meshproxy", []string{"mesh/model", "mesh/config", "mesh/store", "sim", "scenarios", "k8s.io/", "testing/synctest"}, "the data plane is lean"},
	{"cmd/meshd", []string{"sim", "scenarios", "mesh/proxy/router", "mesh/proxy/http1", "testing/synctest"}, "the control plane carries no data plane and no scenarios"},
	{"sim/canary", []string{"sim/world", "sim/cluster", "sim/prometheus", "scenarios", "mesh/model", "mesh/xds", "mesh/proxy"}, "the canary controller sees a cluster by its interface"},
	{"scenarios/spec", []string{"mesh/", "sim", "scenarios/run", "k8s.io/", "istio.io/"}, "the format knows no worlds"},
	{"scenarios/run", []string{"mesh/", "sim", "load", "k8s.io/", "istio.io/"}, "the engine knows worlds by its Env only"},
	{"session", []string{"dashboard", "cli"}, "a session is shown by others"},
	{"dashboard", []string{"session", "cli"}, "the dashboard asks a mesh, whoever keeps it up"},
	{"bookinfo", []string{"sim", "scenarios", "mesh/proxy", "mesh/xds", "k8s.io/", "istio.io/"}, "bookinfo is plain http.Handlers"},
	{"reports/result", []string{"mesh/", "sim", "scenarios", "github.com/"}, "the schema imports the standard library only"},
}

func TestImportsPointOneWay(t *testing.T) {
	deps := dependencies(t)
	for _, r := range rules {
		found := false
		for pkg, imports := range deps {
			if !r.covers(strings.TrimPrefix(pkg, module)) {
				continue
			}
			found = true
			for _, dep := range imports {
				if name, bad := r.forbids(dep); bad && dep != pkg {
					t.Errorf("%s reaches %s: %s", strings.TrimPrefix(pkg, module), name, r.reason)
				}
			}
		}
		if !found {
			t.Errorf("no package matches the rule for %s", r.from)
		}
	}
}

func TestOnlyTheBubbleImportsSynctest(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if pkg, imports, _ := strings.Cut(line, " "); strings.Contains(imports, "testing/synctest") && pkg != module+"sim/bubble" {
			t.Errorf("%s imports testing/synctest: only sim/bubble may", pkg)
		}
	}
}

func TestOnlyKubeImportsClientGo(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}} {{join .TestImports \" \"}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if pkg, imports, _ := strings.Cut(line, " "); strings.Contains(" "+imports, " k8s.io/client-go/") && pkg != module+"mesh/kube" {
			t.Errorf("%s imports client-go: only mesh/kube may", pkg)
		}
	}
}

func (r rule) covers(pkg string) bool {
	if prefix, ok := strings.CutSuffix(r.from, "/..."); ok {
		return strings.HasPrefix(pkg, prefix+"/") || pkg == prefix
	}
	return pkg == r.from
}

func (r rule) forbids(dep string) (string, bool) {
	own, ours := strings.CutPrefix(dep, module)
	for _, never := range r.never {
		foreign := strings.Contains(strings.SplitN(never, "/", 2)[0], ".")
		if never == "testing/synctest" {
			foreign = true
		}
		if foreign && !ours && strings.HasPrefix(dep, never) {
			return dep, true
		}
		if !foreign && ours && (own == strings.TrimSuffix(never, "/") || strings.HasPrefix(own, strings.TrimSuffix(never, "/")+"/")) {
			return own, true
		}
	}
	return "", false
}

// dependencies maps each package of the module to all packages it reaches.
func dependencies(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Deps \" \"}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := make(map[string][]string)
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 0 {
			deps[words[0]] = words[1:]
		}
	}
	return deps
}
