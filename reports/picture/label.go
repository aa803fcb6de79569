package picture

import (
	"math"
	"unicode/utf8"
)

// label is what stands on an edge: its middle, its text and its padlock.
type label struct {
	edge       int
	x, y       float64
	text, lock string
}

// The measures of labels, in the graph's units. A page may write a longer number when its
// slider moves: there is room for one.
const (
	letterWidth     = 6.2
	edgeLabelHeight = 15.0
	lockWidth       = 14.0
	shortest        = 6 // letters
)

// box is an area of a drawing.
type box struct{ left, top, right, bottom float64 }

func (b box) touches(o box) bool {
	return b.left < o.right && o.left < b.right && b.top < o.bottom && o.top < b.bottom
}

func (l label) box() box {
	w := float64(max(utf8.RuneCountInString(l.text), shortest)) * letterWidth / 2
	left := l.x + 6 - w
	if l.lock != "" {
		left -= lockWidth
	}
	return box{left, l.y - edgeLabelHeight/2, l.x + 6 + w, l.y + edgeLabelHeight/2}
}

// spread moves labels that would touch another one, or a node, to the nearest place
// where they do not. Those of earlier edges stay.
func (d *graph) spread(width, height float64) {
	taken := make([]box, 0, len(d.places)+len(d.labels))
	w := d.boxWidth() / 2
	for _, p := range d.places {
		x, y := d.at(p)
		taken = append(taken, box{x - w, y - nodeHeight/2, x + w, y + nodeHeight/2})
	}
	free := func(b box) bool {
		for _, t := range taken {
			if b.touches(t) {
				return false
			}
		}
		return b.left >= 0 && b.top >= 0 && b.right <= width && b.bottom <= height
	}
	for i := range d.labels {
		l := &d.labels[i]
		l.x, l.y = l.near(free)
		taken = append(taken, l.box())
	}
}

// near looks for a free place in rings around a label's own; where there is none, it stays.
func (l label) near(free func(box) bool) (x, y float64) {
	if free(l.box()) {
		return l.x, l.y
	}
	const rings, ways = 14, 16
	for ring := 1; ring <= rings; ring++ {
		for k := range ways {
			angle := 2 * math.Pi * float64(k) / ways
			moved := l
			// Sideways is farther than up or down: labels are wide.
			moved.x += 1.5 * 6 * float64(ring) * math.Sin(angle)
			moved.y += -6 * float64(ring) * math.Cos(angle)
			if free(moved.box()) {
				return moved.x, moved.y
			}
		}
	}
	return l.x, l.y
}
