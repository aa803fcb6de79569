package result

// Graph is who called whom over the world's time, in the timeline's buckets. An edge
// counts every try; a proxy's own answer counts for the edge that it was sent on.
type Graph struct {
	BucketSeconds float64 `json:"bucketSeconds" doc:"width of a bucket of all edges, in seconds"`
	Nodes         []Node  `json:"nodes" doc:"sorted by name"`
	Edges         []Edge  `json:"edges" doc:"sorted by from, to"`
}

// The kinds of nodes.
const (
	NodeWorkload = "workload"
	NodeGateway  = "gateway"
	NodeClient   = "client"   // outside the cluster
	NodeExternal = "external" // a service or host for which no Pod answered
)

// Node is one end of calls.
type Node struct {
	Name string `json:"name" doc:"a workload, or a host outside the mesh"`
	Kind string `json:"kind" doc:"workload, gateway, client (outside the cluster) or external (a service or host for which no Pod answered)"`
}

// Edge is what one node asked of another.
type Edge struct {
	From      string `json:"from" doc:"the caller's node"`
	To        string `json:"to" doc:"the callee's node"`
	Count     int    `json:"count" doc:"requests, or connections of TCP, tries included"`
	Bad       int    `json:"bad" doc:"those with status 400 or more, or none"`
	Plain     int    `json:"plain" doc:"those that a server's sidecar got without mutual TLS"`
	MutualTLS int    `json:"mutualTLS" doc:"those that a server's sidecar got over mutual TLS"`
	Requests  []int  `json:"requests" doc:"count per bucket"`
	Errors    []int  `json:"errors" doc:"bad per bucket"`
}

// Band is something that lasted.
type Band struct {
	Kind    string  `json:"kind" doc:"ejected, overflow (a circuit breaker turned requests away), fault or weights"`
	Subject string  `json:"subject" doc:"whom it was about: a Pod, a cluster, a fault, a route"`
	Text    string  `json:"text,omitempty" doc:"why, or how much"`
	From    float64 `json:"from" doc:"seconds of the world's time"`
	To      float64 `json:"to" doc:"likewise; the end of the run where it did not end before"`
}

// Latency is a distribution of times from the intended start to the answer.
type Latency struct {
	Count     int64   `json:"count" doc:"calls"`
	Min       float64 `json:"min" doc:"seconds, as are all that follow"`
	Mean      float64 `json:"mean" doc:"arithmetic mean"`
	P50       float64 `json:"p50" doc:"median"`
	P90       float64 `json:"p90" doc:"90th percentile"`
	P99       float64 `json:"p99" doc:"99th percentile"`
	P999      float64 `json:"p999" doc:"99.9th percentile"`
	Max       float64 `json:"max" doc:"the slowest"`
	Histogram string  `json:"histogram" doc:"HdrHistogram V2, deflated, in base64; values are nanoseconds with three digits"`
}

// Heat is how many calls took how long, over the world's time.
type Heat struct {
	BucketSeconds float64  `json:"bucketSeconds" doc:"width of a column, in seconds"`
	PerDecade     int      `json:"perDecade" doc:"row r has latencies from 10^(r/perDecade) microseconds; row 0 also those below"`
	Cells         [][3]int `json:"cells" doc:"column, row, calls; sorted"`
}

// Outcome is what became of some calls of a step that went alike.
type Outcome struct {
	Status   string    `json:"status" doc:"an HTTP status; error: no answer; -: a protocol without"`
	Workload string    `json:"workload,omitempty" doc:"who answered; empty: no workload did"`
	Flags    []string  `json:"flags,omitempty" doc:"Envoy's response flags of the caller's proxy"`
	Error    string    `json:"error,omitempty" doc:"why there was no answer, of the first"`
	Count    int       `json:"count" doc:"calls"`
	Examples []Example `json:"examples,omitempty" doc:"some of them"`
}

// Example is one call with its way.
type Example struct {
	RequestID string  `json:"requestId" doc:"x-request-id"`
	Sent      float64 `json:"sent" doc:"seconds of the world's time"`
	Seconds   float64 `json:"seconds" doc:"from the send to the answer"`
	Hops      []Hop   `json:"hops,omitempty" doc:"what the proxies on its way logged, in order of their starts"`
}

// Hop is what one proxy saw of a request.
type Hop struct {
	Pod       string   `json:"pod" doc:"the proxy's"`
	Workload  string   `json:"workload" doc:"the proxy's"`
	Inbound   bool     `json:"inbound,omitempty" doc:"the server's side; else the caller's, or a gateway"`
	Start     float64  `json:"start" doc:"seconds of the world's time"`
	Seconds   float64  `json:"seconds" doc:"to the end of the stream"`
	Method    string   `json:"method,omitempty" doc:"empty: TCP"`
	Authority string   `json:"authority,omitempty" doc:"the request's host"`
	Path      string   `json:"path,omitempty" doc:"with its query"`
	Status    int      `json:"status,omitempty" doc:"0: none"`
	Flags     []string `json:"flags,omitempty" doc:"Envoy's response flags"`
	Details   string   `json:"details,omitempty" doc:"Envoy's response code details"`
	Route     string   `json:"route,omitempty" doc:"the route's name"`
	Source    string   `json:"source,omitempty" doc:"file:line of the configuration behind the route"`
	Cluster   string   `json:"cluster,omitempty" doc:"the upstream cluster"`
	Upstream  string   `json:"upstream,omitempty" doc:"the Pod, or the address, that it went to"`
	Attempts  int      `json:"attempts,omitempty" doc:"tries"`
	MutualTLS bool     `json:"mutualTLS,omitempty" doc:"the proxy was asked over mutual TLS"`
}

// Change is what a step did to one object of the configuration.
type Change struct {
	Object string `json:"object" doc:"Kind namespace/name"`
	Action string `json:"action" doc:"created, changed or deleted"`
	Source string `json:"source,omitempty" doc:"file:line of the new version"`
	Diff   string `json:"diff,omitempty" doc:"unified, of the YAML without comments and styles; a long one is cut"`
}
