package picture

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// The measures of a service graph, in its own units.
const (
	nodeWidth, nodeHeight = 132.0, 34.0
	layerGap, siblingGap  = 128.0, 26.0
	charWidth             = 6.6
)

// Graph draws who called whom, in layers from the left, or from the top where upright is
// set. Edges carry their index (data-edge), so that a page can let them follow the time.
func Graph(g *result.Graph, seconds float64, upright bool) template.HTML {
	if g == nil || len(g.Edges) == 0 {
		return ""
	}
	l := arrange(g)
	d := &graph{layout: l, upright: upright}
	width, height := d.size()
	var c canvas
	class := "graph wide"
	if upright {
		class = "graph tall"
	}
	c.add(`<svg class="%s" viewBox="0 0 %.0f %.0f" width="%.0f" role="img" aria-label="Who called whom">`, class, width, height, width)
	most := 1
	for _, e := range g.Edges {
		most = max(most, e.Count)
	}
	for i, e := range g.Edges {
		d.edge(&c, i, e, most, seconds)
	}
	for i, n := range g.Nodes {
		d.node(&c, l.places[i], n)
	}
	d.spread(width, height)
	for _, l := range d.labels {
		c.add(`<g class="edge-label" data-edge="%d" transform="translate(%.1f %.1f)">%s<text text-anchor="middle" x="6" y="4">%s</text></g>`, l.edge, l.x, l.y, l.lock, l.text)
	}
	return c.close()
}

type graph struct {
	*layout
	upright bool
	labels  []label
}

// size is the drawing's width and height.
func (d *graph) size() (w, h float64) {
	layers, most := float64(len(d.layers)), float64(d.most)
	if d.upright {
		return most*(nodeWidth*0.82+siblingGap) + 40, layers*(nodeHeight+layerGap*0.55) - layerGap*0.55 + 24
	}
	return layers*(nodeWidth+layerGap) - layerGap + 24, most*(nodeHeight+siblingGap) + 16
}

// at is the middle of a place.
func (d *graph) at(p place) (x, y float64) {
	offset := (float64(d.most) - float64(len(d.layers[p.layer]))) / 2
	if d.upright {
		return 20 + (float64(p.order)+offset+0.5)*(nodeWidth*0.82+siblingGap), 12 + nodeHeight/2 + float64(p.layer)*(nodeHeight+layerGap*0.55)
	}
	return 12 + nodeWidth/2 + float64(p.layer)*(nodeWidth+layerGap), 8 + (float64(p.order)+offset+0.5)*(nodeHeight+siblingGap)
}

func (d *graph) boxWidth() float64 {
	if d.upright {
		return nodeWidth * 0.9
	}
	return nodeWidth
}

func (d *graph) node(c *canvas, p place, n result.Node) {
	x, y := d.at(p)
	w := d.boxWidth()
	name := n.Name
	if most := int((w - 14) / charWidth); len(name) > most {
		name = name[:most/2] + "…" + name[len(name)-most/2+1:]
	}
	c.add(`<g class="node %s"><title>%s (%s)</title><rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="8"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text></g>`,
		n.Kind, escape(n.Name), n.Kind, x-w/2, y-nodeHeight/2, w, nodeHeight, x, y+4, escape(name))
}

func (d *graph) edge(c *canvas, i int, e result.Edge, most int, seconds float64) {
	path, mx, my := d.route(i)
	share := float64(e.Bad) / float64(max(e.Count, 1))
	stroke := 1.2 + 4.3*math.Sqrt(float64(e.Count)/float64(most))
	title := fmt.Sprintf("%s → %s: %d requests, %d failed, %s", e.From, e.To, e.Count, e.Bad, security(e))
	c.add(`<g class="edge" data-edge="%d" style="--bad-share:%.3f"><title>%s</title><path d="%s" stroke-width="%.2f"/>`, i, share, escape(title), path, stroke)
	c.add(`</g>`)
	text := Rate(float64(e.Count), seconds)
	if e.Bad > 0 {
		text += fmt.Sprintf(" · %.3g %% bad", 100*share)
	}
	d.labels = append(d.labels, label{i, mx, my, text, padlock(e, len(text))})
}

