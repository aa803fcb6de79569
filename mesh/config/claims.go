package config

import (
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
)

// claimHeader begins the names of headers that stand for the claims of a token: Istio's
// routing by claims. Its case does not matter, that of the claims' names does.
const claimHeader = "@request.auth.claims"

// ClaimPath returns the claims, from the outermost inwards, that a header of a
// VirtualService's match names: "@request.auth.claims.group.id" and
// "@request.auth.claims[group][id]" are the same. False: it is a header, or is written wrong.
func ClaimPath(name string) ([]string, bool) {
	if len(name) < len(claimHeader) || !strings.EqualFold(name[:len(claimHeader)], claimHeader) {
		return nil, false
	}
	rest := name[len(claimHeader):]
	if dotted, ok := strings.CutPrefix(rest, "."); ok && dotted != "" {
		return strings.Split(dotted, "."), true
	}
	if strings.HasPrefix(rest, "[") && strings.HasSuffix(rest, "]") && len(rest) > 2 {
		return strings.Split(rest[1:len(rest)-1], "]["), true
	}
	return nil, false
}

// claimMatch checks a comparison with a claim. Sidecars verify tokens of requests that come
// in, and route those that go out: only at gateways is a claim known where routes are chosen.
func (c *checker) claimMatch(path, name string, m *networkingpb.StringMatch, atGateways bool) {
	claims, ok := ClaimPath(name)
	switch {
	case !ok:
		c.errorf(CodeHeader, path, "write "+claimHeader+".NAME, or "+claimHeader+"[NAME][NAME] for a claim in a claim", "%q does not name a claim", clip(name))
		return
	case !atGateways:
		c.errorf(CodeMissing, path, "list the gateways in spec.gateways, and no \"mesh\"", "routing by claims is for gateways only: sidecars do not look at tokens before they route")
	}
	for _, claim := range claims {
		if claim == "" {
			c.errorf(CodeHeader, path, "", "%q has a claim without a name", clip(name))
			return
		}
	}
	if regex, is := m.GetMatchType().(*networkingpb.StringMatch_Regex); m.GetMatchType() == nil || is && regex.Regex == "*" {
		c.errorf(CodeValue, path, `for any value write regex: ".*"`, "a claim is compared by exact, prefix or regex")
	}
}
