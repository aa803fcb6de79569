package picture

import (
	"slices"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// place is where a node stands: its layer, and its order within.
type place struct{ layer, order int }

// layout has a graph's nodes in layers, callers before the called where there are no
// circles. Edges over several layers go through places of their own.
type layout struct {
	places []place   // by node
	ways   [][]place // by edge
	layers [][]int   // vertices; those behind the nodes are bends of long edges
	most   int       // vertices in the largest layer
}

// arrange lays out a graph after Sugiyama: layers by the longest way, then orders that
// put vertices near the middle of their neighbours.
func arrange(g *result.Graph) *layout {
	index := map[string]int{}
	for i, n := range g.Nodes {
		index[n.Name] = i
	}
	layer := depths(g, index)
	chains := make([][]int, len(g.Edges))
	neighbours := make([][]int, len(g.Nodes))
	link := func(a, b int) {
		neighbours[a], neighbours[b] = append(neighbours[a], b), append(neighbours[b], a)
	}
	for i, e := range g.Edges {
		from, to := index[e.From], index[e.To]
		chains[i] = []int{from}
		for l := layer[from] + 1; l < layer[to]; l++ {
			layer, neighbours = append(layer, l), append(neighbours, nil)
			bend := len(layer) - 1
			link(chains[i][len(chains[i])-1], bend)
			chains[i] = append(chains[i], bend)
		}
		if from != to {
			link(chains[i][len(chains[i])-1], to)
		}
		chains[i] = append(chains[i], to)
	}
	l := &layout{layers: make([][]int, slices.Max(layer)+1)}
	for v, depth := range layer {
		l.layers[depth] = append(l.layers[depth], v)
	}
	order := sweep(l.layers, neighbours)
	for _, vertices := range l.layers {
		l.most = max(l.most, len(vertices))
	}
	at := func(v int) place { return place{layer[v], order[v]} }
	for i := range g.Nodes {
		l.places = append(l.places, at(i))
	}
	for _, chain := range chains {
		var way []place
		for _, v := range chain {
			way = append(way, at(v))
		}
		l.ways = append(l.ways, way)
	}
	return l
}

// depths is the layer of each node: the longest way to it from one that nobody calls,
// leaving out the edges that close a circle.
func depths(g *result.Graph, index map[string]int) []int {
	out := make([][]int, len(g.Nodes))
	called := make([]bool, len(g.Nodes))
	for _, e := range g.Edges {
		from, to := index[e.From], index[e.To]
		out[from] = append(out[from], to)
		called[to] = called[to] || from != to
	}
	const fresh, open, done = 0, 1, 2
	state := make([]int, len(g.Nodes))
	var order []int // callers last
	forward := make([][]int, len(g.Nodes))
	var visit func(int)
	visit = func(v int) {
		state[v] = open
		for _, to := range out[v] {
			if state[to] == open {
				continue
			}
			forward[v] = append(forward[v], to)
			if state[to] == fresh {
				visit(to)
			}
		}
		state[v] = done
		order = append(order, v)
	}
	for _, roots := range []bool{true, false} {
		for v := range g.Nodes {
			if state[v] == fresh && called[v] != roots {
				visit(v)
			}
		}
	}
	depth := make([]int, len(g.Nodes))
	for _, v := range slices.Backward(order) {
		for _, to := range forward[v] {
			depth[to] = max(depth[to], depth[v]+1)
		}
	}
	return depth
}

// sweep orders the vertices of each layer by the mean order of their neighbours, down
// and up some times, and returns the order of each vertex.
func sweep(layers [][]int, neighbours [][]int) []int {
	order := make([]int, len(neighbours))
	number := func(vertices []int) {
		for i, v := range vertices {
			order[v] = i
		}
	}
	for _, vertices := range layers {
		number(vertices)
	}
	const rounds = 6
	for round := range rounds {
		for i := range layers {
			if round%2 == 1 {
				i = len(layers) - 1 - i
			}
			mean := func(v int) float64 {
				if len(neighbours[v]) == 0 {
					return float64(order[v])
				}
				sum := 0
				for _, n := range neighbours[v] {
					sum += order[n]
				}
				return float64(sum) / float64(len(neighbours[v]))
			}
			slices.SortStableFunc(layers[i], func(a, b int) int {
				switch x, y := mean(a), mean(b); {
				case x < y:
					return -1
				case x > y:
					return 1
				}
				return 0
			})
			number(layers[i])
		}
	}
	return order
}
