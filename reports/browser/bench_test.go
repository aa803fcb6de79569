//go:build browser

package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/windtunnel-mesh/windtunnel/chromium"
	"github.com/windtunnel-mesh/windtunnel/reports/benchpage"
	"github.com/windtunnel-mesh/windtunnel/reports/sample"
	"github.com/windtunnel-mesh/windtunnel/reports/stat"
)

// The pages of a benchmark: of one run, of a comparison, and of the trend.
func TestBenchmarkPages(t *testing.T) {
	base, next := sample.Benchmark(1), sample.Benchmark(1.2)
	runs := []benchpage.Run{{Name: "This build", Benchmark: next}}
	history := []stat.HistoryEntry{stat.Entry(base), stat.Entry(next), stat.Entry(base)}
	for name, in := range map[string]benchpage.Input{
		"run":     {Runs: runs},
		"compare": {Runs: runs, Base: base, New: next, Comparison: stat.Compare(base, next, stat.Options{})},
		"trend":   {History: history},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := benchpage.Render(in)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "bench.html")
			if err := os.WriteFile(file, page, 0o644); err != nil {
				t.Fatal(err)
			}
			ctx, found := visit(t, file)
			charts(t, ctx)
			light := chromium.Ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor")
			chromium.Look(t, ctx, "bench-"+name)
			chromium.Do(t, ctx, chromium.Scheme("dark"))
			if dark := chromium.Ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor"); dark == light {
				t.Errorf("light and dark are %s", dark)
			}
			chromium.Look(t, ctx, "bench-"+name+"-dark")
			chromium.Ask[any](t, ctx, `document.querySelectorAll("details").forEach(d => { d.open = true }), null`)
			for _, width := range []int64{360, 2560} {
				chromium.Do(t, ctx, chromedp.EmulateViewport(width, 900))
				if got := chromium.Ask[int64](t, ctx, "document.documentElement.scrollWidth"); got > width {
					t.Errorf("at %d px the page is %d px wide", width, got)
				}
				chromium.Look(t, ctx, fmt.Sprintf("bench-%s-%d", name, width))
			}
			if list := found(); len(list) > 0 {
				t.Errorf("the page complains or asks the network: %q", list)
			}
		})
	}
}

// charts are there, tell what a point is, switch their lines and can be saved.
func charts(t *testing.T, ctx context.Context) {
	t.Helper()
	if n := chromium.Ask[int](t, ctx, `document.querySelectorAll("figure svg").length`); n == 0 {
		t.Fatal("no chart")
	}
	if n := chromium.Ask[int](t, ctx, `[...document.querySelectorAll("circle.dot, rect.bar")].filter(e => !(e.querySelector("title") || {textContent: ""}).textContent).length`); n > 0 {
		t.Errorf("%d points of charts say nothing", n)
	}
	if got := chromium.Ask[bool](t, ctx, `[...document.querySelectorAll("circle.dot")].every(e => { e.focus(); return document.activeElement === e })`); !got {
		t.Error("points cannot be reached by the keyboard")
	}
	for format, want := range map[string]string{"csv": "text/csv", "svg": "image/svg+xml"} {
		got := chromium.Ask[string](t, ctx, `(() => { let kept = ""; const before = URL.createObjectURL, go = HTMLAnchorElement.prototype.click;
			URL.createObjectURL = blob => { kept = blob.type + (blob.size > 40 ? "" : " is empty"); return "blob:" }; HTMLAnchorElement.prototype.click = () => {};
			document.querySelector("[data-save=`+format+`]").click(); URL.createObjectURL = before; HTMLAnchorElement.prototype.click = go; return kept })()`)
		if got != want {
			t.Errorf("%s is saved as %q", format, got)
		}
	}
}
