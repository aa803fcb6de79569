package picture

import (
	"fmt"
	"html/template"
	"slices"
	"sort"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// The measures of a timeline, in pixels.
const (
	barsHeight  = 26
	labelHeight = 17
	bandHeight  = 15
	rowGap      = 7
)

// Timeline draws who answered over the world's time: a row per workload, a bar per
// bucket as high as its share of the busiest one, errors on top; then the retries,
// what lasted as bands, and what happened as marks.
func Timeline(t *result.Timeline, seconds float64) template.HTML {
	if t == nil || len(t.Series) == 0 || t.BucketSeconds <= 0 {
		return ""
	}
	buckets, most := 0, 1
	for _, s := range t.Series {
		buckets = max(buckets, len(s.OK))
		for i := range s.OK {
			most = max(most, s.OK[i]+s.Errors[i])
		}
	}
	d := &timeline{width: t.BucketSeconds, span: max(seconds, t.BucketSeconds*float64(buckets)), most: most}
	for _, s := range t.Series {
		d.row(s)
	}
	if len(t.Retries) > 0 {
		d.retries(t.Retries)
	}
	d.bands(t.Bands)
	marks := d.marks(t.Events)
	var c canvas
	c.open("timeline", d.y+26, "Answers per workload over the world's time")
	c.add(`<g class="axis">`)
	c.axis(d.y, d.span)
	c.add("</g>%s", d.body.String())
	c.add("%s", marks)
	c.add(`<line class="cursor" x1="0" x2="0" y1="0" y2="%.0f" visibility="hidden"/>`, d.y+4)
	return c.close()
}

// Span is the time that a timeline's width stands for, in seconds.
func Span(t *result.Timeline, seconds float64) float64 {
	if t == nil {
		return seconds
	}
	for _, s := range t.Series {
		seconds = max(seconds, t.BucketSeconds*float64(len(s.OK)))
	}
	return seconds
}

type timeline struct {
	body        canvas
	y           float64
	width, span float64
	most        int
}

func (d *timeline) x(at float64) float64 { return 100 * min(max(at, 0), d.span) / d.span }

func (d *timeline) label(name, note string) {
	d.body.add(`<text class="label" x="0" y="%.0f">%s <tspan class="note">%s</tspan></text>`, d.y+12, escape(name), escape(note))
	d.y += labelHeight
}

func (d *timeline) row(s result.Series) {
	ok, bad := 0, 0
	for i := range s.OK {
		ok, bad = ok+s.OK[i], bad+s.Errors[i]
	}
	note := fmt.Sprintf("%d answered", ok)
	if bad > 0 {
		note += fmt.Sprintf(", %d failed (%s)", bad, failures(s))
	}
	d.label(s.Workload, note)
	bottom := d.y + barsHeight
	d.body.add(`<line class="base" x1="0" x2="100%%" y1="%.1f" y2="%.1f"/>`, bottom, bottom)
	// One path per colour, in a coordinate system that is stretched: a bar is some 20 bytes.
	d.body.add(`<svg x="0" y="%.1f" width="100%%" height="%d" viewBox="0 0 %.4g %d" preserveAspectRatio="none">`, d.y, barsHeight, d.span/d.width, barsHeight)
	height := func(n int) float64 {
		if n == 0 {
			return 0
		}
		return max(barsHeight*float64(n)/float64(d.most), 2)
	}
	var good, failed strings.Builder
	for i := range s.OK {
		okHeight, badHeight := height(s.OK[i]), height(s.Errors[i])
		if okHeight > 0 {
			fmt.Fprintf(&good, "M%d %dv%.1fh.92v%.1fz", i, barsHeight, -okHeight, okHeight)
		}
		if badHeight > 0 {
			fmt.Fprintf(&failed, "M%d %.1fv%.1fh.92v%.1fz", i, barsHeight-okHeight, -badHeight, badHeight)
		}
	}
	for _, p := range []struct{ class, path string }{{"ok", good.String()}, {"bad", failed.String()}} {
		if p.path != "" {
			d.body.add(`<path class="%s" d="%s"/>`, p.class, p.path)
		}
	}
	d.body.add("</svg>")
	d.y = bottom + rowGap
}

// failures names the statuses and flags of a workload's failed answers.
func failures(s result.Series) string {
	var words []string
	for status, n := range s.Status {
		if status >= "400" {
			words = append(words, fmt.Sprintf("%s × %d", status, n))
		}
	}
	sort.Strings(words)
	var flags []string
	for f := range s.Flags {
		flags = append(flags, f)
	}
	sort.Strings(flags)
	if len(flags) > 0 {
		words = append(words, "flags "+strings.Join(flags, " "))
	}
	return strings.Join(words, ", ")
}

func (d *timeline) retries(counts []int) {
	all, most := 0, 1
	for _, n := range counts {
		all, most = all+n, max(most, n)
	}
	d.label("retries", fmt.Sprintf("%d tries beyond the first", all))
	bottom := d.y + bandHeight
	for i, n := range counts {
		if n > 0 {
			left := d.x(float64(i) * d.width)
			height := max(bandHeight*float64(n)/float64(most), 2)
			d.body.add(`<rect class="warn" x="%.2f%%" y="%.1f" width="%.2f%%" height="%.1f"><title>%d retries from %s</title></rect>`,
				left, bottom-height, (d.x(float64(i+1)*d.width)-left)*0.92, height, n, Seconds(float64(i)*d.width))
		}
	}
	d.y = bottom + rowGap
}

// bandWords are what the kinds of bands are called.
var bandWords = map[string]string{"ejected": "ejected", "overflow": "circuit breaker open", "fault": "fault", "weights": "weights"}

// maxBands is how many rows of bands are drawn at most.
const maxBands = 24

// bands draws a row per subject.
func (d *timeline) bands(all []result.Band) {
	rows := 0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].Kind == all[i].Kind && all[j].Subject == all[i].Subject {
			j++
		}
		if rows++; rows > maxBands {
			break
		}
		word, ok := bandWords[all[i].Kind]
		if !ok {
			word = all[i].Kind
		}
		note := all[i].Subject
		if j == i+1 && all[i].Text != "" {
			note += ": " + all[i].Text
		}
		d.label(word, note)
		for _, b := range all[i:j] {
			d.band(b)
		}
		d.y += bandHeight + rowGap
		i = j
	}
}

