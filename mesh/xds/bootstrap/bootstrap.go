// Package bootstrap reads the file that a proxy starts from, which is Envoy's
// bootstrap, and writes Envoy's config_dump.
//
// In: YAML or JSON, and overrides as given with --config-yaml. Out: who the proxy
// is, its admin address, its static resources, and where its control plane is.
// Fields that are unknown, or known and not supported, are errors with file, line
// and path; of the fields of the bootstrap itself only those pass unused that
// change nothing that this proxy does (statistics' flushing, watchdogs, logging).
// It must not open connections or read other files.
package bootstrap

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	bootstrappb "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Bootstrap is what a proxy starts from.
type Bootstrap struct {
	Node *corepb.Node
	// Admin is where the admin port listens; the zero value is nowhere.
	Admin netip.AddrPort
	// Static has the static listeners, clusters (with their endpoints) and secrets,
	// without the clusters that only carry xDS.
	Static resource.Set
	// Dynamic is nil for a proxy without a control plane.
	Dynamic *ADS
	// Proto is the whole, after the overrides.
	Proto *bootstrappb.Bootstrap
}

// Parse reads a bootstrap. Overrides are merged over it as Envoy merges
// --config-yaml: values replace, lists grow, messages are merged field by field.
// All problems are joined into the error, one line each.
func Parse(file string, data []byte, overrides ...[]byte) (*Bootstrap, error) {
	docs := make([]*document, 0, 1+len(overrides))
	merged := new(bootstrappb.Bootstrap)
	for i, text := range append([][]byte{data}, overrides...) {
		name := file
		if i > 0 {
			name = "--config-yaml"
		}
		doc, err := parseYAML(name, text)
		if err != nil {
			return nil, err
		}
		m := new(bootstrappb.Bootstrap)
		if err := doc.decode(m); err != nil {
			return nil, err
		}
		proto.Merge(merged, m)
		docs = append(docs, doc)
	}
	p := &parser{docs: docs, m: merged, b: &Bootstrap{Node: merged.GetNode(), Proto: merged, Static: resource.Set{}}}
	if p.b.Node == nil {
		p.b.Node = new(corepb.Node)
	}
	p.check("", merged.ProtoReflect(), understood)
	p.admin()
	p.runtime()
	carriers := p.dynamic()
	p.static(carriers)
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return p.b, nil
}

// parser is one run of Parse.
type parser struct {
	docs []*document
	m    *bootstrappb.Bootstrap
	b    *Bootstrap
	errs []error
}

// problem notes what is wrong at a path. Lists grow by merging, so an element that
// the file does not have comes from an override.
func (p *parser) problem(path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, d := range p.docs {
		if o, ok := d.place(path); ok {
			o.path = path
			p.errs = append(p.errs, located(d.file, o, text))
			return
		}
	}
	p.errs = append(p.errs, located(p.docs[0].file, origin{path: path}, text))
}

// understood lists the fields of the bootstrap's own messages that may be set;
// those of the resources in it are package compile's business.
var understood = map[protoreflect.FullName]string{
	"envoy.config.bootstrap.v3.Bootstrap": "node node_context_params static_resources dynamic_resources admin layered_runtime " +
		"stats_config stats_flush_interval stats_flush_on_admin watchdog watchdogs deferred_stat_options enable_dispatcher_stats flags_path " +
		"use_tcp_for_dns_lookups application_log_config memory_allocator_manager perf_tracing_file_path cluster_manager stats_server_version_override",
	"envoy.config.bootstrap.v3.Bootstrap.DynamicResources": "lds_config cds_config ads_config",
	"envoy.config.bootstrap.v3.Admin":                      "access_log access_log_path profile_path address",
	"envoy.config.bootstrap.v3.ClusterManager":             "",
	"envoy.config.core.v3.ApiConfigSource": "api_type transport_api_version grpc_services set_node_on_first_message_only request_timeout " +
		"refresh_delay",
	"envoy.config.core.v3.GrpcService":           "envoy_grpc timeout",
	"envoy.config.core.v3.GrpcService.EnvoyGrpc": "cluster_name",
	"envoy.config.core.v3.ConfigSource":          "ads api_config_source path path_config_source self initial_fetch_timeout resource_api_version",
}

