package build

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"
	securitypb "istio.io/api/security/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// dryRun asks for a policy that only counts what it would do.
const dryRun = "istio.io/dry-run"

// conditionKeys are what conditions may test; those with a name in brackets apart.
var conditionKeys = []string{
	"source.ip", "remote.ip", "source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal",
	"request.auth.principal", "request.auth.audiences", "request.auth.presenter", "destination.ip", "destination.port", "connection.sni",
}

var bracketedKey = regexp.MustCompile(`\A(?:request\.headers\[[^][]+\]|request\.auth\.claims(?:\[[^][]+\])+)\z`)

// authorizations reads who may do what.
func (b *builder) authorizations() {
	for _, o := range oldestFirst(b.view.Of("AuthorizationPolicy")) {
		p, ok := o.Value.(*securityv1.AuthorizationPolicy)
		if !ok {
			continue
		}
		m := &model.AuthorizationPolicy{Name: o.Name, Namespace: o.Namespace, Created: o.Created, Source: sourceAt(o, ""),
			Action: map[securitypb.AuthorizationPolicy_Action]model.Verdict{
				securitypb.AuthorizationPolicy_DENY: model.Deny, securitypb.AuthorizationPolicy_AUDIT: model.Audit, securitypb.AuthorizationPolicy_CUSTOM: model.Custom,
			}[p.Spec.GetAction()], Provider: p.Spec.GetProvider().GetName(), DryRun: p.Annotations[dryRun] == "true"}
		b.checkProvider(o, m)
		for i, r := range p.Spec.GetRules() {
			m.Rules = append(m.Rules, b.authorizationRule(o, fmt.Sprintf("spec.rules[%d]", i), r))
		}
		for _, selector := range b.targeted(o, p.Spec.GetSelector().GetMatchLabels(), p.Spec.GetTargetRef(), p.Spec.GetTargetRefs()) {
			own := *m
			own.Selector, own.Targeted = selector, p.Spec.GetTargetRef() != nil || len(p.Spec.GetTargetRefs()) > 0
			b.parts.Authorizations = append(b.parts.Authorizations, &own)
		}
	}
}

func selectorOf(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	return labels
}

func (b *builder) authorizationRule(o *config.Object, path string, r *securitypb.Rule) model.AuthorizationRule {
	var m model.AuthorizationRule
	check := func(at string, list []model.Attribute) []model.Attribute {
		for _, a := range list {
			b.checkAttribute(o, at, a)
		}
		return list
	}
	for i, f := range r.GetFrom() {
		m.From = append(m.From, check(fmt.Sprintf("%s.from[%d].source", path, i), b.sourceAttributes(o.Namespace, f.GetSource())))
	}
	for i, t := range r.GetTo() {
		m.To = append(m.To, check(fmt.Sprintf("%s.to[%d].operation", path, i), operationAttributes(t.GetOperation())))
	}
	for i, w := range r.GetWhen() {
		at := fmt.Sprintf("%s.when[%d]", path, i)
		a := model.Attribute{Key: w.GetKey(), Values: w.GetValues(), NotValues: w.GetNotValues()}
		switch {
		case !slices.Contains(conditionKeys, a.Key) && !bracketedKey.MatchString(a.Key):
			b.report(o, config.Error, CodeUnsupported, at+".key", fmt.Sprintf("the key %q is not supported", a.Key), "one of "+strings.Join(conditionKeys, ", ")+", request.headers[NAME], request.auth.claims[NAME]")
			continue
		case len(a.Values)+len(a.NotValues) == 0:
			b.report(o, config.Error, CodeUnsupported, at, "a condition without values and notValues is not supported", "")
			continue
		}
		m.When = append(m.When, check(at, []model.Attribute{b.expanded(o.Namespace, a)})...)
	}
	return m
}