func (d *timeline) band(b result.Band) {
	left := d.x(b.From)
	width := max(d.x(b.To)-left, 0.4)
	title := fmt.Sprintf("%s %s, %s to %s", b.Subject, b.Text, Seconds(b.From), Seconds(b.To))
	d.body.add(`<svg x="%.2f%%" y="%.1f" width="%.2f%%" height="%d"><title>%s</title><rect class="band %s" width="100%%" height="100%%" rx="3"/>`,
		left, d.y, width, bandHeight, escape(title), b.Kind)
	if b.Kind == "weights" {
		d.body.add(`<text class="inband" x="5" y="%d">%s</text>`, bandHeight-4, escape(b.Text))
	}
	d.body.add("</svg>")
}

// markWords are the events that are drawn.
var markWords = []string{"apply", "delete", "scale", "eject", "uneject", "fault", "canary", "refused"}

// marks draws a line per moment at which something happened.
func (d *timeline) marks(events []result.Event) string {
	var c canvas
	const most = 200
	drawn := 0
	for i := 0; i < len(events) && drawn < most; {
		var texts []string
		at := events[i].Seconds
		j := i
		for ; j < len(events) && d.x(events[j].Seconds)-d.x(at) < 0.3; j++ {
			if e := events[j]; slices.Contains(markWords, e.Kind) && e.Seconds > 0 && len(texts) < 12 {
				texts = append(texts, fmt.Sprintf("%s: %s %s", Seconds(e.Seconds), e.Kind, e.Text))
			}
		}
		i = j
		if len(texts) == 0 {
			continue
		}
		drawn++
		x := d.x(at)
		c.add(`<g class="mark"><title>%s</title><line x1="%.2f%%" x2="%.2f%%" y1="0" y2="%.0f"/></g>`, escape(strings.Join(texts, "\n")), x, x, d.y+4)
	}
	return c.String()
}
