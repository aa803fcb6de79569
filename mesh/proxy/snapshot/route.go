package snapshot

import (
	"regexp"
	"time"
)

// RouteConfig is a table of virtual hosts.
type RouteConfig struct {
	Name            string
	VirtualHosts    []*VirtualHost
	IgnorePort      bool // ignore_port_in_host_matching
	RequestHeaders  HeaderOps
	ResponseHeaders HeaderOps
	Source          string
}

// VirtualHost has the routes of some domains.
type VirtualHost struct {
	Name                string
	Domains             []string // exact, "*.suffix", "prefix.*", "*"
	Routes              []*Route // first match wins
	RequestHeaders      HeaderOps
	ResponseHeaders     HeaderOps
	IncludeAttemptCount bool
	Retry               *Retry
	RateLimits          []RateLimit
	PerFilter           map[string]Filter
	Source              string
}

// Route is one rule. Exactly one of Forward, Redirect and Direct is set.
type Route struct {
	Name            string
	Match           RouteMatch
	Forward         *Forward
	Redirect        *Redirect
	Direct          *DirectResponse
	RequestHeaders  HeaderOps
	ResponseHeaders HeaderOps
	PerFilter       map[string]Filter // by filter name
	StatPrefix      string
	Decorator       string // operation name of spans
	Source          string // file:line of the configuration behind it
}

// RouteMatch is a conjunction. Exactly one of the path fields is set.
type RouteMatch struct {
	Prefix        *string
	Exact         *string
	Regex         *regexp.Regexp // must match the whole path, query excluded
	PathSeparated *string        // prefix by whole segments
	Connect       bool           // any CONNECT, and nothing else
	IgnoreCase    bool
	Headers       []HeaderMatch
	Query         []QueryMatch
	Metadata      []MetadataMatch // what filters found out, dynamic_metadata
	// Fraction is runtime_fraction in percent; nil always matches.
	Fraction *float64
	GRPC     bool
}

// HeaderMatch tests one field; ":method", ":authority", ":path" and ":scheme" name the pseudo fields.
type HeaderMatch struct {
	Name           string
	Present        bool // test presence only; Value is unused
	Value          *StringMatch
	Invert         bool
	MissingAsEmpty bool // treat_missing_header_as_empty
	Range          *[2]int64
}

// QueryMatch tests one parameter. Present or Value.
type QueryMatch struct {
	Name    string
	Present bool
	Value   *StringMatch
}

// StringMatch tests a string. Exactly one kind is set.
type StringMatch struct {
	Exact, Prefix, Suffix, Contains *string
	Regex                           *regexp.Regexp // whole string
	IgnoreCase                      bool
}

// HeaderOps are header changes, applied remove, then set and add in order.
type HeaderOps struct {
	Remove []string
	Set    []HeaderOp
}

// HeaderOp sets or appends one field. Value may hold command operators.
type HeaderOp struct {
	Name, Value string
	Action      HeaderAction
}

// HeaderAction is Envoy's append_action.
type HeaderAction uint8

// The actions.
const (
	AppendOrAdd HeaderAction = iota
	AddIfAbsent
	OverwriteOrAdd
	OverwriteIfExists
)

// Forward sends the request to a cluster.
type Forward struct {
	Clusters []WeightedCluster // one entry, or several with weights
	// ClusterHeader names a field that holds the cluster.
	ClusterHeader string
	// NotFoundStatus is cluster_not_found_response_code: 503 by default.
	NotFoundStatus int

	Timeout           time.Duration // 0: none
	IdleTimeout       *time.Duration
	MaxStreamDuration time.Duration
	// OwnStreamDuration has MaxStreamDuration stand in for the connection manager's, 0 too.
	OwnStreamDuration bool
	MaxGRPCTimeout    *time.Duration // nil: grpc-timeout is ignored; 0: no cap
	Retry             *Retry         // nil: the virtual host's, else none
	Mirrors           []Mirror
	HashPolicy        []HashPolicy
	RateLimits        []RateLimit
	IncludeHostLimits bool // include_vh_rate_limits

	PrefixRewrite        string
	RegexRewrite         *RegexRewrite
	HostRewrite          string
	AutoHostRewrite      bool
	AppendXForwardedHost bool
	Upgrades             map[string]bool // overrides of the manager's
	// Terminate is connect_config: a CONNECT ends here, and its bytes go to the cluster.
	Terminate bool
	Priority  int // 0 default, 1 high
}

// WeightedCluster is one destination with its own header changes.
type WeightedCluster struct {
	Name            string
	Weight          uint32
	RequestHeaders  HeaderOps
	ResponseHeaders HeaderOps
	HostRewrite     string
	PerFilter       map[string]Filter
}

// RegexRewrite replaces all matches in the path.
type RegexRewrite struct {
	Pattern      *regexp.Regexp
	Substitution string // with \1 groups
}

// Mirror copies requests to another cluster and drops the answers.
type Mirror struct {
	Cluster        string
	Percent        float64
	NoShadowSuffix bool // disable_shadow_host_suffix_append
	NoTrace        bool
}

// HashPolicy is one source of the consistent hash. Exactly one kind is set.
type HashPolicy struct {
	Header   string
	Cookie   *HashCookie
	SourceIP bool
	Query    string
	Terminal bool
}

// HashCookie is the cookie that keeps a client at one host.
type HashCookie struct {
	Name, Path string
	TTL        *time.Duration // nil: never set one; 0: session cookie
	Attributes map[string]string
}

// Retry is a retry policy.
type Retry struct {
	On                []string // words as in x-envoy-retry-on
	Attempts          int      // retries beyond the first try
	PerTryTimeout     time.Duration
	PerTryIdleTimeout time.Duration
	Statuses          []int // retriable_status_codes
	Headers           []HeaderMatch
	BackOffBase       time.Duration // default 25 ms
	BackOffMax        time.Duration // default 10 × base
	PreviousHosts     bool          // avoid hosts already tried
	// PreviousPriorities avoids priorities already tried, looked at anew after each
	// PriorityUpdate tries.
	PreviousPriorities bool
	PriorityUpdate     int
	HostAttempts       int // host_selection_retry_max_attempts
}

// Redirect answers with a Location.
type Redirect struct {
	Scheme, Host  string
	Port          uint16
	Path          string // path_redirect
	PrefixRewrite string
	RegexRewrite  *RegexRewrite
	HTTPS         bool
	StripQuery    bool
	Status        int
}

// DirectResponse answers without an upstream.
type DirectResponse struct {
	Status int
	Body   string
}
