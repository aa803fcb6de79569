//go:build browser

package browser

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/windtunnel-mesh/windtunnel/chromium"
	"github.com/windtunnel-mesh/windtunnel/reports"
	"github.com/windtunnel-mesh/windtunnel/reports/sample"
)

// open starts Chromium with a report, and returns its context and what it complained
// of or asked the network for.
func open(t *testing.T) (context.Context, func() []string) {
	t.Helper()
	dir := t.TempDir()
	if err := reports.Write(dir, sample.Run(sample.Options{Scenarios: 4, Failed: 1})); err != nil {
		t.Fatal(err)
	}
	return visit(t, filepath.Join(dir, reports.HTMLFile))
}

// visit is open for any file.
func visit(t *testing.T, file string) (context.Context, func() []string) {
	t.Helper()
	return chromium.Visit(t, "file://"+file, 1200, "file:", "data:", "blob:")
}

func TestReport(t *testing.T) {
	ctx, found := open(t)
	const card = `document.querySelector("details.scenario.failed")`
	if !chromium.Ask[bool](t, ctx, card+".open") {
		t.Error("the failed scenario is not open")
	}
	chromium.Look(t, ctx, "light")
	t.Run("slider", func(t *testing.T) { slider(t, ctx, card) })
	t.Run("filters", func(t *testing.T) { filters(t, ctx) })
	t.Run("latency of another step", func(t *testing.T) {
		chromium.Ask[any](t, ctx, card+`.querySelector(".which").value = "1", `+card+`.querySelector(".which").dispatchEvent(new Event("change")), null`)
		if got := chromium.Ask[string](t, ctx, `[...`+card+`.querySelectorAll("[data-pair]")].map(p => p.getBoundingClientRect().height > 0).join()`); got != "false,true,false,false,false" {
			t.Errorf("visible: %s", got)
		}
	})
	t.Run("downloads", func(t *testing.T) {
		for _, kind := range []string{"timeline", "graph", "percentiles", "histogram", "heat"} {
			for _, format := range []string{"csv", "svg"} {
				text := chromium.Ask[string](t, ctx, `(() => { let kept = ""; const before = save; save = (name, type, text) => { kept = text; };
					[...`+card+`.querySelectorAll("figure[data-kind=`+kind+`]")].find(f => f.getBoundingClientRect().width > 0).querySelector("[data-save=`+format+`]").click();
					save = before; return kept })()`)
				if want := map[string]string{"csv": ",", "svg": `xmlns="http://www.w3.org/2000/svg"`}[format]; !strings.Contains(text, want) || len(text) < 40 {
					t.Errorf("%s as %s: %.80q", kind, format, text)
				}
			}
		}
	})
	t.Run("dark", func(t *testing.T) {
		light := chromium.Ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor")
		chromium.Do(t, ctx, chromium.Scheme("dark"))
		dark := chromium.Ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor")
		if light == dark || dark != "rgb(17, 22, 28)" {
			t.Errorf("light is %s, dark %s", light, dark)
		}
		chromium.Look(t, ctx, "dark")
		chromium.Do(t, ctx, chromedp.Click(chromedp.CSS("#theme")))
		if got := chromium.Ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor"); got != light {
			t.Errorf("the button's light is %s, want %s", got, light)
		}
	})
	t.Run("print", func(t *testing.T) {
		chromium.Do(t, ctx, chromium.Paper(), chromedp.EmulateViewport(794, 1100)) // A4
		if got := chromium.Ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor"); got != "rgb(255, 255, 255)" {
			t.Errorf("paper is %s", got)
		}
		if got := chromium.Ask[int](t, ctx, `[...document.querySelectorAll("input, button")].filter(e => e.getBoundingClientRect().height > 0).length`); got > 0 {
			t.Errorf("%d buttons and fields on paper", got)
		}
		if got := chromium.Ask[int](t, ctx, `[...document.querySelectorAll("table")].filter(e => e.parentElement.clientWidth > 0 && e.scrollWidth > e.parentElement.clientWidth).length`); got > 0 {
			t.Errorf("%d tables are cut on paper", got)
		}
		chromium.Look(t, ctx, "print")
		chromium.Do(t, ctx, chromium.Scheme("light"))
	})
	t.Run("widths", func(t *testing.T) {
		chromium.Ask[any](t, ctx, `document.querySelectorAll("details").forEach(d => { d.open = true }), null`)
		for _, width := range []int64{360, 2560} {
			chromium.Do(t, ctx, chromedp.EmulateViewport(width, 900))
			if got := chromium.Ask[int64](t, ctx, "document.documentElement.scrollWidth"); got > width {
				t.Errorf("at %d px the page is %d px wide", width, got)
			}
			chromium.Look(t, ctx, fmt.Sprint(width))
		}
	})
	if list := found(); len(list) > 0 {
		t.Errorf("the page complains or asks the network: %q", list)
	}
}

