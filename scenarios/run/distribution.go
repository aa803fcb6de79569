package run

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run/expect"
)

// distribution is told of durations, and is asked for what an HDR histogram of
// nanoseconds with three significant digits knows of them, beside what that would
// round: the least, the most and the sum.
type distribution struct {
	all        []time.Duration
	sum        time.Duration
	least, top time.Duration
}

func (d *distribution) add(v time.Duration) {
	v = min(max(v, 0), 24*time.Hour)
	if len(d.all) == 0 {
		d.least = v
	}
	d.all = append(d.all, v)
	d.least, d.top = min(d.least, v), max(d.top, v)
	d.sum += v
}

// histogram has a range that fits: its size, and an encoded one begins with it.
func (d *distribution) histogram() *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, max(int64(d.top), 2), 3)
	for _, v := range d.all {
		_ = h.RecordValue(int64(v)) // cannot fail: v is in range
	}
	return h
}

// percentiles never leave the range of what was recorded, though the histogram
// rounds up within its buckets.
func (d *distribution) percentiles(h *hdrhistogram.Histogram) expect.Percentiles {
	at := func(q float64) time.Duration {
		return min(max(time.Duration(h.ValueAtQuantile(q)), d.least), d.top)
	}
	return expect.Percentiles{Min: d.least, Avg: d.sum / time.Duration(len(d.all)), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: d.top}
}

// summary is the percentiles of what was recorded; nothing gives zeros.
func (d *distribution) summary() expect.Percentiles {
	if len(d.all) == 0 {
		return expect.Percentiles{}
	}
	return d.percentiles(d.histogram())
}

// latency is the same for a report, with the histogram as other tools of HdrHistogram
// read it; nothing gives nil.
func (d *distribution) latency() *result.Latency {
	if len(d.all) == 0 {
		return nil
	}
	h := d.histogram()
	p := d.percentiles(h)
	l := &result.Latency{Count: int64(len(d.all)), Min: p.Min.Seconds(), Mean: p.Avg.Seconds(), P50: p.P50.Seconds(), P90: p.P90.Seconds(),
		P99: p.P99.Seconds(), P999: p.P999.Seconds(), Max: p.Max.Seconds()}
	if encoded, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err == nil {
		l.Histogram = string(encoded)
	}
	return l
}
