// Package snapshot has what one proxy does, as plain immutable data: the result of
// compiling xDS, the input of building the request path. It imports no protos
// and knows nothing of control planes.
//
// Everything is validated and defaulted by whoever constructs it; the data plane
// may rely on it. Slices are in matching order where order matters, else sorted.
package snapshot

// Proxy is one complete configuration.
type Proxy struct {
	Version   string // content hash of everything below
	Listeners []*Listener
	Clusters  map[string]*Cluster
	Routes    map[string]*RouteConfig
	Names     []Name // sorted by host; nil where the proxy answers no DNS
}
