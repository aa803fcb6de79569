package snapshot

import "time"

// ExtAuthz is Envoy's ext_authz filter: it asks a service about each request. Exactly
// one of HTTP and GRPC is set.
type ExtAuthz struct {
	HTTP    *ExtAuthzHTTP
	GRPC    *GRPCService
	Timeout time.Duration // 0: none
	// FailOpen lets requests pass where the service cannot be asked; others get StatusOnError.
	FailOpen      bool
	StatusOnError int
	Body          *ExtAuthzBody  // nil: the service does not see it
	Enabled       *MetadataMatch // nil: for every request
	// Headers are those of the request that the service sees; nil: all over gRPC, over
	// HTTP only those that it always sees.
	Headers    []StringMatch
	StatPrefix string
}

// FilterName implements Filter.
func (ExtAuthz) FilterName() string { return "envoy.filters.http.ext_authz" }

// ExtAuthzHTTP asks with a request like the client's.
type ExtAuthzHTTP struct {
	Cluster    string
	PathPrefix string
	Add        []DescriptorEntry // header fields
	// What of an answer goes on: to the upstream (set, or appended) where it allows, to
	// the client where it allows, and where it denies (nil: everything).
	Upstream, UpstreamAppend, ClientOK, Client []StringMatch
}

// ExtAuthzBody has the service see Max bytes of the body. A longer one is answered
// with 413, unless a part of it will do.
type ExtAuthzBody struct {
	Max     int
	Partial bool
	Bytes   bool // over gRPC: as bytes instead of text
}
