package explain

// Way is the answer: what `windtunnel explain -o json` prints. Durations are seconds;
// sources are file:line. Lists are never null. The fields from VirtualHost on are a summary:
// what the first proxy decides, which is where routes of the mesh apply.
type Way struct {
	From      string  `json:"from"`   // as asked
	Client    string  `json:"client"` // the Pod
	Scheme    string  `json:"scheme"` // http, https
	Method    string  `json:"method"`
	Authority string  `json:"authority"`
	Path      string  `json:"path"`
	Address   Address `json:"address"`
	Error     string  `json:"error"` // why there is no connection at all
	// Hops are the proxies on the way: the client's or the gateway, then the server's,
	// once for each cluster that may be chosen.
	Hops []*Hop `json:"hops"`

	VirtualHost string   `json:"virtualHost"`
	Route       string   `json:"route"`
	Source      string   `json:"source"`   // of the route
	Cluster     string   `json:"cluster"`  // empty where weights decide between several
	Clusters    []string `json:"clusters"` // all that may be chosen
	// Status is what a proxy answers for certain, Flags its response flags; 0: the application decides.
	Status    int      `json:"status"`
	Flags     []string `json:"flags"`
	Location  string   `json:"location"`  // of a redirect
	Workloads []string `json:"workloads"` // whose application may get the request
	MutualTLS bool     `json:"mutualTLS"` // every first connection between two proxies is
}

// Address is what the client dials.
type Address struct {
	Host     string `json:"host"`
	IP       string `json:"ip"`
	Port     uint16 `json:"port"`
	Captured string `json:"captured"` // why no proxy takes the connection; empty where one does
	Endpoint string `json:"endpoint"` // that kube-proxy picks where no proxy takes the connection
}

// Hop is one proxy on the way.
type Hop struct {
	Role     string  `json:"role"` // outbound, gateway, inbound
	Pod      string  `json:"pod"`
	Workload string  `json:"workload"`
	Capture  string  `json:"capture"` // the rule, in iptables' notation
	Listener string  `json:"listener"`
	Security string  `json:"security"` // of the connection that it takes: mTLS, TLS, plaintext
	Peer     string  `json:"peer"`     // of mTLS: the name in the client's certificate
	Chains   []Chain `json:"chains"`
	Refused  string  `json:"refused"` // why the connection is closed

	RouteConfig string `json:"routeConfig"`
	VirtualHost string `json:"virtualHost"`
	Domain      string `json:"domain"`            // how the virtual host was found
	HostSource  string `json:"virtualHostSource"` // file:line of the virtual host
	Routes      []Rule `json:"routes"`            // in order, up to the one that matches
	Route       string `json:"route"`
	Source      string `json:"source"`

	Policies []Policy `json:"policies"` // that were asked, in order; the last one may have turned the request away
	// RateLimits are those that count the request; whether it is over them nobody knows before.
	RateLimits []RateLimit `json:"rateLimits"`

	Action   string    `json:"action"` // forward, direct, redirect, abort, tcp; empty: none
	Status   int       `json:"status"` // that this proxy answers itself; 0: it does not
	Flags    []string  `json:"flags"`
	Location string    `json:"location"`
	Tunnel   string    `json:"tunnel"` // the request that carries a TCP connection: "CONNECT example.com:443"; empty: none
	Clusters []Cluster `json:"clusters"`
	Timeout  float64   `json:"timeout"` // 0: none
	Retry    *Retry    `json:"retry"`
	Fault    *Fault    `json:"fault"`
	Mirrors  []Mirror  `json:"mirrors"`
	Changes  []string  `json:"changes"` // of the request and the response, in words
}

// Chain is one filter chain that was looked at.
type Chain struct {
	Name    string `json:"name"`
	Matched bool   `json:"matched"`
	Reason  string `json:"reason"`
	Source  string `json:"source"`
}

// Rule is one route that was looked at.
type Rule struct {
	Name    string `json:"name"`
	Matched bool   `json:"matched"`
	Reason  string `json:"reason"` // the first condition that did not hold
	Source  string `json:"source"`
}

// Policy is what the policies of one kind and action say about the request.
type Policy struct {
	Kind   string `json:"kind"`   // authentication (of tokens), authorization
	Action string `json:"action"` // of authorization: allow, deny, audit, or custom, where a service is asked
	Passed bool   `json:"passed"`
	Name   string `json:"name"` // of the rule that matched: ns[default]-policy[readers]-rule[0]; empty: none did
	Reason string `json:"reason"`
	Source string `json:"source"` // file:line of that rule
}

