//go:build browser

package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

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
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing: apt-get install chromium")
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoFirstRun}
	for _, f := range []string{"no-sandbox", "disable-gpu", "disable-quic", "disable-background-networking", "disable-component-update", "disable-sync"} {
		options = append(options, chromedp.Flag(f, true))
	}
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil { // the browser lives as long as this context
		t.Fatal(err)
	}
	ctx, expire := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(expire)
	var mu sync.Mutex
	var found []string
	err = chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			found = append(found, "exception: "+fmt.Sprint(e.ExceptionDetails.Text, " ", e.ExceptionDetails.LineNumber))
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
				found = append(found, fmt.Sprintf("console: %s %v", e.Type, e.Args))
			}
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, "file:") && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "blob:") {
				found = append(found, "request: "+u)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	watch := chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		return err
	})
	run(t, ctx, watch, scheme("light"),
		chromedp.EmulateViewport(1200, 1000), chromedp.Navigate("file://"+file))
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return found
	}
}

// scheme makes the reader prefer light or dark pages.
func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia,
			emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return err
	})
}

// paper makes the page look as it is printed, for a reader who prefers dark pages.
func paper() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia,
			emulation.SetEmulatedMediaParams{Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
		return err
	})
}

func run(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// ask evaluates an expression in the page.
func ask[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// look keeps a screenshot where SCREENSHOTS names a folder.
func look(t *testing.T, ctx context.Context, name string) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReport(t *testing.T) {
	ctx, found := open(t)
	const card = `document.querySelector("details.scenario.failed")`
	if !ask[bool](t, ctx, card+".open") {
		t.Error("the failed scenario is not open")
	}
	look(t, ctx, "light")
	t.Run("slider", func(t *testing.T) { slider(t, ctx, card) })
	t.Run("filters", func(t *testing.T) { filters(t, ctx) })
	t.Run("latency of another step", func(t *testing.T) {
		ask[any](t, ctx, card+`.querySelector(".which").value = "1", `+card+`.querySelector(".which").dispatchEvent(new Event("change")), null`)
		if got := ask[string](t, ctx, `[...`+card+`.querySelectorAll("[data-pair]")].map(p => p.getBoundingClientRect().height > 0).join()`); got != "false,true,false,false,false" {
			t.Errorf("visible: %s", got)
		}
	})
	t.Run("downloads", func(t *testing.T) {
		for _, kind := range []string{"timeline", "graph", "percentiles", "histogram", "heat"} {
			for _, format := range []string{"csv", "svg"} {
				text := ask[string](t, ctx, `(() => { let kept = ""; const before = save; save = (name, type, text) => { kept = text; };
					[...`+card+`.querySelectorAll("figure[data-kind=`+kind+`]")].find(f => f.getBoundingClientRect().width > 0).querySelector("[data-save=`+format+`]").click();
					save = before; return kept })()`)
				if want := map[string]string{"csv": ",", "svg": `xmlns="http://www.w3.org/2000/svg"`}[format]; !strings.Contains(text, want) || len(text) < 40 {
					t.Errorf("%s as %s: %.80q", kind, format, text)
				}
			}
		}
	})
	t.Run("dark", func(t *testing.T) {
		light := ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor")
		run(t, ctx, scheme("dark"))
		dark := ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor")
		if light == dark || dark != "rgb(17, 22, 28)" {
			t.Errorf("light is %s, dark %s", light, dark)
		}
		look(t, ctx, "dark")
		run(t, ctx, chromedp.Click(chromedp.CSS("#theme")))
		if got := ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor"); got != light {
			t.Errorf("the button's light is %s, want %s", got, light)
		}
	})
	t.Run("print", func(t *testing.T) {
		run(t, ctx, paper(), chromedp.EmulateViewport(794, 1100)) // A4
		if got := ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor"); got != "rgb(255, 255, 255)" {
			t.Errorf("paper is %s", got)
		}
		if got := ask[int](t, ctx, `[...document.querySelectorAll("input, button")].filter(e => e.getBoundingClientRect().height > 0).length`); got > 0 {
			t.Errorf("%d buttons and fields on paper", got)
		}
		if got := ask[int](t, ctx, `[...document.querySelectorAll("table")].filter(e => e.parentElement.clientWidth > 0 && e.scrollWidth > e.parentElement.clientWidth).length`); got > 0 {
			t.Errorf("%d tables are cut on paper", got)
		}
		look(t, ctx, "print")
		run(t, ctx, scheme("light"))
	})
	t.Run("widths", func(t *testing.T) {
		ask[any](t, ctx, `document.querySelectorAll("details").forEach(d => { d.open = true }), null`)
		for _, width := range []int64{360, 2560} {
			run(t, ctx, chromedp.EmulateViewport(width, 900))
			if got := ask[int64](t, ctx, "document.documentElement.scrollWidth"); got > width {
				t.Errorf("at %d px the page is %d px wide", width, got)
			}
			look(t, ctx, fmt.Sprint(width))
		}
	})
	if list := found(); len(list) > 0 {
		t.Errorf("the page complains or asks the network: %q", list)
	}
}

// slider moves to a moment of failures and back.
func slider(t *testing.T, ctx context.Context, card string) {
	bad := card + `.querySelector(".edge[data-edge=\"1\"]").style.getPropertyValue("--bad-share")`
	whole := ask[string](t, ctx, bad)
	ask[any](t, ctx, `(() => { const i = `+card+`.querySelector(".slider input"); i.value = 9; i.dispatchEvent(new Event("input")); return null })()`)
	if got := ask[string](t, ctx, card+`.querySelector(".moment").textContent`); !strings.Contains(got, "failed") || strings.Contains(got, "whole") {
		t.Errorf("the moment says %q", got)
	}
	if got := ask[string](t, ctx, bad); got == whole {
		t.Errorf("the graph does not follow the slider: %s", got)
	}
	if got := ask[string](t, ctx, card+`.querySelector(".cursor").getAttribute("visibility")`); got != "visible" {
		t.Errorf("the cursor is %s", got)
	}
	ask[any](t, ctx, card+`.querySelector(".whole").click(), null`)
	if got := ask[float64](t, ctx, "Math.round(1000 * "+bad+")"); fmt.Sprintf("%.3f", got/1000) != whole {
		t.Errorf("the whole run has %g, had %s", got/1000, whole)
	}
}

// filters narrows the list by status, label and text.
func filters(t *testing.T, ctx context.Context) {
	shown := func() int {
		return ask[int](t, ctx, `[...document.querySelectorAll("details.scenario")].filter(c => !c.classList.contains("hidden")).length`)
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
		ask[any](t, ctx, c.do+", null")
		if got := shown(); got != c.want {
			t.Errorf("after %s: %d scenarios, want %d", c.do, got, c.want)
		}
	}
	run(t, ctx, chromedp.KeyEvent("/"))
	if got := ask[string](t, ctx, "document.activeElement.id"); got != "find" {
		t.Errorf("/ goes to %q", got)
	}
	ask[any](t, ctx, `document.activeElement.blur(), null`)
	run(t, ctx, chromedp.KeyEvent("j"))
	if got := ask[string](t, ctx, "document.activeElement.tagName"); got != "SUMMARY" {
		t.Errorf("j goes to %q", got)
	}
}
