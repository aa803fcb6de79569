package prometheus

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

// scraped is two proxies over a minute: one answers 10 requests between two scrapes, a
// fifth of them badly, the other goes away after half of it.
func scraped(t *testing.T) (*Prometheus, time.Time) {
	t.Helper()
	p, now := New(), time.Unix(1_000_000_000, 0)
	a, b := new(stats.Registry), new(stats.Registry)
	for i := range 13 {
		targets := []Target{{Job: "j", Instance: "10.0.0.1:15020", Namespace: "default", Pod: "a", Registry: a}}
		if i < 6 {
			targets = append(targets, Target{Job: "j", Instance: "10.0.0.2:15020", Namespace: "default", Pod: "b", Registry: b})
		}
		now = now.Add(Interval)
		p.Scrape(now, targets)
		a.Counter("ok", "requests_total", stats.Label{Name: "code", Value: "200"}, stats.Label{Name: "empty"}).Add(8)
		a.Counter("bad", "requests_total", stats.Label{Name: "code", Value: "503"}).Add(2)
		b.Gauge("active", "active").Set(7)
		a.Histogram("took", "took_ms").Record(30)
	}
	return p, now
}

func TestQueries(t *testing.T) {
	p, now := scraped(t)
	for _, c := range []struct {
		query string
		ago   time.Duration
		want  string
	}{
		{`requests_total{code="200"}`, 0, "code=200 instance=10.0.0.1:15020 job=j namespace=default pod=a 96"},
		{`sum(rate(requests_total{code!~"5.*"}[5m])) / sum(rate(requests_total[5m]))`, 0, "0.8"},
		{`requests_total offset 10s`, 0, "200 80; 503 20"},
		{`sum by (code) (requests_total) > 50`, 0, "200 96"},
		{`histogram_quantile(0.5, took_ms_bucket)`, 0, "37.5"},
		{`took_ms_sum / took_ms_count`, 0, "30"},
		{`count(up)`, 0, "1"},
		{`count(up)`, 40 * time.Second, "2"},
		{`active`, 0, ""},
		{`active`, 40 * time.Second, "7"},
		{`max_over_time(active[1m])`, 0, "7"},
		{`{__name__=~"active|up", pod="b"} @ 1000000015`, 0, "1; 7"},
		{`scalar(count(up)) + 1`, 0, "2"},
		{`absent(nothing)`, 0, "1"},
	} {
		samples, err := p.Query(context.Background(), c.query, now.Add(-c.ago))
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		got := make([]string, 0, len(samples))
		for _, s := range samples {
			got = append(got, fmt.Sprint(s.Labels, " ", s.Value))
		}
		wants := strings.Split(c.want, "; ")
		if c.want == "" {
			wants = nil
		}
		if len(got) != len(wants) {
			t.Errorf("%s: %v, want %s", c.query, got, c.want)
			continue
		}
		for _, want := range wants {
			if !containsAll(got, strings.Fields(strings.ReplaceAll(want, "=", ":"))) {
				t.Errorf("%s: %v, want %s", c.query, got, want)
			}
		}
	}
	for query, want := range map[string]string{"up[1m]": "matrix", "sum(": "parse error", `"text"`: "string"} {
		if _, err := p.Query(context.Background(), query, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// containsAll tells whether one of the lines has all words, the last as its end.
func containsAll(lines, words []string) bool {
	for _, line := range lines {
		found := strings.HasSuffix(line, " "+words[len(words)-1])
		for _, w := range words {
			found = found && strings.Contains(line, w)
		}
		if found {
			return true
		}
	}
	return false
}

func TestPagesOfRealTargets(t *testing.T) {
	p := New()
	now := time.Unix(1000, 0)
	page := func(text string) []Page {
		return []Page{{Job: "j", Instance: "10.0.0.1:15020", Namespace: "default", Pod: "a", Text: []byte(text), Rewrite: func(v string) (string, bool) {
			return strings.ReplaceAll(v, "wt-1", "default"), v != "other"
		}}}
	}
	ask := func(query string) string {
		t.Helper()
		found, err := p.Query(t.Context(), query, now)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(found)
	}
	text := "# HELP x y\n# TYPE x counter\nx{to=\"a.wt-1\",q=\"a\\\"},b\\n\"} 4\nx{to=\"other\"} 9 1700000000\nup_ 1\nh_bucket{le=\"+Inf\"} +Inf\n"
	if err := p.ScrapePages(now, page(text)); err != nil {
		t.Fatal(err)
	}
	if got := ask(`x{to="a.default",q="a\"},b\n",pod="a",namespace="default",job="j"}`); !strings.Contains(got, " 4}]") {
		t.Errorf("x is %s", got)
	}
	if got := ask(`sum(x)`); got != "[{map[] 4}]" {
		t.Errorf("what is dropped counts: %s", got)
	}
	now = now.Add(Interval)
	if err := p.ScrapePages(now, []Page{{Job: "j", Instance: "10.0.0.1:15020", Namespace: "default", Pod: "a"}}); err != nil {
		t.Fatal(err)
	}
	if got := ask(`up{pod="a"} or x`); got != "[{map[__name__:up instance:10.0.0.1:15020 job:j namespace:default pod:a] 0}]" {
		t.Errorf("a target that does not answer: %s", got)
	}
	shared := func(text string) []Page {
		return []Page{{Instance: "gateway", Pod: "g", Since: "istio_", Text: []byte(text)}}
	}
	for _, text := range []string{"istio_x{a=\"1\"} 4\nistio_x{a=\"2\"} 7\nother 3\n", "istio_x{a=\"1\"} 4\nistio_x{a=\"2\"} 9\nistio_x{a=\"3\"} 1\nother 3\n"} {
		now = now.Add(Interval)
		if err := p.ScrapePages(now, shared(text)); err != nil {
			t.Fatal(err)
		}
	}
	if got := ask(`sum by (a) ({pod="g",__name__=~"istio_x|other"})`); got != "[{map[] 3} {map[a:2] 2} {map[a:3] 1}]" {
		t.Errorf("what others had counted before is there: %s", got)
	}
	for _, broken := range []string{"x", "x{a=1} 2", "x{a=\"b} 2", "x{} y", "{} 1"} {
		if err := p.ScrapePages(now.Add(Interval), page(broken)); err == nil {
			t.Errorf("%q was taken", broken)
		}
	}
}