// Cluster is one destination.
type Cluster struct {
	Name      string     `json:"name"`
	Percent   float64    `json:"percent"`
	Service   string     `json:"service"`
	Port      uint32     `json:"port"`
	Subset    string     `json:"subset"`
	Source    string     `json:"source"` // of the policy
	Balancer  string     `json:"balancer"`
	Missing   bool       `json:"missing"` // the proxy knows no such cluster
	Endpoints []Endpoint `json:"endpoints"`
	Limits    *Limits    `json:"limits"`  // the circuit breaker; null: it is never open
	Outlier   *Outlier   `json:"outlier"` // when endpoints are ejected; null: never
	// Certificate is what this proxy shows to endpoints with mTLS: the name in its own
	// certificate, or that of a configured one. TLSSource is the file:line of the settings
	// that decide about TLS; empty where the mesh does it by itself.
	Certificate string `json:"certificate"`
	TLSSource   string `json:"tlsSource"`
}

// Limits are what a circuit breaker lets through at one time; 0: no limit.
type Limits struct {
	Connections           uint32 `json:"connections"`
	PendingRequests       uint32 `json:"pendingRequests"`
	Requests              uint32 `json:"requests"`
	Retries               uint32 `json:"retries"`
	RequestsPerConnection int    `json:"requestsPerConnection"`
	Source                string `json:"source"` // file:line of the DestinationRule's connectionPool
}

// Outlier is when an endpoint is ejected; counts of 0 never do it.
type Outlier struct {
	Consecutive5xx     uint32  `json:"consecutive5xx"`
	ConsecutiveGateway uint32  `json:"consecutiveGateway"`
	ConsecutiveLocal   uint32  `json:"consecutiveLocal"`
	Interval           float64 `json:"interval"`
	BaseEjection       float64 `json:"baseEjection"`
	MaxEjectionPercent uint32  `json:"maxEjectionPercent"`
	Source             string  `json:"source"` // file:line of outlierDetection
}

// RateLimit is a limit that counts the request.
type RateLimit struct {
	Kind string `json:"kind"` // local: the proxy's own buckets; global: a service's
	// Buckets are those of a local limit that the request takes a token from.
	Buckets []Bucket `json:"buckets"`
	// Domain, Descriptors (as "key=value, key=value") and Service, a cluster, are what a
	// global limit asks about and whom. FailOpen lets requests pass where nobody answers.
	Domain      string   `json:"domain"`
	Descriptors []string `json:"descriptors"`
	Service     string   `json:"service"`
	FailOpen    bool     `json:"failOpen"`
	Status      int      `json:"status"`  // over the limit
	Percent     float64  `json:"percent"` // of requests over the limit that are turned away
	Source      string   `json:"source"`  // file:line of the patches that made it
}

// Bucket is a bucket of tokens.
type Bucket struct {
	Descriptor string  `json:"descriptor"` // "key=value, key=value"; empty: all requests
	Tokens     uint32  `json:"tokens"`     // at most
	PerFill    uint32  `json:"perFill"`
	Interval   float64 `json:"interval"`
}

// Endpoint is one host of a cluster.
type Endpoint struct {
	Address  string `json:"address"`
	Pod      string `json:"pod"`
	Workload string `json:"workload"`
	Health   string `json:"health"`   // healthy, unhealthy, draining, degraded, ejected
	Security string `json:"security"` // mTLS, TLS, plaintext
	Reason   string `json:"reason"`   // for the security
}

// Retry is what the request may have beyond its first try.
type Retry struct {
	Attempts      int      `json:"attempts"`
	On            []string `json:"on"`
	PerTryTimeout float64  `json:"perTryTimeout"` // 0: none
}

// Fault is what is injected before the request is routed.
type Fault struct {
	Delay        float64 `json:"delay"`
	DelayPercent float64 `json:"delayPercent"`
	Abort        int     `json:"abort"`     // HTTP status; 0: none
	AbortGRPC    int     `json:"abortGRPC"` // gRPC status; -1: none
	AbortPercent float64 `json:"abortPercent"`
}

// Mirror is a copy of the request.
type Mirror struct {
	Cluster string  `json:"cluster"`
	Percent float64 `json:"percent"`
}
