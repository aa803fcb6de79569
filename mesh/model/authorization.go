package model

import "time"

// Verdict is what an AuthorizationPolicy does with what it matches.
type Verdict uint8

// The verdicts.
const (
	Allow Verdict = iota
	Deny
	Audit
	// Custom asks a service about what it matches.
	Custom
)

// AuthorizationPolicy is one policy. Without rules it matches nothing: an Allow
// policy then lets nobody in.
type AuthorizationPolicy struct {
	Name, Namespace string
	Selector        map[string]string // nil: the namespace, or the mesh from the root namespace
	// Targeted policies name what they are for, and that is in their own namespace, also
	// where this is the root namespace.
	Targeted bool
	Action   Verdict
	Rules    []AuthorizationRule
	// Provider is whom a Custom policy asks: a name in Settings.Authorizers.
	Provider string
	// DryRun policies only count what they would do.
	DryRun  bool
	Created time.Time
	Source  Source
}

// AuthorizationRule matches where one of From, one of To and all of When hold. An
// empty list holds always.
type AuthorizationRule struct {
	From, To [][]Attribute
	When     []Attribute
}

// Attribute is a test of one property, by the key that conditions have for it:
// "source.principal", "request.headers[x]". The parts of an operation have the keys
// "request.host", "request.method", "request.path" and "destination.port". One of
// Values has to match, where there are any, and none of NotValues.
type Attribute struct {
	Key               string
	Values, NotValues []string
}

// RequestAuthentication tells whose tokens a workload believes.
type RequestAuthentication struct {
	Name, Namespace string
	Selector        map[string]string
	Targeted        bool // as an AuthorizationPolicy's
	Rules           []TokenRule
	Created         time.Time
	Source          Source
}

// TokenRule is one issuer of tokens.
type TokenRule struct {
	Issuer          string
	Audiences       []string
	Keys            string // JSON Web Key Set
	Headers         []TokenHeader
	Params, Cookies []string
	Forward         bool
	PayloadHeader   string
	ClaimHeaders    []ClaimHeader
	SpaceDelimited  []string // claims that are lists written as one string, beside those that always are
}

// TokenHeader is a header that carries a token behind a prefix.
type TokenHeader struct{ Name, Prefix string }

// ClaimHeader copies a claim to a header.
type ClaimHeader struct{ Header, Claim string }

// Authorizations returns the policies of a verdict that hold for a workload, oldest
// first, those of the root namespace before those of its own.
func (m *Mesh) Authorizations(v Verdict, namespace string, labels map[string]string) []*AuthorizationPolicy {
	var list []*AuthorizationPolicy
	for _, ns := range m.policyNamespaces(namespace) {
		for _, p := range m.authorizations {
			if p.Action == v && p.Namespace == ns && (!p.Targeted || ns == namespace) && Selects(p.Selector, labels) {
				list = append(list, p)
			}
		}
	}
	return list
}

// Authentications returns the token rules of a workload, as Authorizations does.
func (m *Mesh) Authentications(namespace string, labels map[string]string) []*RequestAuthentication {
	var list []*RequestAuthentication
	for _, ns := range m.policyNamespaces(namespace) {
		for _, p := range m.authentications {
			if p.Namespace == ns && (!p.Targeted || ns == namespace) && Selects(p.Selector, labels) {
				list = append(list, p)
			}
		}
	}
	return list
}

func (m *Mesh) policyNamespaces(namespace string) []string {
	if namespace == m.Settings.RootNamespace {
		return []string{namespace}
	}
	return []string{m.Settings.RootNamespace, namespace}
}

// Authorizer is a service that Custom policies ask.
type Authorizer struct {
	Host          string
	Port          uint32
	GRPC          bool // else HTTP
	Timeout       time.Duration
	FailOpen      bool
	StatusOnError int // 0: 403
	Body          *AuthorizerBody
	// These are for HTTP. Patterns are exact, or have a * at one end.
	PathPrefix                                        string
	RequestHeaders                                    []string
	AddHeaders                                        map[string]string
	UpstreamOnAllow, DownstreamOnDeny, DownstreamOnOK []string
}

// AuthorizerBody is how much of a request's body an Authorizer sees.
type AuthorizerBody struct {
	Max            uint32
	Partial, Bytes bool
}
