package bench

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/bookinfo"
	"github.com/windtunnel-mesh/windtunnel/load"
)

// Topology is who calls whom: the client calls the first service.
type Topology struct {
	Kind string // pair, chain, fan-out, bookinfo; scenario
	N    int    // services of a chain or a fan-out
	// File is a scenario's, whose resources are the world and whose load is what is
	// called; Name says which, where the file has several.
	File, Name string
}

// The kinds that are not generated.
const (
	Bookinfo = "bookinfo"
	Scenario = "scenario"
)

// ParseTopology reads "pair", "chain:3", "fan-out:4", "bookinfo", "FILE.yaml" and "FILE.yaml#NAME".
func ParseTopology(text string) (Topology, error) {
	if file, name, _ := strings.Cut(text, "#"); strings.HasSuffix(file, ".yaml") || strings.HasSuffix(file, ".yml") {
		return Topology{Kind: Scenario, File: file, Name: name}, nil
	}
	kind, count, counted := strings.Cut(text, ":")
	t := Topology{Kind: kind, N: 1}
	switch kind {
	case "pair", Bookinfo:
		if !counted {
			return t, nil
		}
	case "chain", "fan-out":
		n, err := strconv.Atoi(count)
		if err == nil && n >= 1 && n <= 50 {
			t.N = n
			return t, nil
		}
	}
	return t, fmt.Errorf("topology %q: expected pair, chain:N or fan-out:N (N from 1 to 50), bookinfo, or a scenario's FILE.yaml", text)
}

// String is the topology as ParseTopology reads it.
func (t Topology) String() string {
	switch {
	case t.Kind == "pair" || t.Kind == Bookinfo:
		return t.Kind
	case t.Kind == Scenario && t.Name != "":
		return t.File + "#" + t.Name
	case t.Kind == Scenario:
		return t.File
	}
	return t.Kind + ":" + strconv.Itoa(t.N)
}

// generated tells whether a topology has the services that the parameters of sidecars and
// answers are about.
func (t Topology) generated() bool { return t.Kind != Bookinfo && t.Kind != Scenario }

// calls are the services that service i calls, from 0.
func (t Topology) calls(i int) []int {
	switch {
	case t.Kind == "chain" && i+1 < t.N:
		return []int{i + 1}
	case t.Kind == "fan-out" && i == 0:
		all := make([]int, t.N)
		for j := range all {
			all[j] = j + 1
		}
		return all
	}
	return nil
}

// services is how many there are; a fan-out has one in front.
func (t Topology) services() int {
	switch t.Kind {
	case Bookinfo, Scenario:
		return 0
	case "fan-out":
		return t.N + 1
	}
	return t.N
}

const image = "windtunnel.dev/bench"

// manifest is a topology as a scenario: its resources, and what its image does.
func (c cell) manifest() string {
	var b strings.Builder
	workload(&b, "client", "load", c.proxies == Client || c.proxies == Both)
	behaviours := ""
	if c.topology.Kind == Bookinfo {
		b.Write(bookinfo.Manifest)
		b.WriteString("\n---\n")
	}
	for i := range c.topology.services() {
		name := fmt.Sprintf("service-%d", i)
		workload(&b, name, image+":"+strconv.Itoa(i), c.proxies == Server || c.proxies == Both)
		fmt.Fprintf(&b, "apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec:\n  selector: {app: %s}\n  ports: [{name: %s, port: 8080}]\n---\n", name, name, c.portName())
		if c.protocol == GRPC {
			behaviours += fmt.Sprintf("  - {image: \"%s:%d\", grpc: {}}\n", image, i)
			continue
		}
		behaviours += fmt.Sprintf("  - image: %s:%d\n    http: {status: 200, body: %q", image, i, strings.Repeat("x", c.payload))
		var calls []string
		for _, j := range c.topology.calls(i) {
			calls = append(calls, fmt.Sprintf(`{url: "http://service-%d:8080/"}`, j))
		}
		if len(calls) > 0 {
			behaviours += ", calls: [" + strings.Join(calls, ", ") + "]"
		}
		behaviours += "}\n"
	}
	c.rules(&b)
	fmt.Fprintf(&b, "apiVersion: windtunnel.dev/v1\nkind: Scenario\nmetadata: {name: bench}\nspec:\n  description: The world of a benchmark.\n")
	b.WriteString("  behaviours:\n  - {image: load, http: {status: 200}}\n" + behaviours)
	fmt.Fprintf(&b, "  steps:\n  - request: {from: client, url: \"http://service-0:8080/\"}\n    expect: ['ok()']\n")
	return b.String()
}

// portName says by its beginning what is spoken there.
func (c cell) portName() string {
	if c.protocol == HTTP1 {
		return "http"
	}
	return c.protocol
}

// target is what the client calls; a gRPC call asks for its answer's size.
func (c cell) target() load.Target {
	t := load.Target{Protocol: c.protocol, URL: "http://service-0:8080/"}
	if c.topology.Kind == Bookinfo {
		t.URL = "http://productpage:9080/productpage"
	}
	c.request.target(&t)
	if c.protocol == GRPC {
		t.URL += "grpc.testing.TestService/UnaryCall"
		t.Body = fmt.Appendf(nil, `{"responseSize": %d}`, c.payload)
	}
	return t
}

// rules are the mesh's own resources.
func (c cell) rules(b *strings.Builder) {
	if c.topology.generated() && c.proxies == Both && !c.mtls {
		b.WriteString("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: plain}\nspec:\n  host: \"*.default.svc.cluster.local\"\n  trafficPolicy: {tls: {mode: DISABLE}}\n---\n")
	}
	for i := range c.policies {
		path := fmt.Sprintf("/never/%d/*", i)
		if i == c.policies-1 {
			path = "/*" // the last one lets everything through: all are asked before it
		}
		fmt.Fprintf(b, "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: policy-%d}\nspec:\n  rules: [{to: [{operation: {paths: [%q]}}]}]\n---\n", i, path)
	}
}

// workload is a Deployment of one Pod.
func workload(b *strings.Builder, name, image string, sidecar bool) {
	fmt.Fprintf(b, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s}\nspec:\n  selector: {matchLabels: {app: %s}}\n  template:\n"+
		"    metadata: {labels: {app: %s, sidecar.istio.io/inject: \"%t\"}}\n"+
		"    spec: {containers: [{name: app, image: %q, ports: [{containerPort: 8080}]}]}\n---\n", name, name, name, sidecar, image)
}
