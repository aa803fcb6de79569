package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	meshpb "istio.io/api/mesh/v1alpha1"
	networkingpb "istio.io/api/networking/v1alpha3"
)

// DefaultMeshConfig returns the mesh configuration of an Istio that was told nothing.
// What the control plane or Envoy fill in themselves is left unset: the sampling of
// traces (1 %), the length of path tags (256), the retry policy, path normalization.
func DefaultMeshConfig() *meshpb.MeshConfig {
	return &meshpb.MeshConfig{
		ProxyListenPort:                15001,
		ProxyInboundListenPort:         15006,
		ConnectTimeout:                 durationpb.New(10 * time.Second),
		ProtocolDetectionTimeout:       durationpb.New(0),
		IngressClass:                   "istio",
		IngressService:                 "istio-ingressgateway",
		IngressControllerMode:          meshpb.MeshConfig_STRICT,
		RootNamespace:                  "istio-system",
		TrustDomain:                    "cluster.local",
		EnableAutoMtls:                 wrapperspb.Bool(true),
		EnableTracing:                  true,
		OutboundTrafficPolicy:          &meshpb.MeshConfig_OutboundTrafficPolicy{Mode: meshpb.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY},
		InboundTrafficPolicy:           &meshpb.MeshConfig_InboundTrafficPolicy{Mode: meshpb.MeshConfig_InboundTrafficPolicy_PASSTHROUGH},
		LocalityLbSetting:              &networkingpb.LocalityLoadBalancerSetting{Enabled: wrapperspb.Bool(true)},
		DnsRefreshRate:                 durationpb.New(60 * time.Second),
		DefaultServiceExportTo:         []string{"*"},
		DefaultVirtualServiceExportTo:  []string{"*"},
		DefaultDestinationRuleExportTo: []string{"*"},
		EnablePrometheusMerge:          wrapperspb.Bool(true),
		AccessLogEncoding:              meshpb.MeshConfig_TEXT,
		DefaultProviders:               &meshpb.MeshConfig_DefaultProviders{},
		ExtensionProviders:             defaultProviders(),
		H2UpgradePolicy:                meshpb.MeshConfig_DO_NOT_UPGRADE,
		MeshMTLS:                       &meshpb.MeshConfig_TLSConfig{MinProtocolVersion: meshpb.MeshConfig_TLSConfig_TLSV1_2},
		DefaultConfig:                  defaultProxyConfig(),
	}
}

func defaultProxyConfig() *meshpb.ProxyConfig {
	return &meshpb.ProxyConfig{
		ConfigPath:               "./etc/istio/proxy",
		DrainDuration:            durationpb.New(45 * time.Second),
		TerminationDrainDuration: durationpb.New(5 * time.Second),
		ProxyAdminPort:           15000,
		DiscoveryAddress:         "istiod.istio-system.svc:15012",
		StatusPort:               15020,
		StatNameLength:           189,
		InterceptionMode:         meshpb.ProxyConfig_REDIRECT,
	}
}

func defaultProviders() []*meshpb.MeshConfig_ExtensionProvider {
	return []*meshpb.MeshConfig_ExtensionProvider{
		{Name: "prometheus", Provider: &meshpb.MeshConfig_ExtensionProvider_Prometheus{
			Prometheus: &meshpb.MeshConfig_ExtensionProvider_PrometheusMetricsProvider{}}},
		{Name: "stackdriver", Provider: &meshpb.MeshConfig_ExtensionProvider_Stackdriver{
			Stackdriver: &meshpb.MeshConfig_ExtensionProvider_StackdriverProvider{}}},
		{Name: "envoy", Provider: &meshpb.MeshConfig_ExtensionProvider_EnvoyFileAccessLog{
			EnvoyFileAccessLog: &meshpb.MeshConfig_ExtensionProvider_EnvoyFileAccessLogProvider{Path: "/dev/stdout"}}},
	}
}

// DecodeMeshConfig reads a mesh configuration over the defaults, as strictly as Decode.
// It returns nil where there is an error. A field that is written replaces the
// default, with the exceptions that Istio makes: defaultConfig and defaultProviders
// are merged field by field and proxyMetadata key by key, extensionProviders by name.
func DecodeMeshConfig(file string, firstLine int, data []byte) (*meshpb.MeshConfig, []Diagnostic) {
	config := DefaultMeshConfig()
	diags := single(file, firstLine, data, "a mesh configuration", func(d *document, n *yaml.Node) {
		d.key = Key{Kind: "MeshConfig"}
		if written := d.meshConfig(n, ""); written != nil && !d.failed() {
			config = written
		}
	})
	if failed(diags) {
		return nil, diags
	}
	return config, diags
}

// single reads a text that is one document, and no object.
func single(file string, firstLine int, data []byte, what string, read func(*document, *yaml.Node)) []Diagnostic {
	var diags []Diagnostic
	found := false
	for _, c := range split(firstLine, data) {
		if c.blank() {
			continue
		}
		d := &document{schemas: newSchemas(), file: file, chunk: c, at: make(map[string]Position)}
		nodes, err := c.parse()
		for _, n := range nodes {
			if found {
				d.errorf(CodeNotAnObject, n, "", "%s is one document, and this is another", what)
				break
			}
			found = true
			read(d, n)
		}
		diags = append(diags, d.diags...)
		if err != nil {
			diags = append(diags, c.syntaxError(file, err))
		}
	}
	inOrder(diags)
	return diags
}

func failed(diags []Diagnostic) bool {
	return slices.ContainsFunc(diags, func(f Diagnostic) bool { return f.Severity == Error })
}

