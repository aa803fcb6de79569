package build

import (
	"fmt"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// virtualServices reads routes. Those without hosts are delegates, and only serve
// those that delegate to them.
func (b *builder) virtualServices() {
	for _, o := range oldestFirst(b.view.Of("VirtualService")) {
		vs, ok := o.Value.(*networkingv1.VirtualService)
		if !ok || len(vs.Spec.GetHosts()) == 0 {
			continue
		}
		b.addVirtualService(o, &vs.Spec)
	}
	b.conflicts()
}

func (b *builder) addVirtualService(o *config.Object, spec *networkingpb.VirtualService) {
	v := &model.VirtualService{
		Name: o.Name, Namespace: o.Namespace,
		Export:  visibility(spec.GetExportTo(), b.options.MeshConfig.GetDefaultVirtualServiceExportTo(), o.Namespace),
		Created: o.Created, Source: sourceAt(o, ""),
	}
	for _, h := range spec.GetHosts() {
		v.Hosts = append(v.Hosts, b.resolve(h, o.Namespace))
	}
	v.Gateways = b.gatewayRefs(o, "spec.gateways", spec.GetGateways(), o.Namespace)
	if len(v.Gateways) == 0 {
		v.Gateways = []string{model.MeshGateway}
	}
	for i, r := range spec.GetHttp() {
		path := fmt.Sprintf("spec.http[%d]", i)
		if r.GetDelegate() != nil {
			v.HTTP = append(v.HTTP, b.delegated(o, r, path)...)
			continue
		}
		v.HTTP = append(v.HTTP, b.httpRule(o, r, path))
	}
	for i, r := range spec.GetTls() {
		v.TLS = append(v.TLS, b.tlsRule(o, r, fmt.Sprintf("spec.tls[%d]", i)))
	}
	for i, r := range spec.GetTcp() {
		v.TCP = append(v.TCP, b.tcpRule(o, r, fmt.Sprintf("spec.tcp[%d]", i)))
	}
	b.warnAtGateways(o, v, spec)
	b.origin.virtual[v] = o
	b.parts.Virtual = append(b.parts.Virtual, v)
}

// resolve makes a full name of a short one. Names with a dot are full already.
func (b *builder) resolve(host, namespace string) string {
	host = strings.ToLower(host)
	if strings.Contains(host, ".") || model.IsWildcard(host) {
		return host
	}
	return host + "." + namespace + ".svc." + b.options.ClusterDomain
}

// gatewayRefs resolves gateway names, and reports those that do not exist.
func (b *builder) gatewayRefs(o *config.Object, path string, refs []string, namespace string) []string {
	var list []string
	for i, g := range refs {
		if g == model.MeshGateway {
			list = append(list, g)
			continue
		}
		ref := g
		if !strings.Contains(g, "/") {
			ref = namespace + "/" + g
		}
		if b.origin.gateways[ref] == nil {
			b.report(o, config.Warning, CodeUnknownGateway, fmt.Sprintf("%s[%d]", path, i),
				fmt.Sprintf("gateway %q does not exist", ref), "create the Gateway, or write its name as NAMESPACE/NAME")
		}
		list = append(list, ref)
	}
	return list
}

// conflicts reports hosts of the mesh that two VirtualServices claim; the older one holds.
func (b *builder) conflicts() {
	type claim struct{ host, namespace string }
	first := map[claim]*model.VirtualService{}
	for _, v := range b.parts.Virtual {
		if !v.Bound(model.MeshGateway) {
			continue
		}
		for i, h := range v.Hosts {
			scope := ""
			if !v.Export.All {
				scope = strings.Join(v.Export.Namespaces, ",")
			}
			k := claim{h, scope}
			older := first[k]
			if older == nil {
				first[k] = v
				continue
			}
			if older == v {
				continue
			}
			b.report(b.origin.virtual[v], config.Error, CodeConflictingHost, fmt.Sprintf("spec.hosts[%d]", i),
				fmt.Sprintf("host %q of gateway mesh is routed by VirtualService %s/%s already, which is older and holds; this one is ignored for it",
					h, older.Namespace, older.Name), "merge both into one VirtualService")
		}
	}
}

// delegated merges the rules of a delegate below a root rule: each of them holds
// where the root's match and its own both do.
func (b *builder) delegated(o *config.Object, root *networkingpb.HTTPRoute, path string) []*model.HTTPRule {
	ref := root.GetDelegate()
	namespace := ref.GetNamespace()
	if namespace == "" {
		namespace = o.Namespace
	}
	d := b.view.Get("VirtualService", namespace, ref.GetName())
	var spec *networkingpb.VirtualService
	if d != nil {
		if vs, ok := d.Value.(*networkingv1.VirtualService); ok {
			spec = &vs.Spec
		}
	}
	if spec == nil || len(spec.GetHosts()) > 0 {
		b.report(o, config.Error, CodeUnknownDelegate, path+".delegate",
			fmt.Sprintf("VirtualService %s/%s is not there, or has hosts: a delegate has none", namespace, ref.GetName()),
			"create a VirtualService of that name without hosts")
		return nil
	}
	if !visibility(spec.GetExportTo(), b.options.MeshConfig.GetDefaultVirtualServiceExportTo(), namespace).To(o.Namespace) {
		b.report(o, config.Error, CodeUnknownDelegate, path+".delegate",
			fmt.Sprintf("VirtualService %s/%s is not exported to namespace %s", namespace, ref.GetName(), o.Namespace), "")
		return nil
	}
	above := b.httpRule(o, root, path)
	var rules []*model.HTTPRule
	for i, r := range spec.GetHttp() {
		below := fmt.Sprintf("spec.http[%d]", i)
		if r.GetDelegate() != nil {
			b.report(d, config.Error, CodeUnknownDelegate, below+".delegate", "a delegate cannot delegate further", "")
			continue
		}
		if merged := mergeRules(above, b.httpRule(d, r, below)); merged != nil {
			rules = append(rules, merged)
		} else {
			b.report(d, config.Warning, CodeUnknownDelegate, below,
				fmt.Sprintf("no request can match both this rule and the root's at %s", o.At(path)), "")
		}
	}
	return rules
}

// mergeRules lays a delegate's rule below its root's: settings of the delegate win,
// those it leaves open come from the root. Nil where their matches exclude each other.
func mergeRules(root, below *model.HTTPRule) *model.HTTPRule {
	merged := *below
	if len(root.Matches) > 0 {
		merged.Matches = nil
		candidates := below.Matches
		if len(candidates) == 0 {
			candidates = []*model.HTTPMatch{{Source: below.Source}}
		}
		for _, r := range root.Matches {
			for _, m := range candidates {
				if both, ok := mergeMatches(r, m); ok {
					merged.Matches = append(merged.Matches, both)
				}
			}
		}
		if len(merged.Matches) == 0 {
			return nil
		}
	}
	if merged.Name == "" {
		merged.Name = root.Name
	} else if root.Name != "" {
		merged.Name = root.Name + "-" + merged.Name
	}
	if merged.Rewrite == nil && merged.Redirect == nil {
		merged.Rewrite = root.Rewrite
	}
	if merged.Timeout == 0 {
		merged.Timeout = root.Timeout
	}
	if merged.Retry == nil {
		merged.Retry = root.Retry
	}
	if merged.Fault == nil {
		merged.Fault = root.Fault
	}
	if merged.Mirrors == nil {
		merged.Mirrors = root.Mirrors
	}
	if merged.CORS == nil {
		merged.CORS = root.CORS
	}
	merged.Headers.Request = mergeOps(root.Headers.Request, below.Headers.Request)
	merged.Headers.Response = mergeOps(root.Headers.Response, below.Headers.Response)
	return &merged
}

// mergeMatches is the conjunction of two matches, where one can be written down.
func mergeMatches(root, below *model.HTTPMatch) (*model.HTTPMatch, bool) {
	m := *below
	var ok bool
	if m.URI, ok = mergeStrings(root.URI, below.URI); !ok {
		return nil, false
	}
	if m.Scheme, ok = mergeStrings(root.Scheme, below.Scheme); !ok {
		return nil, false
	}
	if m.Method, ok = mergeStrings(root.Method, below.Method); !ok {
		return nil, false
	}
	if m.Authority, ok = mergeStrings(root.Authority, below.Authority); !ok {
		return nil, false
	}
	m.IgnoreURICase = root.IgnoreURICase || below.IgnoreURICase
	m.Headers = append(append([]model.NamedMatch{}, root.Headers...), below.Headers...)
	m.Without = append(append([]model.NamedMatch{}, root.Without...), below.Without...)
	m.Query = append(append([]model.NamedMatch{}, root.Query...), below.Query...)
	if root.Port != 0 {
		if below.Port != 0 && below.Port != root.Port {
			return nil, false
		}
		m.Port = root.Port
	}
	if len(root.SourceLabels) > 0 {
		m.SourceLabels = map[string]string{}
		for k, v := range below.SourceLabels {
			m.SourceLabels[k] = v
		}
		for k, v := range root.SourceLabels {
			if have, ok := m.SourceLabels[k]; ok && have != v {
				return nil, false
			}
			m.SourceLabels[k] = v
		}
	}
	if m.SourceNamespace == "" {
		m.SourceNamespace = root.SourceNamespace
	}
	if len(m.Gateways) == 0 {
		m.Gateways = root.Gateways
	}
	if m.StatPrefix == "" {
		m.StatPrefix = root.StatPrefix
	}
	if m.Name == "" {
		m.Name = root.Name
	}
	return &m, true
}

// mergeStrings keeps the narrower of two comparisons. A regex only goes with itself.
func mergeStrings(root, below *model.StringMatch) (*model.StringMatch, bool) {
	switch {
	case root == nil:
		return below, true
	case below == nil || *root == *below:
		return root, true
	case root.Kind == model.Prefix && below.Kind != model.Regex && strings.HasPrefix(below.Value, root.Value):
		return below, true
	case below.Kind == model.Prefix && root.Kind != model.Regex && strings.HasPrefix(root.Value, below.Value):
		return root, true
	default:
		return nil, false
	}
}

func mergeOps(root, below model.HeaderOps) model.HeaderOps {
	return model.HeaderOps{
		Set:    append(append([]model.HeaderOp{}, root.Set...), below.Set...),
		Add:    append(append([]model.HeaderOp{}, root.Add...), below.Add...),
		Remove: append(append([]string{}, root.Remove...), below.Remove...),
	}
}
