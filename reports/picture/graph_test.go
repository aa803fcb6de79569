package picture

import (
	"fmt"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// mesh is n services of which everyone calls all behind it, and all are called twice as
// often as the one before.
func mesh(n int) *result.Graph {
	g := &result.Graph{}
	for i := range n {
		g.Nodes = append(g.Nodes, result.Node{Name: fmt.Sprintf("service-%d", i), Kind: "workload"})
		for j := range i {
			g.Edges = append(g.Edges, result.Edge{From: fmt.Sprintf("service-%d", j), To: fmt.Sprintf("service-%d", i), Count: 1 << i, Bad: i % 2, MutualTLS: 1})
		}
	}
	return g
}

// No two labels of a graph touch, nor does one lie on a node, in either direction.
func TestLabelsDoNotTouch(t *testing.T) {
	fan := &result.Graph{Nodes: []result.Node{{Name: "front"}}}
	for i := range 8 {
		name := fmt.Sprintf("back-%d", i)
		fan.Nodes = append(fan.Nodes, result.Node{Name: name})
		fan.Edges = append(fan.Edges, result.Edge{From: "front", To: name, Count: 1000, Bad: 123}, result.Edge{From: name, To: "front", Count: 1})
	}
	for name, g := range map[string]*result.Graph{"pair": mesh(2), "bookstore": mesh(4), "all to all": mesh(6), "fan": fan} {
		for _, upright := range []bool{false, true} {
			d := &graph{layout: arrange(g), upright: upright}
			var c canvas
			for i, e := range g.Edges {
				d.edge(&c, i, e, 1000, 10)
			}
			d.spread(d.size())
			for i, a := range d.labels {
				for _, b := range d.labels[:i] {
					if a.box().touches(b.box()) {
						t.Errorf("%s, upright %t: %q of edge %d touches %q of edge %d", name, upright, a.text, a.edge, b.text, b.edge)
					}
				}
				for k, p := range d.places {
					x, y := d.at(p)
					if w := d.boxWidth() / 2; a.box().touches(box{x - w, y - nodeHeight/2, x + w, y + nodeHeight/2}) {
						t.Errorf("%s, upright %t: %q lies on %s", name, upright, a.text, g.Nodes[k].Name)
					}
				}
			}
		}
	}
}
