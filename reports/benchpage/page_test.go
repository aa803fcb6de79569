package benchpage

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/reports/sample"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

func render(t *testing.T) string {
	t.Helper()
	base, next := sample.Benchmark(1), sample.Benchmark(1.2)
	in := Input{Runs: []Run{{"<script>alert(1)</script>", next}}, Base: base, New: next, Comparison: stat.Compare(base, next, stat.Options{}),
		History: []stat.HistoryEntry{stat.Entry(base), stat.Entry(next)}}
	page, err := Render(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestThePageSaysWhatMatters(t *testing.T) {
	page := render(t)
	for _, want := range []string{"slower or costlier", "regression", "&#43;20.0 %", "Sidecars at both ends add 2.41 ms at the median and nothing that stands out",
		"What the proxies take", "99.9 %", "Second by second", "Geometric means", "Over the builds", "0123456789ab"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
}

// One file: nothing is fetched, and what files say is text.
func TestThePageNeedsNothingAndTrustsNobody(t *testing.T) {
	page := render(t)
	if found := regexp.MustCompile(`(?i)(src|href)="|@import|[ :]url\(|<script>alert|<b>fast`).FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	for _, address := range regexp.MustCompile(`https?://[^"' ]+`).FindAllString(page, -1) {
		if address != "http://www.w3.org/2000/svg" {
			t.Errorf("the page names %s", address)
		}
	}
}

func TestEveryChartIsWellFormedAndHasItsNumbers(t *testing.T) {
	page := render(t)
	charts := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	for _, chart := range charts {
		d := xml.NewDecoder(strings.NewReader(chart))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v:\n%s", err, chart)
			}
		}
		if strings.Contains(chart, "NaN") || strings.Contains(chart, "Inf") {
			t.Errorf("a coordinate is no number:\n%s", chart)
		}
	}
	embedded := regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`).FindStringSubmatch(page)
	var data map[string]string
	if err := json.Unmarshal([]byte(embedded[1]), &data); err != nil {
		t.Fatal(err)
	}
	if len(data) != len(charts) || len(charts) < 8 {
		t.Fatalf("%d charts, %d with data", len(charts), len(data))
	}
	for id, text := range data {
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil || len(rows) < 2 || !strings.Contains(page, `<figure id="`+id+`">`) {
			t.Errorf("%s: %d rows, %v", id, len(rows), err)
		}
	}
}

func TestAPageOfNothingMuch(t *testing.T) {
	empty := &result.Benchmark{Configurations: []result.Configuration{{Name: "load/one", Suite: "load", Skipped: "nginx is not installed"}}}
	page, err := Render(Input{Runs: []Run{{"empty", empty}}})
	if err != nil || !bytes.Contains(page, []byte("nginx is not installed")) {
		t.Errorf("%v", err)
	}
}

func TestTicksAreRound(t *testing.T) {
	for _, tc := range []struct {
		axis axis
		want string
	}{
		{over([]float64{0, 100}, "", false), "[0 20 40 60 80 100]"},
		{over([]float64{0.001, 0.1}, "s", true), "[0.001 0.002 0.005 0.01 0.02 0.05 0.1]"},
		{over([]float64{1e-6, 10}, "s", true), "[1e-06 1e-05 0.0001 0.001 0.01 0.1 1 10]"},
		{over([]float64{0, 3 << 20}, "B", false), "[0 1.048576e+06 2.097152e+06 3.145728e+06]"},
		{over([]float64{7, 7}, "", false), "[6.8 7 7.2]"},
	} {
		var rounded []float64
		for _, v := range tc.axis.ticks() {
			var r float64
			if _, err := fmt.Sscan(fmt.Sprintf("%.9g", v), &r); err != nil {
				t.Fatal(err)
			}
			rounded = append(rounded, r)
		}
		if got := fmt.Sprint(rounded); got != tc.want {
			t.Errorf("%v to %v: %s, want %s", tc.axis.low, tc.axis.high, got, tc.want)
		}
	}
}
