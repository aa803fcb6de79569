package build

import (
	"fmt"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

func (b *builder) tlsRule(o *config.Object, r *networkingpb.TLSRoute, path string) *model.TLSRule {
	rule := &model.TLSRule{Routes: b.connectionRoutes(o, r.GetRoute(), path), Source: sourceAt(o, path)}
	for i, m := range r.GetMatch() {
		at := fmt.Sprintf("%s.match[%d]", path, i)
		match := &model.TLSMatch{
			ConnectionMatch: model.ConnectionMatch{
				Subnets: m.GetDestinationSubnets(), Port: m.GetPort(), SourceLabels: m.GetSourceLabels(), SourceNamespace: m.GetSourceNamespace(),
				Gateways: b.gatewayRefs(o, at+".gateways", m.GetGateways(), o.Namespace),
			},
			Source: sourceAt(o, at),
		}
		for _, name := range m.GetSniHosts() {
			match.ServerNames = append(match.ServerNames, strings.ToLower(name))
		}
		rule.Matches = append(rule.Matches, match)
	}
	return rule
}

func (b *builder) tcpRule(o *config.Object, r *networkingpb.TCPRoute, path string) *model.TCPRule {
	rule := &model.TCPRule{Routes: b.connectionRoutes(o, r.GetRoute(), path), Source: sourceAt(o, path)}
	for i, m := range r.GetMatch() {
		rule.Matches = append(rule.Matches, &model.ConnectionMatch{
			Subnets: m.GetDestinationSubnets(), Port: m.GetPort(), SourceLabels: m.GetSourceLabels(), SourceNamespace: m.GetSourceNamespace(),
			Gateways: b.gatewayRefs(o, fmt.Sprintf("%s.match[%d].gateways", path, i), m.GetGateways(), o.Namespace),
		})
	}
	return rule
}

func (b *builder) connectionRoutes(o *config.Object, list []*networkingpb.RouteDestination, path string) []*model.Destination {
	var routes []*model.Destination
	for i, d := range list {
		dest := b.destination(o, d.GetDestination(), fmt.Sprintf("%s.route[%d].destination", path, i))
		dest.Weight = uint32(max(d.GetWeight(), 0))
		routes = append(routes, dest)
	}
	return routes
}

// warnAtGateways tells of conditions that Istio looks at in sidecars only, where they
// stand in a match that is for gateways alone.
func (b *builder) warnAtGateways(o *config.Object, v *model.VirtualService, spec *networkingpb.VirtualService) {
	check := func(path string, gateways, subnets []string, labels map[string]string, namespace string) {
		if len(gateways) == 0 {
			gateways = v.Gateways
		}
		if slices.Contains(gateways, model.MeshGateway) {
			return
		}
		for _, f := range []struct {
			name string
			set  bool
		}{{"destinationSubnets", len(subnets) > 0}, {"sourceLabels", len(labels) > 0}, {"sourceNamespace", namespace != ""}} {
			if f.set {
				b.report(o, config.Warning, CodeSidecarsOnly, path+"."+f.name,
					f.name+" has no effect: it is looked at in sidecars only, and this match is for gateways", "add the gateway mesh, or leave it out")
			}
		}
	}
	for i, r := range spec.GetTls() {
		for j, m := range r.GetMatch() {
			check(fmt.Sprintf("spec.tls[%d].match[%d]", i, j), m.GetGateways(), m.GetDestinationSubnets(), m.GetSourceLabels(), m.GetSourceNamespace())
		}
	}
	for i, r := range spec.GetTcp() {
		for j, m := range r.GetMatch() {
			check(fmt.Sprintf("spec.tcp[%d].match[%d]", i, j), m.GetGateways(), m.GetDestinationSubnets(), m.GetSourceLabels(), m.GetSourceNamespace())
		}
	}
}