func (b *builder) sourceAttributes(namespace string, s *securitypb.Source) []model.Attribute {
	var list []model.Attribute
	for _, a := range []model.Attribute{
		{Key: "source.principal", Values: s.GetPrincipals(), NotValues: s.GetNotPrincipals()},
		{Key: "request.auth.principal", Values: s.GetRequestPrincipals(), NotValues: s.GetNotRequestPrincipals()},
		{Key: "source.namespace", Values: s.GetNamespaces(), NotValues: s.GetNotNamespaces()},
		{Key: "source.serviceAccount", Values: s.GetServiceAccounts(), NotValues: s.GetNotServiceAccounts()},
		{Key: "source.trustDomain", Values: s.GetTrustDomains(), NotValues: s.GetNotTrustDomains()},
		{Key: "source.ip", Values: s.GetIpBlocks(), NotValues: s.GetNotIpBlocks()},
		{Key: "remote.ip", Values: s.GetRemoteIpBlocks(), NotValues: s.GetNotRemoteIpBlocks()},
	} {
		if len(a.Values)+len(a.NotValues) > 0 {
			list = append(list, b.expanded(namespace, a))
		}
	}
	return list
}

func operationAttributes(t *securitypb.Operation) []model.Attribute {
	var list []model.Attribute
	for _, a := range []model.Attribute{
		{Key: "request.host", Values: t.GetHosts(), NotValues: t.GetNotHosts()},
		{Key: "request.method", Values: t.GetMethods(), NotValues: t.GetNotMethods()},
		{Key: "request.path", Values: t.GetPaths(), NotValues: t.GetNotPaths()},
		{Key: "destination.port", Values: t.GetPorts(), NotValues: t.GetNotPorts()},
	} {
		if len(a.Values)+len(a.NotValues) > 0 {
			list = append(list, a)
		}
	}
	return list
}

// expanded writes out what values leave to the mesh: the namespace of a service
// account, and the other names of its trust domain.
func (b *builder) expanded(namespace string, a model.Attribute) model.Attribute {
	var expand func(string) []string
	switch a.Key {
	case "source.serviceAccount":
		expand = func(v string) []string {
			if !strings.Contains(v, "/") {
				v = namespace + "/" + v
			}
			return []string{v}
		}
	case "source.principal":
		domains := append([]string{b.parts.Settings.TrustDomain}, b.parts.Settings.TrustAliases...)
		expand = func(v string) []string {
			domain, rest, ok := strings.Cut(v, "/")
			if !ok || !slices.Contains(domains, domain) {
				return []string{v}
			}
			var all []string
			for _, d := range domains {
				all = append(all, d+"/"+rest)
			}
			return all
		}
	default:
		return a
	}
	each := func(values []string) (out []string) {
		for _, v := range values {
			out = append(out, expand(v)...)
		}
		return out
	}
	a.Values, a.NotValues = each(a.Values), each(a.NotValues)
	return a
}

// checkAttribute reports values that are no addresses or ports.
func (b *builder) checkAttribute(o *config.Object, path string, a model.Attribute) {
	for _, v := range slices.Concat(a.Values, a.NotValues) {
		var err error
		switch a.Key {
		case "source.ip", "remote.ip", "destination.ip":
			if _, err = netip.ParseAddr(v); err != nil {
				_, err = netip.ParsePrefix(v)
			}
		case "destination.port":
			_, err = strconv.ParseUint(v, 10, 16)
		}
		if err != nil {
			b.report(o, config.Error, CodeUnsupported, path, fmt.Sprintf("%s: %q is neither an address nor a port", a.Key, v), "")
		}
	}
}

// checkProvider: a CUSTOM policy asks a provider, and no other policy does. Without
// its provider it would let nobody in.
func (b *builder) checkProvider(o *config.Object, m *model.AuthorizationPolicy) {
	wrong := func(path, message, hint string) {
		b.report(o, config.Error, CodeProvider, path, message, hint)
	}
	switch {
	case m.Action != model.Custom && m.Provider != "":
		wrong("spec.provider", "only a policy with the action CUSTOM has a provider", "")
	case m.DryRun && m.Action != model.Allow && m.Action != model.Deny:
		wrong("metadata.annotations", dryRun+" is for policies that ALLOW or DENY", "")
	case m.Action != model.Custom:
	case m.Provider == "":
		wrong("spec", "a policy with the action CUSTOM needs a provider", "")
	case b.parts.Settings.Authorizers[m.Provider] == nil:
		hint := "MeshConfig's extensionProviders has none that authorizes"
		if names := b.authorizerNames(); len(names) > 0 {
			hint = "one of " + strings.Join(names, ", ")
		}
		wrong("spec.provider.name", fmt.Sprintf("there is no extension provider %q that authorizes", m.Provider), hint)
	default:
		a := b.parts.Settings.Authorizers[m.Provider]
		if !slices.ContainsFunc(b.parts.Services, func(s *model.Service) bool { return s.Host == a.Host && s.Port(a.Port) != nil }) {
			b.report(o, config.Warning, CodeProvider, "spec.provider.name", fmt.Sprintf("the service of provider %q, %s:%d, does not exist: requests cannot be checked", m.Provider, a.Host, a.Port), "")
		}
	}
}

