package snapshot

import (
	"net/netip"
	"regexp"
)

// RBAC is an authorization engine, as an HTTP filter or before a TCP proxy.
type RBAC struct {
	Action RBACAction
	// Enforced is false where there are no rules at all: everything passes.
	Enforced bool
	Policies []RBACPolicy // by name
	// Shadow are rules that only tell what they would do; nil: none. What they tell has
	// names that begin with ShadowPrefix.
	Shadow       *RBAC
	ShadowPrefix string
}

// FilterName implements Filter.
func (RBAC) FilterName() string { return "envoy.filters.http.rbac" }

// RBACAction is what happens to what a policy matches; RBACAllow turns away the rest.
type RBACAction uint8

// The actions.
const (
	RBACAllow RBACAction = iota
	RBACDeny
	RBACLog
)

// RBACPolicy matches where one of the permissions and one of the principals do.
type RBACPolicy struct {
	Name                    string
	Permissions, Principals []RBACTerm
}

// RBACTerm is one test. Exactly one field is set; the zero value never matches.
type RBACTerm struct {
	Any             bool
	And, Or         []RBACTerm
	Not             *RBACTerm
	Header          *HeaderMatch
	Path            *StringMatch   // without query
	Template        *regexp.Regexp // of the path without query
	DestinationIP   netip.Prefix
	DestinationPort uint16
	DirectIP        netip.Prefix // the connection's peer
	RemoteIP        netip.Prefix // the client, as far as it is trusted
	ServerName      *StringMatch
	// Authenticated is a peer with a verified certificate; Principal tests its name.
	Authenticated bool
	Principal     *StringMatch
	Metadata      *MetadataMatch
}

// MetadataMatch tests what an earlier filter found out. Invert turns the result.
type MetadataMatch struct {
	Filter string
	Path   []string
	Value  ValueMatch
	Invert bool
}

// ValueMatch tests a value. Exactly one field is set.
type ValueMatch struct {
	Present *bool
	String  *StringMatch
	Bool    *bool
	OneOf   *ValueMatch // of a list
	Or      []ValueMatch
}

// JWT is Envoy's jwt_authn filter: it verifies tokens, and turns away requests
// whose tokens do not satisfy the first rule that matches.
type JWT struct {
	Providers map[string]*JWTProvider
	Rules     []JWTRule
	// BypassPreflight lets CORS preflight requests pass.
	BypassPreflight bool
}

// FilterName implements Filter.
func (JWT) FilterName() string { return "envoy.filters.http.jwt_authn" }

// JWTProvider is one issuer. Without any place for tokens they come as the header
// "authorization: Bearer " or the parameter access_token.
type JWTProvider struct {
	Issuer          string // empty: any
	Audiences       []string
	Keys            []byte // JSON Web Key Set
	Headers         []JWTHeader
	Params, Cookies []string
	Forward         bool   // keep the token in the request
	PayloadHeader   string // gets the payload, base64url
	PayloadKey      string // of the metadata that gets the payload
	ClaimHeaders    []JWTClaimHeader
	SpaceDelimited  []string // claims that are lists written as a string
	// ClearRouteCache has the route looked for once more after a good token that changed
	// headers or metadata: routes may ask for these.
	ClearRouteCache bool
}

// JWTHeader is a place of tokens; Prefix stands before the token.
type JWTHeader struct{ Name, Prefix string }

// JWTClaimHeader copies a claim to a header.
type JWTClaimHeader struct{ Header, Claim string }

// JWTRule asks something of the requests whose path begins with a prefix.
type JWTRule struct {
	Prefix   string
	Requires *JWTRequirement // nil: nothing
}

// JWTRequirement is one of its fields.
type JWTRequirement struct {
	Provider             string
	Any, All             []JWTRequirement
	AllowMissing         bool
	AllowMissingOrFailed bool
}