// Rate writes requests per second, or how many there were where that says more.
func Rate(count, seconds float64) string {
	if seconds > 0 && count/seconds >= 1 {
		return fmt.Sprintf("%.3g/s", count/seconds)
	}
	return fmt.Sprintf("%.0f×", count)
}

func security(e result.Edge) string {
	switch {
	case e.MutualTLS > 0 && e.Plain == 0:
		return "mutual TLS"
	case e.MutualTLS > 0:
		return fmt.Sprintf("mutual TLS for %d, %d in plain text", e.MutualTLS, e.Plain)
	case e.Plain > 0:
		return "plain text"
	}
	return "no sidecar to tell whether there was TLS"
}

// padlock is closed for mutual TLS, open where some or all came in plain text, and not
// there where nobody knows. It stands before its label.
func padlock(e result.Edge, letters int) string {
	if e.MutualTLS+e.Plain == 0 {
		return ""
	}
	class, shackle := "lock", "M2 5V3.2a2.5 2.5 0 0 1 5 0V5"
	if e.Plain > 0 {
		class, shackle = "lock open", "M2 5V2.2a2.5 2.5 0 0 1 5 0"
	}
	return fmt.Sprintf(`<g class="%s" transform="translate(%.1f -6)"><title>%s</title><path d="%s"/><rect x="0.5" y="5" width="8" height="6" rx="1.2"/></g>`,
		class, -float64(letters)*2.9-8, security(e), shackle)
}

// route is the path of an edge through its places, and where its label stands.
func (d *graph) route(i int) (path string, mx, my float64) {
	way := d.ways[i]
	var xs, ys []float64
	for _, p := range way {
		x, y := d.at(p)
		xs, ys = append(xs, x), append(ys, y)
	}
	last := len(xs) - 1
	w, h := d.boxWidth()/2, nodeHeight/2
	if way[0].layer >= way[last].layer { // to itself, or back: around
		return d.loop(xs[0], ys[0], xs[last], ys[last])
	}
	if d.upright {
		ys[0], ys[last] = ys[0]+h, ys[last]-h
	} else {
		xs[0], xs[last] = xs[0]+w, xs[last]-w
	}
	var b strings.Builder
	fmt.Fprintf(&b, "M%.1f %.1f", xs[0], ys[0])
	for k := 1; k <= last; k++ {
		x0, y0, x1, y1 := xs[k-1], ys[k-1], xs[k], ys[k]
		if d.upright {
			fmt.Fprintf(&b, "C%.1f %.1f %.1f %.1f %.1f %.1f", x0, (y0+y1)/2, x1, (y0+y1)/2, x1, y1)
		} else {
			fmt.Fprintf(&b, "C%.1f %.1f %.1f %.1f %.1f %.1f", (x0+x1)/2, y0, (x0+x1)/2, y1, x1, y1)
		}
	}
	// Labels stand nearer to the callee, where fewer edges meet.
	const share = 0.68
	k := last
	t := share
	if last > 1 {
		k, t = 1, 0.9
	}
	s := t * t * (3 - 2*t) // along the curve that the controls above make
	if d.upright {
		return b.String(), xs[k-1] + (xs[k]-xs[k-1])*s, ys[k-1] + (ys[k]-ys[k-1])*t
	}
	return b.String(), xs[k-1] + (xs[k]-xs[k-1])*t, ys[k-1] + (ys[k]-ys[k-1])*s - 10
}

// loop goes around the boxes of edges that do not point forward.
func (d *graph) loop(x0, y0, x1, y1 float64) (path string, mx, my float64) {
	w, h := d.boxWidth()/2, nodeHeight/2
	if d.upright {
		side := max(x0, x1) + w + 16
		return fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x0+w, y0-4, side, y0-10, side, y1+10, x1+w, y1+4), side - 10, (y0 + y1) / 2
	}
	top := min(y0, y1) - h - 14
	return fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x0+8, y0-h, x0+14, top, x1-14, top, x1-8, y1-h), (x0 + x1) / 2, top + 4
}