// requestAuthentications reads whose tokens are believed.
func (b *builder) requestAuthentications() {
	for _, o := range oldestFirst(b.view.Of("RequestAuthentication")) {
		p, ok := o.Value.(*securityv1.RequestAuthentication)
		if !ok {
			continue
		}
		m := &model.RequestAuthentication{Name: o.Name, Namespace: o.Namespace, Created: o.Created, Source: sourceAt(o, "")}
		for i, r := range p.Spec.GetJwtRules() {
			keys := b.keysOf(r)
			if err := json.Unmarshal([]byte(keys), new(jose.JSONWebKeySet)); err != nil {
				b.report(o, config.Error, CodeUnsupported, fmt.Sprintf("spec.jwtRules[%d].jwks", i), fmt.Sprintf("no JSON Web Key Set: %v", err), "")
				continue
			}
			t := model.TokenRule{Issuer: r.GetIssuer(), Audiences: r.GetAudiences(), Keys: keys, Params: r.GetFromParams(), Cookies: r.GetFromCookies(),
				Forward: r.GetForwardOriginalToken(), PayloadHeader: r.GetOutputPayloadToHeader(),
				SpaceDelimited: r.GetSpaceDelimitedClaims()}
			for _, h := range r.GetFromHeaders() {
				t.Headers = append(t.Headers, model.TokenHeader{Name: h.GetName(), Prefix: h.GetPrefix()})
			}
			for _, c := range r.GetOutputClaimToHeaders() {
				t.ClaimHeaders = append(t.ClaimHeaders, model.ClaimHeader{Header: c.GetHeader(), Claim: c.GetClaim()})
			}
			m.Rules = append(m.Rules, t)
		}
		for _, selector := range b.targeted(o, p.Spec.GetSelector().GetMatchLabels(), p.Spec.GetTargetRef(), p.Spec.GetTargetRefs()) {
			own := *m
			own.Selector, own.Targeted = selector, p.Spec.GetTargetRef() != nil || len(p.Spec.GetTargetRefs()) > 0
			b.parts.Authentications = append(b.parts.Authentications, &own)
		}
	}
}

// keysOf are the keys of a rule: its own, or those that somebody fetched for it.
func (b *builder) keysOf(r *securitypb.JWTRule) string {
	switch {
	case r.GetJwks() != "":
		return r.GetJwks()
	case b.options.Keys == nil:
		return `{"keys":[]}`
	case r.GetJwksUri() != "":
		return b.options.Keys(r.GetJwksUri(), "")
	default:
		return b.options.Keys("", r.GetIssuer())
	}
}

// authorizationSelectors reports policies that select nothing. Those of the root
// namespace select in all of them.
func (b *builder) authorizationSelectors() {
	check := func(kind, namespace, name string, selector map[string]string, targeted bool) {
		where := namespace
		if namespace == b.options.RootNamespace && !targeted {
			where = ""
		}
		if o := b.view.Get(kind, namespace, name); o != nil && selector != nil && !b.anyWorkload(where, selector) {
			b.noWorkload(o, "spec.selector", where, selector)
		}
	}
	for _, p := range b.parts.Authorizations {
		check("AuthorizationPolicy", p.Namespace, p.Name, p.Selector, p.Targeted)
	}
	for _, p := range b.parts.Authentications {
		check("RequestAuthentication", p.Namespace, p.Name, p.Selector, p.Targeted)
	}
}
