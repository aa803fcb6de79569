package bench

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
)

// Matrix has the values of every parameter; a configuration is one of each.
type Matrix struct {
	Topologies  []Topology
	Proxies     []string // baseline, client, server, both, and Peers
	Connections []int
	Rates       []Rate
	MutualTLS   []bool
	Payloads    []int // bytes of an answer
	Policies    []int // AuthorizationPolicies that a request is held against
	AccessLog   []bool
	Stats       []bool   // Istio's metrics; nil: on
	Protocols   []string // http1, http2, grpc; nil: http1
	Request     Request
}

// The places of sidecars.
const (
	Baseline = "baseline" // none
	Client   = "client"
	Server   = "server"
	Both     = "both"
)

// The protocols of a load.
const (
	HTTP1 = "http1"
	HTTP2 = "http2"
	GRPC  = "grpc"
)

// cell is one configuration.
type cell struct {
	topology    Topology
	proxies     string
	connections int
	rate        Rate
	mtls        bool
	payload     int
	policies    int
	accessLog   bool
	noStats     bool
	protocol    string
	request     Request
}

// cells are all configurations that make sense, in a fixed order: a parameter of
// sidecars does not multiply configurations that have none.
func (m Matrix) cells() []cell {
	all := []cell{{protocol: HTTP1, request: m.Request}}
	all = vary(all, m.Topologies, func(c *cell, v Topology) { c.topology = v })
	if len(m.Protocols) > 0 {
		all = vary(all, m.Protocols, func(c *cell, v string) { c.protocol = v })
	}
	all = vary(all, m.Proxies, func(c *cell, v string) { c.proxies = v })
	all = vary(all, m.MutualTLS, func(c *cell, v bool) { c.mtls = v })
	all = vary(all, m.Policies, func(c *cell, v int) { c.policies = v })
	all = vary(all, m.AccessLog, func(c *cell, v bool) { c.accessLog = v })
	if len(m.Stats) > 0 {
		all = vary(all, m.Stats, func(c *cell, v bool) { c.noStats = !v })
	}
	all = vary(all, m.Payloads, func(c *cell, v int) { c.payload = v })
	all = vary(all, m.Connections, func(c *cell, v int) { c.connections = v })
	all = vary(all, m.Rates, func(c *cell, v Rate) { c.rate = v })
	seen := map[string]bool{}
	kept := all[:0]
	for _, c := range all {
		if c = c.normal(); !seen[c.name()] {
			seen[c.name()] = true
			kept = append(kept, c)
		}
	}
	return kept
}

// vary multiplies cells by the values of a parameter.
func vary[V any](cells []cell, values []V, set func(*cell, V)) []cell {
	all := make([]cell, 0, len(cells)*len(values))
	for _, c := range cells {
		for _, v := range values {
			set(&c, v)
			all = append(all, c)
		}
	}
	return all
}

// normal drops what has no effect: without a sidecar at both ends there is no mutual
// TLS, without one at the server no policy is asked, without any nothing is logged.
func (c cell) normal() cell {
	if c.proxies != Both {
		c.mtls = false
	}
	if c.proxies != Both && c.proxies != Server {
		c.policies = 0
	}
	if c.proxies == Baseline || isPeer(c.proxies) {
		c.accessLog, c.noStats = false, false
	}
	if !c.topology.generated() {
		c.mtls, c.policies, c.payload = false, 0, 0
		if c.topology.Kind == Scenario {
			c.protocol, c.request = "", Request{}
		}
	}
	return c
}

func (c cell) parameters() map[string]string {
	all := map[string]string{
		"topology": c.topology.String(), "proxies": c.proxies, "connections": strconv.Itoa(c.connections), "qps": c.rate.String(), "accesslog": onOff(c.accessLog),
	}
	if c.protocol != "" {
		all["protocol"] = c.protocol
	}
	if c.topology.generated() {
		all["mtls"], all["payload"], all["policies"] = onOff(c.mtls), strconv.Itoa(c.payload), strconv.Itoa(c.policies)
	}
	if c.noStats {
		all["stats"] = "off"
	}
	c.request.parameters(all)
	return all
}

// parameterOrder is how names write parameters.
var parameterOrder = []string{"topology", "protocol", "proxies", "mtls", "policies", "accesslog", "stats", "payload", "paths", "headers", "body", "connections", "qps", "jitter", "arrival"}

// parseCell is the cell behind parameters; a parameter that is missing or broken shows
// in its name.
func parseCell(parameters map[string]string) (cell, error) {
	c := cell{protocol: cmp.Or(parameters["protocol"], HTTP1), proxies: parameters["proxies"], mtls: parameters["mtls"] == "on", accessLog: parameters["accesslog"] == "on",
		noStats: parameters["stats"] == "off"}
	var errs [6]error
	c.topology, errs[0] = ParseTopology(parameters["topology"])
	c.connections, errs[1] = strconv.Atoi(parameters["connections"])
	if c.topology.generated() {
		c.payload, errs[2] = strconv.Atoi(parameters["payload"])
		c.policies, errs[3] = strconv.Atoi(parameters["policies"])
	}
	if parameters["objective"] == "" {
		c.rate, errs[4] = ParseRate(parameters["qps"])
	}
	c.request, errs[5] = parseRequest(parameters)
	return c.normal(), errors.Join(errs[:]...)
}

func (c cell) name() string { return c.named("load", c.parameters()) }

// searchName has no rate; the objective is a part of what is measured.
func (c cell) searchName(o *Objective) string {
	parameters := c.parameters()
	delete(parameters, "qps")
	return c.named("search", parameters) + "/objective=" + strings.ReplaceAll(strings.ReplaceAll(o.text, " ", ""), "/", "_")
}

func (c cell) named(suite string, parameters map[string]string) string {
	var b strings.Builder
	b.WriteString(suite)
	for _, key := range parameterOrder {
		if parameters[key] == "" || key == "protocol" && c.protocol == HTTP1 {
			continue // as it was before there was a choice: files and histories pair by names
		}
		b.WriteString("/" + key + "=" + inName.Replace(parameters[key]))
	}
	return b.String()
}

// inName takes out of a value what would cut a name, or a line.
var inName = strings.NewReplacer("/", "_", "\n", ";", " ", "")

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