// slider moves to a moment of failures and back.
func slider(t *testing.T, ctx context.Context, card string) {
	bad := card + `.querySelector(".edge[data-edge=\"1\"]").style.getPropertyValue("--bad-share")`
	whole := chromium.Ask[string](t, ctx, bad)
	chromium.Ask[any](t, ctx, `(() => { const i = `+card+`.querySelector(".slider input"); i.value = 9; i.dispatchEvent(new Event("input")); return null })()`)
	if got := chromium.Ask[string](t, ctx, card+`.querySelector(".moment").textContent`); !strings.Contains(got, "failed") || strings.Contains(got, "whole") {
		t.Errorf("the moment says %q", got)
	}
	if got := chromium.Ask[string](t, ctx, bad); got == whole {
		t.Errorf("the graph does not follow the slider: %s", got)
	}
	if got := chromium.Ask[string](t, ctx, card+`.querySelector(".cursor").getAttribute("visibility")`); got != "visible" {
		t.Errorf("the cursor is %s", got)
	}
	chromium.Ask[any](t, ctx, card+`.querySelector(".whole").click(), null`)
	if got := chromium.Ask[float64](t, ctx, "Math.round(1000 * "+bad+")"); fmt.Sprintf("%.3f", got/1000) != whole {
		t.Errorf("the whole run has %g, had %s", got/1000, whole)
	}
}

// filters narrows the list by status, label and text.
func filters(t *testing.T, ctx context.Context) {
	shown := func() int {
		return chromium.Ask[int](t, ctx, `[...document.querySelectorAll("details.scenario")].filter(c => !c.classList.contains("hidden")).length`)
	}
	for _, c := range []struct {
		do   string
		want int
	}{
		{`document.querySelector("[data-show=failed]").click()`, 1},
		{`document.querySelector("[data-show=all]").click()`, 4},
		{`find.value = "no such thing", find.dispatchEvent(new Event("input"))`, 0},
		{`find.value = "scenario-2", find.dispatchEvent(new Event("input"))`, 1},
		{`find.value = "", find.dispatchEvent(new Event("input"))`, 4},
		{`label.value = "half=0", label.dispatchEvent(new Event("change"))`, 2},
		{`label.value = "", label.dispatchEvent(new Event("change"))`, 4},
	} {
		chromium.Ask[any](t, ctx, c.do+", null")
		if got := shown(); got != c.want {
			t.Errorf("after %s: %d scenarios, want %d", c.do, got, c.want)
		}
	}
	chromium.Do(t, ctx, chromedp.KeyEvent("/"))
	if got := chromium.Ask[string](t, ctx, "document.activeElement.id"); got != "find" {
		t.Errorf("/ goes to %q", got)
	}
	chromium.Ask[any](t, ctx, `document.activeElement.blur(), null`)
	chromium.Do(t, ctx, chromedp.KeyEvent("j"))
	if got := chromium.Ask[string](t, ctx, "document.activeElement.tagName"); got != "SUMMARY" {
		t.Errorf("j goes to %q", got)
	}
}
