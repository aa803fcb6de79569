// Package picture draws what a run found as SVG: a timeline, a service graph and
// distributions of latency. What comes in is reports/result, what goes out is markup that
// takes its colours from the page's style. Horizontal positions are shares of the
// width, so that text keeps its size on any screen. It must not import the mesh or worlds.
package picture

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// canvas collects the markup of one drawing.
type canvas struct{ strings.Builder }

func (c *canvas) add(format string, args ...any) { fmt.Fprintf(&c.Builder, format, args...) }

// open begins a drawing that is as wide as its place and so many pixels high.
func (c *canvas) open(class string, height float64, label string) {
	c.add(`<svg class="%s" width="100%%" height="%.0f" role="img" aria-label="%s">`, class, height, escape(label))
}

func (c *canvas) close() template.HTML {
	c.add("</svg>")
	return template.HTML(c.String())
}

func escape(text string) string { return template.HTMLEscapeString(text) }

// Seconds writes a duration as short as it can be read.
func Seconds(s float64) string {
	switch {
	case s >= 3600:
		return fmt.Sprintf("%.3g h", s/3600)
	case s >= 600:
		return fmt.Sprintf("%.3g min", s/60)
	case s >= 1 || s == 0:
		return fmt.Sprintf("%.3g s", s)
	case s >= 0.001:
		return fmt.Sprintf("%.3g ms", s*1000)
	default:
		return fmt.Sprintf("%.3g µs", s*1e6)
	}
}

// steps are round numbers from 0 on that divide a range into at most n parts.
func steps(most float64, n int) []float64 {
	if most <= 0 {
		return []float64{0}
	}
	width := math.Pow(10, math.Floor(math.Log10(most/float64(n))))
	for _, m := range []float64{1, 2, 5, 10} {
		if width*m*float64(n) >= most {
			width *= m
			break
		}
	}
	var all []float64
	for i := 0; float64(i)*width <= most*1.0001; i++ {
		all = append(all, float64(i)*width)
	}
	return all
}

// axis writes the ticks of a time axis below y.
func (c *canvas) axis(y, span float64) {
	for _, at := range steps(span, 6) {
		x, anchor := 100*at/span, "middle"
		if at == 0 {
			anchor = "start"
		} else if x > 96 {
			anchor = "end"
		}
		c.add(`<line class="grid" x1="%.2f%%" x2="%.2f%%" y1="0" y2="%.0f"/><text class="tick" x="%.2f%%" y="%.0f" text-anchor="%s">%s</text>`,
			x, x, y+4, x, y+16, anchor, Seconds(at))
	}
}
