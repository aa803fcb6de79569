package meshd

import (
	"fmt"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/serve"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/translate"
)

// generator makes the resources of one proxy from one translated mesh.
type generator struct{ translator *translate.Translator }

// Generate implements serve.Generator.
func (g generator) Generate(n serve.Node) (resource.Set, error) {
	node, err := names.ParseNode(n.ID, n.Metadata)
	if err != nil {
		return nil, fmt.Errorf("node id %q: %w", n.ID, err)
	}
	return g.translator.Proxy(node)
}
