package serve

import (
	"fmt"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Node is who a proxy says it is, on the first request of its stream.
type Node struct {
	ID       string
	Cluster  string
	Metadata map[string]any
	Locality Locality
	// UserAgent is "envoy", "gRPC Go", "meshproxy" …
	UserAgent        string
	UserAgentVersion string
}

// Locality is where a proxy runs.
type Locality struct{ Region, Zone, SubZone string }

// NodeOf converts the protocol's node.
func NodeOf(n *corepb.Node) Node {
	node := Node{
		ID:        n.GetId(),
		Cluster:   n.GetCluster(),
		Metadata:  n.GetMetadata().AsMap(),
		UserAgent: n.GetUserAgentName(),
		Locality: Locality{Region: n.GetLocality().GetRegion(), Zone: n.GetLocality().GetZone(),
			SubZone: n.GetLocality().GetSubZone()},
	}
	if v := n.GetUserAgentBuildVersion().GetVersion(); v != nil {
		node.UserAgentVersion = fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
	} else {
		node.UserAgentVersion = n.GetUserAgentVersion()
	}
	return node
}

// Generator makes the resources of one proxy. It is called by many goroutines.
type Generator interface {
	Generate(Node) (resource.Set, error)
}

// Keyed is a Generator that knows which proxies see the same thing: those with
// equal keys share one call of Generate.
type Keyed interface {
	Generator
	Key(Node) string
}

// GeneratorFunc makes a Generator of a function.
type GeneratorFunc func(Node) (resource.Set, error)

// Generate implements Generator.
func (f GeneratorFunc) Generate(n Node) (resource.Set, error) { return f(n) }
