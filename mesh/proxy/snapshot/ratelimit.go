package snapshot

import "time"

// TokenBucket holds Max tokens at most, and gets PerFill of them in each Interval.
type TokenBucket struct {
	Max, PerFill uint32
	Interval     time.Duration
}

// LocalRateLimit is Envoy's local_ratelimit filter: it limits requests by buckets of
// the proxy's own. In a route's PerFilter it stands in place of the filter's. Its
// address stands for its buckets: who is given the same one goes on with the same tokens.
type LocalRateLimit struct {
	StatPrefix string
	Status     int
	Bucket     *TokenBucket // nil: only descriptors limit
	// Enabled and Enforced are percentages of requests: of those that are counted at
	// all, and of those over the limit that are turned away.
	Enabled, Enforced float64
	// RequestHeaders go to the upstream where a limit is not enforced, ResponseHeaders
	// to the client where it is. Their values are literal.
	RequestHeaders, ResponseHeaders HeaderOps
	Descriptors                     []LocalDescriptor
	Stage                           uint32
	// Spare leaves the default bucket alone where a descriptor's has been asked.
	Spare bool
	// ResourceExhausted is what gRPC clients hear, instead of Unavailable.
	ResourceExhausted bool
	// TellQuota lets clients know by x-ratelimit-limit, -remaining and -reset.
	TellQuota   bool
	Limits      []RateLimit // in place of the routes'
	VirtualHost VirtualHostLimits
}

// FilterName implements Filter.
func (LocalRateLimit) FilterName() string { return "envoy.filters.http.local_ratelimit" }

// LocalDescriptor has a bucket of its own for the requests that it describes.
type LocalDescriptor struct {
	Entries []DescriptorEntry
	Bucket  TokenBucket
}

// DescriptorEntry is one property of a request.
type DescriptorEntry struct{ Key, Value string }

// VirtualHostLimits is when the rate limits of the virtual host count.
type VirtualHostLimits uint8

// The options, as Envoy names them: where the route has none; always; never.
const (
	LimitsOverride VirtualHostLimits = iota
	LimitsInclude
	LimitsIgnore
)

// RateLimit describes requests: all of its actions have to yield an entry.
type RateLimit struct {
	Stage   uint32
	Actions []RateLimitAction
}

// RateLimitAction yields an entry. Exactly one kind is set.
type RateLimitAction struct {
	Key, Value string // what the entry is made of, where the kind leaves that open
	Header     string // value of a request header
	// SkipAbsent goes on without the entry where the header is not there.
	SkipAbsent         bool
	Query              string // value of a query parameter
	RemoteAddress      bool
	DestinationCluster bool
	Generic            bool // Key and Value as they are
	// Headers have to match, or not to, with ExpectMatch false.
	Headers     []HeaderMatch
	ExpectMatch bool
}

// GlobalRateLimit is Envoy's ratelimit filter: it asks a rate limit service.
type GlobalRateLimit struct {
	Domain           string
	Stage            uint32
	RequestType      string // "", "both", "internal", "external"
	Service          GRPCService
	Timeout          time.Duration
	Deny             bool // failure_mode_deny
	StatusOnError    int
	Status           int
	StatPrefix       string
	Exhausted        bool // rate_limited_as_resource_exhausted
	NoHeader         bool // disable_x_envoy_ratelimited_header
	TellQuota        bool // by x-ratelimit-limit, -remaining and -reset
	ResponseHeaders  HeaderOps
	Enabled, Enforce float64
	Limits           []RateLimit
}

// FilterName implements Filter.
func (GlobalRateLimit) FilterName() string { return "envoy.filters.http.ratelimit" }

// GlobalRateLimitRoute is what a route says to the ratelimit filter.
type GlobalRateLimitRoute struct {
	Domain      string // "": the filter's
	VirtualHost VirtualHostLimits
}

// FilterName implements Filter.
func (GlobalRateLimitRoute) FilterName() string { return "envoy.filters.http.ratelimit" }

// GRPCService is a service that the proxy itself calls.
type GRPCService struct {
	Cluster   string
	Authority string // "": the cluster's name
	Metadata  []DescriptorEntry
}
