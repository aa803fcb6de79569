package analyze

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// connectionMatch is what the matches of tls and tcp rules have in common.
type connectionMatch struct {
	path      string
	names     []string // of tls; nil: any
	subnets   []string
	port      uint32
	labels    map[string]string
	namespace string
	gateways  []string
}

// connectionRule is a tls or tcp rule with its matches; one without has one that takes all.
type connectionRule struct {
	path    string
	matches []connectionMatch
}

// shadowedConnections finds matches of tls and tcp rules that no connection gets to.
func (a *analysis) shadowedConnections() {
	each(a, "VirtualService", func(o *config.Object, v *networkingv1.VirtualService) {
		bound := func(own []string) []string {
			switch {
			case len(own) > 0:
				return own
			case len(v.Spec.GetGateways()) > 0:
				return v.Spec.GetGateways()
			}
			return []string{model.MeshGateway}
		}
		var tls, tcp []connectionRule
		for i, r := range v.Spec.GetTls() {
			rule := connectionRule{path: fmt.Sprintf("spec.tls[%d]", i)}
			for j, m := range r.GetMatch() {
				rule.matches = append(rule.matches, connectionMatch{fmt.Sprintf("%s.match[%d]", rule.path, j), m.GetSniHosts(), m.GetDestinationSubnets(), m.GetPort(),
					m.GetSourceLabels(), m.GetSourceNamespace(), bound(m.GetGateways())})
			}
			tls = append(tls, rule)
		}
		for i, r := range v.Spec.GetTcp() {
			rule := connectionRule{path: fmt.Sprintf("spec.tcp[%d]", i)}
			for j, m := range r.GetMatch() {
				rule.matches = append(rule.matches, connectionMatch{fmt.Sprintf("%s.match[%d]", rule.path, j), nil, m.GetDestinationSubnets(), m.GetPort(),
					m.GetSourceLabels(), m.GetSourceNamespace(), bound(m.GetGateways())})
			}
			if len(rule.matches) == 0 {
				rule.matches = []connectionMatch{{path: rule.path, gateways: bound(nil)}}
			}
			tcp = append(tcp, rule)
		}
		a.shadowedRules(o, tls)
		a.shadowedRules(o, tcp)
	})
}

func (a *analysis) shadowedRules(o *config.Object, rules []connectionRule) {
	var before []connectionMatch
	for _, r := range rules {
		by := make([]string, len(r.matches))
		shadows := 0
		for i, m := range r.matches {
			if at := slices.IndexFunc(before, func(b connectionMatch) bool { return b.covers(m) }); at >= 0 {
				by[i] = before[at].path
				shadows++
			}
			before = append(before, m)
		}
		whole := shadows > 0 && shadows == len(r.matches)
		if whole {
			a.report(o, config.Warning, CodeShadowedRule, r.path, fmt.Sprintf("no connection can get here: %s in line %d takes all that this rule matches", by[0], o.At(by[0]).Line),
				"put the narrower rule first")
			continue
		}
		for i, m := range r.matches {
			if by[i] != "" {
				a.report(o, config.Warning, CodeShadowedMatch, m.path, fmt.Sprintf("no connection can get to this match: %s in line %d takes all that it matches", by[i], o.At(by[i]).Line),
					"put the narrower rule first")
			}
		}
	}
}

// covers reports whether each connection that m matches is matched by b, too.
func (b connectionMatch) covers(m connectionMatch) bool {
	name := func(host string) bool {
		return slices.ContainsFunc(b.names, func(k string) bool { return model.MatchesWildcard(strings.ToLower(k), strings.ToLower(host)) })
	}
	return (len(b.names) == 0 || !slices.ContainsFunc(m.names, func(h string) bool { return !name(h) })) &&
		coversPrefixes(b.subnets, m.subnets) && (b.port == 0 || b.port == m.port) && subset(b.labels, m.labels) &&
		(b.namespace == "" || b.namespace == m.namespace) && !slices.ContainsFunc(m.gateways, func(g string) bool { return !slices.Contains(b.gateways, g) })
}

// coversPrefixes reports whether each prefix of a list lies in one of another; an empty
// list is every address.
func coversPrefixes(outer, inner []string) bool {
	if len(outer) == 0 {
		return true
	}
	return len(inner) > 0 && !slices.ContainsFunc(inner, func(text string) bool {
		p, ok := prefixOf(text)
		return !ok || !slices.ContainsFunc(outer, func(text string) bool {
			o, ok := prefixOf(text)
			return ok && o.Bits() <= p.Bits() && o.Contains(p.Addr())
		})
	})
}

func prefixOf(text string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}
