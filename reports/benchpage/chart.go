package benchpage

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports"
)

// The frame of a chart, in units of its view box.
const (
	width   = 600.0
	left    = 76.0
	right   = 14.0
	letter  = 6.4 // about the width of one in the charts' font
	keyed   = 8.0 // the same in a legend, where it is larger on a narrow screen
	keyLine = 18.0
)

// axis maps values to places.
type axis struct {
	low, high float64
	log       bool
	unit      string
	label     func(float64) string // of a tick; nil: the quantity in the unit
	at        []float64            // ticks; nil: round ones
}

// over makes an axis that holds all values, with some air around them.
func over(values []float64, unit string, log bool) axis {
	a := axis{unit: unit, log: log, low: math.Inf(1), high: math.Inf(-1)}
	for _, v := range values {
		if !log || v > 0 {
			a.low, a.high = min(a.low, v), max(a.high, v)
		}
	}
	switch {
	case a.low > a.high:
		a.low, a.high = 1, 10
	case log:
		a.low, a.high = a.low/1.15, a.high*1.15
	default:
		air := 0.06 * (a.high - a.low)
		if air == 0 {
			air = max(math.Abs(a.high)*0.05, 1e-9)
		}
		a.low, a.high = a.low-air, a.high+air
	}
	return a
}

// fromZero lets an axis begin at nothing, as a bar's has to.
func (a axis) fromZero() axis {
	a.low = min(a.low, 0)
	return a
}

// place is where a value is between two ends; what is outside stays at the edge.
func (a axis) place(v, from, to float64) float64 {
	low, high := a.low, a.high
	if a.log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(max(v, low))
	}
	return from + (to-from)*min(max((v-low)/(high-low), 0), 1)
}

// ticks are round values of an axis.
func (a axis) ticks() []float64 {
	if a.at != nil {
		return a.at
	}
	var all []float64
	if a.log {
		steps := []float64{1, 2, 5}
		if a.high/a.low > 2000 {
			steps = []float64{1}
		}
		for decade := math.Pow(10, math.Floor(math.Log10(a.low))); decade <= a.high; decade *= 10 {
			for _, s := range steps {
				if v := decade * s; v >= a.low && v <= a.high {
					all = append(all, v)
				}
			}
		}
		if len(all) >= 2 {
			return all
		}
		all = nil
	}
	size := 1.0
	for a.unit == "B" && a.high >= 1024*size {
		size *= 1024 // round in the unit that is written
	}
	step := size * math.Pow(10, math.Floor(math.Log10((a.high-a.low)/size/2)))
	for _, s := range []float64{1, 2, 5} {
		if (a.high-a.low)/(step*s) <= 6 {
			step *= s
			break
		}
	}
	for i := math.Ceil(a.low / step); i*step <= a.high; i++ {
		all = append(all, i*step+0) // no minus zero
	}
	return all
}

func (a axis) text(v float64) string {
	if a.label != nil {
		return a.label(v)
	}
	if math.Abs(v) < 1e-9*max(math.Abs(a.low), math.Abs(a.high)) {
		return "0"
	}
	return reports.Quantity(v, a.unit)
}

// chart is an SVG that is drawn.
type chart struct {
	body        strings.Builder
	x, y        axis
	top, bottom float64 // of the plane
	height      float64
	name        string
}

func newChart(name string, x, y axis, height float64, keys []string) *chart {
	c := &chart{name: name, x: x, y: y, height: height, top: 12, bottom: height - 36}
	c.keys(keys)
	return c
}

// px and py are where values are.
func (c *chart) px(v float64) float64 { return c.x.place(v, left, width-right) }

func (c *chart) py(v float64) float64 { return c.y.place(v, c.bottom, c.top) }

// keys draws the legend, which switches its lines on and off, above the plane.
func (c *chart) keys(names []string) {
	if len(names) == 0 {
		return
	}
	x, y := left, 14.0
	for i, name := range names {
		w := 34 + keyed*float64(len([]rune(name)))
		if x > left && x+w > width-right {
			x, y = left, y+keyLine
		}
		fmt.Fprintf(&c.body, `<g class="key" tabindex="0" role="button" aria-pressed="true" data-series="s%d"><rect class="hit" x="%s" y="%s" width="%s" height="16"/>`+
			`<path class="line s%d" d="M%s %sh14"/><text x="%s" y="%s">%s</text></g>`, i, n(x-2), n(y-12), n(w-6), i%palette, n(x), n(y-4), n(x+19), n(y), html.EscapeString(name))
		x += w
	}
	grown := y + 10 - c.top
	c.top, c.bottom, c.height = c.top+grown, c.bottom+grown, c.height+grown
}

