package picture

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// plotHeight of percentiles, histograms and heat maps, in pixels.
const plotHeight = 150.0

// nines are the ticks of a percentile axis: each is as wide as the one before.
var nines = []struct {
	share float64
	label string
}{{0, "0"}, {0.9, "90 %"}, {0.99, "99 %"}, {0.999, "99.9 %"}, {0.9999, "99.99 %"}, {0.99999, "99.999 %"}}

// Decode reads a latency's histogram; nil: it has none that can be read.
func Decode(l *result.Latency) *hdrhistogram.Histogram {
	if l == nil || l.Histogram == "" {
		return nil
	}
	h, err := hdrhistogram.Decode([]byte(l.Histogram))
	if err != nil || h.TotalCount() == 0 {
		return nil
	}
	return h
}

// Percentiles draws how long the slowest share of calls took: the axis has as much
// room for each further nine, as HdrHistogram's plots do.
func Percentiles(l *result.Latency) template.HTML {
	h := Decode(l)
	if h == nil {
		return ""
	}
	last := 2
	for n := l.Count; n > 100 && last < len(nines)-1; n /= 10 {
		last++
	}
	x := func(share float64) float64 { return 100 * -math.Log10(max(1-share, math.Pow10(-last))) / float64(last) }
	top := l.Max * 1.15 // the highest label has room above its dot
	var c canvas
	c.open("plot percentiles", plotHeight+20, "Latency by percentile")
	y := c.values(top)
	for i, n := range nines[:last+1] {
		anchor := "middle"
		if i == 0 {
			anchor = "start"
		} else if i == last {
			anchor = "end"
		}
		c.add(`<line class="grid" x1="%.2f%%" x2="%.2f%%" y1="0" y2="%.0f"/><text class="tick" x="%.2f%%" y="%.0f" text-anchor="%s">%s</text>`,
			x(n.share), x(n.share), plotHeight, x(n.share), plotHeight+14, anchor, n.label)
	}
	c.add(`<svg x="0" y="0" width="100%%" height="%.0f" viewBox="0 0 1000 %.0f" preserveAspectRatio="none"><path class="line" d="`, plotHeight, plotHeight)
	const points = 120
	before := -1.0
	for i := range points + 1 {
		share := 1 - math.Pow(10, -float64(last)*float64(i)/points)
		v := y(bounded(float64(h.ValueAtQuantile(100*share))/1e9, l))
		switch {
		case i == 0:
			c.add("M0 %.1f", v)
		case v != before:
			c.add("H%.1fV%.1f", 10*x(share), v)
		}
		before = v
	}
	c.add(`H1000"/></svg>`)
	for _, p := range []struct {
		share, value float64
		name         string
	}{{0.5, l.P50, "p50"}, {0.9, l.P90, "p90"}, {0.99, l.P99, "p99"}} {
		c.add(`<circle class="dot" cx="%.2f%%" cy="%.1f" r="3"/><text class="direct" x="%.2f%%" y="%.1f" text-anchor="middle">%s %s</text>`,
			min(x(p.share), 99), y(p.value), min(max(x(p.share), 15), 90), max(y(p.value)-7, 10), p.name, Seconds(p.value))
	}
	return c.close()
}

// bounded keeps a histogram's value, which is rounded, in the range of what was measured.
func bounded(v float64, l *result.Latency) float64 { return min(max(v, l.Min), l.Max) }

// values draws the grid of a latency axis, and tells where a value stands.
func (c *canvas) values(top float64) func(float64) float64 {
	y := func(v float64) float64 { return plotHeight * (1 - v/top) }
	for _, v := range steps(top, 3) {
		c.add(`<line class="grid" x1="0" x2="100%%" y1="%.1f" y2="%.1f"/>`, y(v), y(v))
		if v > 0 {
			c.add(`<text class="tick" x="2" y="%.1f">%s</text>`, y(v)-3, Seconds(v))
		}
	}
	return y
}

