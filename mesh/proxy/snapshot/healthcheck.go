package snapshot

import "time"

// HealthCheck is an active health check of a cluster's hosts. Durations and thresholds
// are defaulted. Exactly one of HTTP, TCP and GRPC is set.
type HealthCheck struct {
	Timeout        time.Duration
	Interval       time.Duration
	InitialJitter  time.Duration
	IntervalJitter time.Duration
	JitterPercent  uint32
	// Unhealthy and Healthy are how many results in a row change a host's health.
	Unhealthy, Healthy uint32
	// NoTraffic and NoTrafficHealthy take the place of all other intervals as long as the
	// cluster was never used, for hosts that fail and that pass.
	NoTraffic, NoTrafficHealthy time.Duration
	// UnhealthyInterval is for hosts that fail; the edges are for hosts whose health is
	// about to change.
	UnhealthyInterval, UnhealthyEdge, HealthyEdge time.Duration
	Reuse                                         bool   // of connections
	Port                                          uint16 // in place of the endpoints'; 0: theirs
	// KeepPassing keeps hosts that discovery no longer has for as long as they pass.
	KeepPassing bool

	HTTP *HTTPCheck
	TCP  *TCPCheck
	GRPC *GRPCCheck
}

// HTTPCheck asks for a path.
type HTTPCheck struct {
	Host, Path, Method string // Host empty: the cluster's name
	Headers            []HeaderOp
	// Expected are statuses of healthy hosts, Retriable those of failures that count one
	// by one; any other makes a host unhealthy at once.
	Expected, Retriable []StatusRange
	HTTP2               bool
}

// StatusRange is half open.
type StatusRange struct{ From, To int }

// TCPCheck connects, sends bytes and waits for others, block by block.
type TCPCheck struct {
	Send    []byte
	Receive [][]byte
}

// GRPCCheck asks grpc.health.v1.Health.
type GRPCCheck struct{ Service, Authority string }
