package reports

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
)

// The drawing's measures, in SVG units.
const (
	timelineWidth = 920
	rowHeight     = 34
	rowGap        = 8
	labelWidth    = 150
	axisHeight    = 26
)

// timeline draws who answered over the world's time: a row per workload, a bar per
// bucket as high as its share of the busiest one, answers with errors on top.
func timeline(t *result.Timeline, seconds float64) template.HTML {
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
	span := max(seconds, t.BucketSeconds*float64(buckets))
	x := func(at float64) float64 { return labelWidth + (timelineWidth-labelWidth-10)*at/span }
	rows := float64(len(t.Series)) * (rowHeight + rowGap)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="timeline" viewBox="0 0 %d %.0f" role="img" aria-label="Answers per workload over the world's time">`, timelineWidth, rows+axisHeight)
	for i, s := range t.Series {
		drawRow(&b, s, float64(i)*(rowHeight+rowGap), t.BucketSeconds, most, x)
	}
	drawAxis(&b, rows, span, x)
	for _, e := range t.Events {
		if e.Kind != "apply" && e.Kind != "delete" && e.Kind != "scale" && e.Kind != "eject" && e.Kind != "fault" {
			continue
		}
		fmt.Fprintf(&b, `<line class="event" x1="%.1f" x2="%.1f" y1="0" y2="%.1f"><title>%s</title></line>`, x(e.Seconds), x(e.Seconds), rows,
			template.HTMLEscapeString(fmt.Sprintf("%.3f s: %s %s", e.Seconds, e.Kind, e.Text)))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

func drawRow(b *strings.Builder, s result.Series, top, bucket float64, most int, x func(float64) float64) {
	bottom := top + rowHeight
	fmt.Fprintf(b, `<text class="label" x="%d" y="%.1f" text-anchor="end">%s</text>`, labelWidth-8, bottom-rowHeight/2+4, template.HTMLEscapeString(s.Workload))
	fmt.Fprintf(b, `<line class="base" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, labelWidth, timelineWidth-10, bottom, bottom)
	for i := range s.OK {
		ok, bad := s.OK[i], s.Errors[i]
		if ok+bad == 0 {
			continue
		}
		left := x(float64(i) * bucket)
		width := max(x(float64(i+1)*bucket)-left-1, 1.5)
		okHeight := rowHeight * float64(ok) / float64(most)
		badHeight := rowHeight * float64(bad) / float64(most)
		fmt.Fprintf(b, `<g><title>%s, %.3g s: %d answered, %d errors</title>`, template.HTMLEscapeString(s.Workload), float64(i)*bucket, ok, bad)
		if ok > 0 {
			fmt.Fprintf(b, `<rect class="ok" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, left, bottom-max(okHeight, 1.5), width, max(okHeight, 1.5))
		}
		if bad > 0 {
			fmt.Fprintf(b, `<rect class="bad" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, left, bottom-okHeight-max(badHeight, 1.5), width, max(badHeight, 1.5))
		}
		b.WriteString("</g>")
	}
}

func drawAxis(b *strings.Builder, y, span float64, x func(float64) float64) {
	const ticks = 6
	for i := range ticks + 1 {
		at, anchor := span*float64(i)/ticks, "middle"
		if i == ticks {
			anchor = "end"
		}
		fmt.Fprintf(b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x(at), y+axisHeight-8, anchor, seconds(at))
	}
}

// seconds writes a duration of the world's time as short as it can be read.
func seconds(s float64) string {
	switch {
	case s >= 3600:
		return fmt.Sprintf("%.3g h", s/3600)
	case s >= 600:
		return fmt.Sprintf("%.3g min", s/60)
	case s >= 1 || s == 0:
		return fmt.Sprintf("%.3g s", s)
	default:
		return fmt.Sprintf("%.3g ms", s*1000)
	}
}