// check refuses the fields of a message, and of those in it, that table does not list.
func (p *parser) check(path string, m protoreflect.Message, table map[protoreflect.FullName]string) {
	list, known := table[m.Descriptor().FullName()]
	if !known {
		return
	}
	accepted := strings.Fields(list)
	var set []protoreflect.FieldDescriptor
	m.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		set = append(set, f)
		return true
	})
	slices.SortFunc(set, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	for _, f := range set {
		here := f.JSONName()
		if path != "" {
			here = path + "." + here
		}
		switch {
		case !slices.Contains(accepted, string(f.Name())):
			p.problem(here, "not supported")
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range m.Get(f).List().Len() {
				p.check(fmt.Sprintf("%s[%d]", here, i), m.Get(f).List().Get(i).Message(), table)
			}
		default:
			p.check(here, m.Get(f).Message(), table)
		}
	}
}

func (p *parser) admin() {
	s := p.m.GetAdmin().GetAddress().GetSocketAddress()
	if s == nil {
		if p.m.GetAdmin().GetAddress() != nil {
			p.problem("admin.address", "only socketAddress is supported")
		}
		return
	}
	ip, err := netip.ParseAddr(s.GetAddress())
	if err != nil {
		p.problem("admin.address.socketAddress.address", "%q is not an IP address", s.GetAddress())
	}
	if s.GetPortValue() > 65535 {
		p.problem("admin.address.socketAddress.portValue", "%d is not a port", s.GetPortValue())
	}
	p.b.Admin = netip.AddrPortFrom(ip, uint16(s.GetPortValue()))
}

// static collects the static resources, but for the clusters that only carry xDS,
// and compiles them to see what is wrong with them.
func (p *parser) static(carriers map[string]bool) {
	s := p.m.GetStaticResources()
	index := map[resource.Type]map[string]int{resource.Listener: {}, resource.Cluster: {}, resource.Secret: {}}
	for i, l := range s.GetListeners() {
		if l.GetName() == "" {
			l.Name = fmt.Sprintf("listener_%d", i) // names are optional in a bootstrap
		}
		p.put(resource.Listener, "listeners", i, l, index)
	}
	for i, c := range s.GetClusters() {
		if carriers[c.GetName()] || onlyPipes(c) {
			continue
		}
		if c.GetType() == clusterpb.Cluster_EDS && !resource.OverADS(c.GetEdsClusterConfig().GetEdsConfig()) {
			p.problem(fmt.Sprintf("staticResources.clusters[%d].edsClusterConfig", i), "only ads is supported")
			continue
		}
		p.put(resource.Cluster, "clusters", i, c, index)
	}
	for i, c := range s.GetSecrets() {
		p.put(resource.Secret, "secrets", i, c, index)
	}
	c := compile.NewCompiler()
	c.ReadFile = func(string) ([]byte, error) { return []byte{}, nil } // whether they can be read is seen at the start
	_, err := c.Compile(p.b.Static)
	p.compileProblems(err, index)
}

func (p *parser) put(t resource.Type, field string, i int, m proto.Message, index map[resource.Type]map[string]int) {
	path := fmt.Sprintf("staticResources.%s[%d]", field, i)
	name := resource.NameOf(m)
	if first, taken := index[t][name]; taken {
		p.problem(path+".name", "%q is the name of staticResources.%s[%d] already", name, field, first)
		return
	}
	index[t][name] = i
	r, err := resource.New(name, m)
	if err != nil {
		p.problem(path, "%v", err)
		return
	}
	p.b.Static.Put(t, r)
}

// compileProblems gives the problems of resources their places in the file.
func (p *parser) compileProblems(err error, index map[resource.Type]map[string]int) {
	if err == nil {
		return
	}
	problems := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		problems = joined.Unwrap()
	}
	lists := map[resource.Type]string{resource.Listener: "listeners", resource.Cluster: "clusters", resource.Secret: "secrets"}
	for _, e := range problems {
		var problem *compile.Problem
		if !errors.As(e, &problem) {
			p.errs = append(p.errs, fmt.Errorf("%s: %w", p.docs[0].file, e))
			continue
		}
		path := fmt.Sprintf("staticResources.%s[%d]", lists[problem.Type], index[problem.Type][problem.Name])
		if problem.Path != "" {
			path += "." + problem.Path
		}
		p.problem(path, "%s", problem.Text)
	}
}

// onlyPipes tells whether a cluster's endpoints are all Unix sockets: such clusters
// carry SDS from a local agent, which this proxy does itself.
func onlyPipes(c *clusterpb.Cluster) bool {
	n := 0
	for _, l := range c.GetLoadAssignment().GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			if e.GetEndpoint().GetAddress().GetPipe() == nil {
				return false
			}
			n++
		}
	}
	return n > 0
}