// Histogram draws how many calls took how long, in 40 steps from the fastest to the slowest.
func Histogram(l *result.Latency) template.HTML {
	h := Decode(l)
	if h == nil {
		return ""
	}
	const bars = 40
	low, high := l.Min, l.Max
	if high-low < 1e-6 { // all alike
		low, high = low*0.5, high*1.5+1e-6
	}
	var counts [bars]int64
	var most int64 = 1
	for _, b := range h.Distribution() {
		if b.Count > 0 {
			i := int(float64(bars) * (bounded(float64(b.To)/1e9, l) - low) / (high - low))
			i = min(max(i, 0), bars-1)
			counts[i] += b.Count
			most = max(most, counts[i])
		}
	}
	var c canvas
	c.open("plot histogram", plotHeight+20, "Calls by latency")
	for i, n := range counts {
		if n == 0 {
			continue
		}
		height := max((plotHeight-16)*float64(n)/float64(most), 1.5)
		from, to := low+(high-low)*float64(i)/bars, low+(high-low)*float64(i+1)/bars
		c.add(`<rect class="ok" x="%.2f%%" y="%.1f" width="%.2f%%" height="%.1f"><title>%s to %s: %d calls</title></rect>`,
			100*float64(i)/bars, plotHeight-height, 100.0/bars*0.9, height, Seconds(from), Seconds(to), n)
		if n == most {
			c.add(`<text class="direct" x="%.2f%%" y="%.1f" text-anchor="middle">%d</text>`, min(max(100*(float64(i)+0.45)/bars, 3), 96), plotHeight-height-4, n)
			most = math.MaxInt64 // the first of equals
		}
	}
	c.add(`<line class="base" x1="0" x2="100%%" y1="%.0f" y2="%.0f"/>`, plotHeight, plotHeight)
	c.add(`<text class="tick" x="0" y="%.0f">%s</text><text class="tick" x="50%%" y="%.0f" text-anchor="middle">%s</text><text class="tick" x="100%%" y="%.0f" text-anchor="end">%s</text>`,
		plotHeight+14, Seconds(low), plotHeight+14, Seconds((low+high)/2), plotHeight+14, Seconds(high))
	return c.close()
}

// Heat draws how many calls took how long over the world's time; the more, the darker.
func Heat(h *result.Heat, span float64) template.HTML {
	if h == nil || len(h.Cells) == 0 || span <= 0 {
		return ""
	}
	low, high, most := math.MaxInt, 0, 1
	for _, cell := range h.Cells {
		low, high, most = min(low, cell[1]), max(high, cell[1]), max(most, cell[2])
	}
	low, high = max(low-1, 0), high+2
	row := plotHeight / float64(high-low)
	from := func(r int) float64 { return 1e-6 * math.Pow(10, float64(r)/float64(h.PerDecade)) }
	var c canvas
	c.open("plot heat", plotHeight+20, "Calls by latency, over the world's time")
	const shades = 6
	var paths [shades]strings.Builder
	for _, cell := range h.Cells {
		shade := int(shades * math.Sqrt(float64(cell[2])/float64(most)))
		fmt.Fprintf(&paths[min(shade, shades-1)], "M%d %.1fh.96v%.1fh-.96z", cell[0], plotHeight-row*float64(cell[1]-low+1), row*0.94)
	}
	c.add(`<svg x="0" y="0" width="100%%" height="%.0f" viewBox="0 0 %.4g %.0f" preserveAspectRatio="none">`, plotHeight, span/h.BucketSeconds, plotHeight)
	for i := range paths {
		if paths[i].Len() > 0 {
			c.add(`<path class="cell" fill-opacity="%.2f" d="%s"/>`, 0.15+0.85*float64(i+1)/shades, paths[i].String())
		}
	}
	c.add("</svg>")
	for r := low; r <= high; r++ {
		if r%h.PerDecade == 0 || high-low < 8 && r > low && r < high && r%3 == 0 {
			y := plotHeight - row*float64(r-low)
			c.add(`<line class="grid" x1="0" x2="100%%" y1="%.1f" y2="%.1f"/><text class="tick" x="2" y="%.1f">%s</text>`, y, y, y-3, Seconds(from(r)))
		}
	}
	c.axis(plotHeight, span)
	return c.close()
}