// palette is how many colours there are; the style sheet has them.
const palette = 8

// axes draws both with their ticks and names.
func (c *chart) axes(xName, yName string) {
	c.xAxis(xName)
	for _, v := range c.y.ticks() {
		y := c.py(v)
		fmt.Fprintf(&c.body, `<path class="grid" d="M%s %sH%s"/><text class="tick end" x="%s" y="%s">%s</text>`, n(left), n(y), n(width-right), n(left-6), n(y+4), html.EscapeString(c.y.text(v)))
	}
	if yName != "" {
		fmt.Fprintf(&c.body, `<text class="tick mid" transform="translate(11 %s) rotate(-90)">%s</text>`, n((c.top+c.bottom)/2), html.EscapeString(yName))
	}
}

func (c *chart) xAxis(name string) {
	last := math.Inf(-1)
	for _, v := range c.x.ticks() {
		x, text := c.px(v), c.x.text(v)
		fmt.Fprintf(&c.body, `<path class="grid" d="M%s %sV%s"/>`, n(x), n(c.top), n(c.bottom))
		half := letter * float64(len([]rune(text))) / 2
		if x-half < last+4 || x+half > width {
			continue // no room for its text
		}
		last = x + half
		fmt.Fprintf(&c.body, `<text class="tick mid" x="%s" y="%s">%s</text>`, n(x), n(c.bottom+15), html.EscapeString(text))
	}
	fmt.Fprintf(&c.body, `<text class="tick mid" x="%s" y="%s">%s</text>`, n((left+width-right)/2), n(c.bottom+31), html.EscapeString(name))
}

// point is a place in a series; low and high are its interval, where it has one.
type point struct {
	x, y, low, high float64
	title           string
}

// series draws a line, its interval as a band, and a dot with a title for each point.
func (c *chart) series(i int, points []point, dots bool) {
	if len(points) == 0 {
		return
	}
	fmt.Fprintf(&c.body, `<g class="series" data-series="s%d">`, i)
	var path, upper, lower strings.Builder
	banded := false
	for k, p := range points {
		move := "L"
		if k == 0 {
			move = "M"
		}
		x := n(c.px(p.x))
		path.WriteString(move + x + " " + n(c.py(p.y)))
		upper.WriteString(move + x + " " + n(c.py(p.high)))
		back := points[len(points)-1-k]
		lower.WriteString("L" + n(c.px(back.x)) + " " + n(c.py(back.low)))
		banded = banded || p.low != p.high
	}
	if banded {
		fmt.Fprintf(&c.body, `<path class="band s%d" d="%s%sZ"/>`, i%palette, upper.String(), lower.String())
	}
	fmt.Fprintf(&c.body, `<path class="line s%d" d="%s"/>`, i%palette, path.String())
	for _, p := range points {
		if dots || p.title != "" {
			c.dot(i, c.px(p.x), c.py(p.y), 3, p.title)
		}
	}
	c.body.WriteString("</g>")
}

func (c *chart) dot(i int, x, y, r float64, title string) {
	fmt.Fprintf(&c.body, `<circle class="dot s%d" cx="%s" cy="%s" r="%s" tabindex="0"><title>%s</title></circle>`, i%palette, n(x), n(y), n(r), html.EscapeString(title))
}

// text puts words at a place of the view box.
func (c *chart) text(class string, x, y float64, words string) {
	fmt.Fprintf(&c.body, `<text class="%s" x="%s" y="%s">%s</text>`, class, n(x), n(y), html.EscapeString(words))
}

func (c *chart) svg() string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" role="img" aria-label="%s">%s</svg>`, n(width), n(c.height), html.EscapeString(c.name), c.body.String())
}

// n writes a coordinate with one digit behind the point.
func n(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}
