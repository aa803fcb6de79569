package model

import "time"

// MeshGateway is the reserved name of all sidecars.
const MeshGateway = "mesh"

// VirtualService routes requests for some hosts. Delegates are merged in already.
type VirtualService struct {
	Name, Namespace string
	Hosts           []string // resolved, lower case
	Gateways        []string // "mesh", "namespace/name"
	Export          Visibility
	HTTP            []*HTTPRule // in order
	TLS             []*TLSRule  // in order
	TCP             []*TCPRule  // in order
	Created         time.Time
	Source          Source
	// GatewayAPI: made of routes of the Gateway API. In the mesh it takes the place of a
	// VirtualService for the ports that it has rules for, and a cluster that is not there
	// is answered with 500 instead of 503.
	GatewayAPI bool
}

// Bound reports whether the rules hold for a gateway, or for the mesh.
func (v *VirtualService) Bound(gateway string) bool {
	for _, g := range v.Gateways {
		if g == gateway {
			return true
		}
	}
	return false
}

// HTTPRule is one rule for HTTP. Exactly one of Routes, Redirect and Direct is set.
type HTTPRule struct {
	Name     string
	Matches  []*HTTPMatch // any of them; none: always
	Routes   []*Destination
	Redirect *Redirect
	Direct   *Direct
	Rewrite  *Rewrite
	Timeout  time.Duration // 0: none
	Retry    *Retry        // nil: default
	Fault    *Fault
	Mirrors  []*Mirror
	CORS     *CORS
	Headers  HeaderRules
	Source   Source
}

// HTTPMatch is a conjunction.
type HTTPMatch struct {
	Name                           string
	URI, Scheme, Method, Authority *StringMatch
	IgnoreURICase                  bool
	Headers, Without, Query        []NamedMatch // sorted by name
	Claims                         []ClaimMatch // of the request's token
	Port                           uint32       // 0: any
	SourceLabels                   map[string]string
	SourceNamespace                string
	Gateways                       []string // empty: the service's own
	StatPrefix                     string
	Source                         Source
}

// MatchKind is how a string is compared.
type MatchKind uint8

// The kinds. Present is any value at all; Segments is a prefix of whole path segments,
// without a slash at its end.
const (
	Exact MatchKind = iota
	Prefix
	Regex
	Present
	Segments
)

// StringMatch is one comparison.
type StringMatch struct {
	Kind  MatchKind
	Value string
}

// NamedMatch compares the value of a header or query parameter.
type NamedMatch struct {
	Name string
	StringMatch
}

// ClaimMatch compares a claim of a token, or an element of it where it is a list; Not: it
// must not be so, which a request without the claim fulfils.
type ClaimMatch struct {
	Path []string // from the outermost claim inwards
	StringMatch
	Not bool
}

// Destination is a service's port, or a subset of it.
type Destination struct {
	Host    string // resolved; "": none that may be used, requests fail
	Subset  string
	Port    uint32 // 0: not said
	Weight  uint32
	Headers HeaderRules
	Source  Source
}

// HeaderRules change requests and responses.
type HeaderRules struct{ Request, Response HeaderOps }

// HeaderOps are sorted by name.
type HeaderOps struct {
	Set, Add []HeaderOp
	Remove   []string
}

// HeaderOp is one of them.
type HeaderOp struct{ Name, Value string }

// Redirect answers with a Location.
type Redirect struct {
	URI, PrefixRewrite, Authority, Scheme string
	Port                                  uint32
	FromRequestPort                       bool
	Code                                  uint32 // 301 by default
	RegexMatch, Substitution              string // of the path, in place of URI and PrefixRewrite
}

// Direct answers without a destination.
type Direct struct {
	Status uint32
	Body   []byte
	Text   bool // Body is a string
}

// Rewrite changes the request on its way.
type Rewrite struct {
	URI, Authority           string
	RegexMatch, Substitution string
}

// Retry is a policy.
type Retry struct {
	Attempts            int32
	PerTry              time.Duration // 0: the route's timeout
	On                  string        // as written; empty: default
	BackOff             time.Duration // 0: Envoy's default
	RemoteLocalities    bool
	IgnorePreviousHosts bool
}

// Fault delays and aborts, in percent of the requests.
type Fault struct {
	Delay        time.Duration
	DelayPercent float64
	HasDelay     bool
	AbortStatus  uint32 // 0: none
	AbortGRPC    string // status name; "": none
	AbortPercent float64
}

// Mirror copies requests.
type Mirror struct {
	Destination *Destination
	Percent     float64
}

// CORS is a policy of a rule.
type CORS struct {
	Origins          []StringMatch
	Methods, Allow   []string
	Expose           []string
	MaxAge           *time.Duration
	Credentials      *bool
	IgnorePreflights bool
}