// meshConfig reads a mesh configuration over the defaults; nil where it has an error.
func (d *document) meshConfig(n *yaml.Node, path string) *meshpb.MeshConfig {
	config := DefaultMeshConfig()
	tree, ok := d.message(n, config.ProtoReflect().Descriptor(), path)
	d.emptied(tree, join(path, "defaultConfig"))
	if d.failed() {
		return nil
	}
	if !ok {
		return config
	}
	var written meshpb.MeshConfig
	if err := assign(tree, &written); err != nil {
		d.errorf(CodeFormat, n, "", "%v", err)
		return nil
	}
	overlay(config.ProtoReflect(), written.ProtoReflect(), tree.(map[string]any))
	return config
}

// needed are the fields of defaultConfig that proxies cannot do without: Istio's validation
// refuses a configuration in which somebody has emptied one.
var needed = []string{"binaryPath", "configPath", "discoveryAddress", "drainDuration", "proxyAdminPort", "serviceCluster", "statusPort"}

// emptied reports those of them that are written, and written as nothing.
func (d *document) emptied(tree any, path string) {
	mesh, _ := tree.(map[string]any)
	written, _ := mesh["defaultConfig"].(map[string]any)
	for _, name := range needed {
		value, ok := written[name]
		if !ok || value != "" && value != json.Number("0") && value != seconds(0) {
			continue
		}
		at := d.at[join(path, name)]
		d.diags = append(d.diags, Diagnostic{Severity: Error, Code: CodeValue, Object: d.key, Path: join(path, name), Position: at,
			Message: join(path, name) + ": proxies cannot do without it", Hint: "leave it out: the default holds",
			Excerpt: excerpt(d.chunk.lines, d.chunk.first, at.Line)})
	}
}

// merged are the message fields of the mesh configuration that are merged field by
// field where others replace the default.
var merged = map[protoreflect.FullName]bool{
	"istio.mesh.v1alpha1.MeshConfig.default_config":    true,
	"istio.mesh.v1alpha1.MeshConfig.default_providers": true,
}

// overlay sets in a message the fields that are in tree, explicit zeros included.
func overlay(base, written protoreflect.Message, tree map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		fd := base.Descriptor().Fields().ByJSONName(name)
		switch {
		case merged[fd.FullName()] && base.Has(fd):
			overlay(base.Mutable(fd).Message(), written.Get(fd).Message(), tree[name].(map[string]any))
		case fd.FullName() == "istio.mesh.v1alpha1.MeshConfig.extension_providers":
			overlayProviders(base.Mutable(fd).List(), written.Get(fd).List())
		case fd.IsMap() && base.Has(fd):
			into := base.Mutable(fd).Map()
			written.Get(fd).Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				into.Set(k, v)
				return true
			})
		case !written.Has(fd):
			base.Clear(fd)
		default:
			base.Set(fd, written.Get(fd))
		}
	}
}

// overlayProviders replaces providers by name and appends new ones.
func overlayProviders(base, written protoreflect.List) {
	for i := range written.Len() {
		p := written.Get(i).Message().Interface().(*meshpb.MeshConfig_ExtensionProvider)
		at := 0
		for at < base.Len() && base.Get(at).Message().Interface().(*meshpb.MeshConfig_ExtensionProvider).GetName() != p.GetName() {
			at++
		}
		v := protoreflect.ValueOfMessage(proto.Clone(p).ProtoReflect())
		if at < base.Len() {
			base.Set(at, v)
		} else {
			base.Append(v)
		}
	}
}

// operatorFields are the fields of an IstioOperator's spec.
var operatorFields = []string{"profile", "installPackagePath", "hub", "tag", "resourceSuffix", "namespace", "revision",
	"defaultRevision", "meshConfig", "components", "addonComponents", "values", "unvalidatedValues", "compatibilityVersion"}

// operator decodes an IstioOperator. Everything but its meshConfig says how to install
// Istio, which has no meaning here: that is a warning.
func (d *document) operator(n *yaml.Node, h *head, raw []byte) *Object {
	value := &IstioOperator{MeshConfig: DefaultMeshConfig()}
	var ignored []string
	for _, p := range d.pairs(n, "") {
		d.mark(p.name, p.key, p.value)
		switch p.name {
		case "apiVersion", "kind", "status":
		case "metadata":
			d.anything(p.value, "metadata")
		case "spec":
			ignored = d.operatorSpec(p.value, value)
		default:
			d.unknown(p, "", "IstioOperator", []string{"metadata", "spec", "status"})
		}
	}
	if d.failed() {
		return nil
	}
	what := "only spec.meshConfig of an IstioOperator is used"
	if len(ignored) > 0 {
		what += fmt.Sprintf("; %s has no effect", strings.Join(ignored, ", "))
	}
	d.report(Warning, CodeIgnoredFields, h.kindNode, "", "%s", what)
	return d.finish(n, h, raw, value)
}

func (d *document) operatorSpec(n *yaml.Node, value *IstioOperator) (ignored []string) {
	n = d.enter(n, "spec")
	if n == nil {
		return nil
	}
	defer d.leave()
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, "spec", "a mapping", "")
		return nil
	}
	for _, p := range d.pairs(n, "spec") {
		at := join("spec", p.name)
		d.mark(at, p.key, p.value)
		switch {
		case p.name == "meshConfig":
			value.MeshConfig = d.meshConfig(p.value, at)
		case slices.Contains(operatorFields, p.name):
			d.anything(p.value, at)
			ignored = append(ignored, at)
		default:
			d.unknown(p, "spec", "IstioOperatorSpec", operatorFields)
		}
	}
	return ignored
}
