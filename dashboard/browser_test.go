//go:build browser

package dashboard_test

import (
	"context"
	"fmt"
	"net/http"
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
)

// browse starts Chromium at a page, and returns its context and what the page
// complained of or asked of others than its own server.
func browse(t *testing.T, url string) (context.Context, func() []string) {
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
			found = append(found, "exception: "+fmt.Sprint(e.ExceptionDetails.Text, " ", e.ExceptionDetails.LineNumber, " ", e.ExceptionDetails.Exception))
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
				found = append(found, fmt.Sprintf("console: %s %v", e.Type, e.Args))
			}
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, url) && !strings.HasPrefix(u, "data:") {
				found = append(found, "request: "+u)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		return err
	}), scheme("light"), chromedp.EmulateViewport(1280, 1000), chromedp.Navigate(url))
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

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
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

// until waits until an expression is true.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ask[bool](t, ctx, expression); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			look(t, ctx, "late")
			t.Fatalf("still not: %s; the page says %.600s", expression, ask[string](t, ctx, "document.body.innerText"))
		}
	}
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
	if err := os.WriteFile(filepath.Join(dir, "up-"+name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// The page of a mesh that is up: requests come in, are explained, filtered and sent.
func TestPage(t *testing.T) {
	up := start(t)
	ctx, found := browse(t, up.board.URL())
	until(t, ctx, `document.getElementById("state").textContent === "live"`)
	for range 12 {
		r, err := http.Get(up.entrance + "/productpage")
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
	}
	const rows = `[...document.querySelectorAll("#requests tbody tr")]`
	until(t, ctx, rows+`.length >= 36`)
	until(t, ctx, `document.querySelectorAll("#wide .edge").length >= 4`)
	look(t, ctx, "light")

	t.Run("explained", func(t *testing.T) {
		ask[any](t, ctx, rows+`.find(r => r.querySelector(".to").textContent.startsWith("reviews")).click(), null`)
		until(t, ctx, `document.querySelector("#detail pre") !== null`)
		text := ask[string](t, ctx, `document.getElementById("detail").innerText`)
		for _, want := range []string{"answered by reviews-v1", "mTLS: the endpoint has tlsMode=istio", "istio-ingressgateway → productpage-v1", "user-agent"} {
			if !strings.Contains(text, want) {
				t.Errorf("the request's detail lacks %q:\n%s", want, text)
			}
		}
		look(t, ctx, "detail")
		do(t, ctx, chromedp.KeyEvent("\x1b"))
		if !ask[bool](t, ctx, `document.getElementById("detail").hidden`) {
			t.Error("Esc leaves the request open")
		}
	})
	t.Run("filtered", func(t *testing.T) {
		do(t, ctx, chromedp.KeyEvent("/"))
		if got := ask[string](t, ctx, "document.activeElement.id"); got != "filter" {
			t.Errorf("/ goes to %q", got)
		}
		ask[any](t, ctx, `document.getElementById("filter").value = "details 200 -istio-ingress", document.getElementById("filter").oninput(), null`)
		if got := ask[int](t, ctx, rows+`.length`); got != 12 {
			t.Errorf("%d rows of details, want 12", got)
		}
		ask[any](t, ctx, `document.getElementById("filter").value = "", document.getElementById("filter").oninput(), document.activeElement.blur(), null`)
		do(t, ctx, chromedp.KeyEvent("j"))
		if got := ask[string](t, ctx, "document.activeElement.tagName"); got != "TR" {
			t.Errorf("j goes to %q", got)
		}
	})
	t.Run("sent", func(t *testing.T) {
		ask[any](t, ctx, `document.getElementById("sending").open = true, document.getElementById("from").value = "productpage-v1", document.getElementById("url").value = "http://ratings:9080/nothing",
			document.getElementById("count").value = 3, document.querySelector("#send .main").click(), null`)
		until(t, ctx, `document.getElementById("answer").innerText.includes("3 × 404")`)
		until(t, ctx, `document.querySelector("#requests tr.bad .code") !== null`)
		ask[any](t, ctx, `document.getElementById("ask").click(), null`)
		until(t, ctx, `document.getElementById("answer").innerText.includes("answered by ratings-v1")`)
		until(t, ctx, `document.getElementById("bad").textContent === "3"`)
	})
	t.Run("proxies", func(t *testing.T) {
		ask[any](t, ctx, `show("proxies"), document.getElementById("proxy").value = [...document.getElementById("proxy").options].find(o => o.value.startsWith("productpage")).value, dump(), null`)
		until(t, ctx, `document.getElementById("dump").textContent.includes("outbound|9080")||document.getElementById("dump").textContent.includes("reviews.default.svc.cluster.local")`)
		look(t, ctx, "proxies")
		ask[any](t, ctx, `document.getElementById("part").value = "stats", dump(), null`)
		until(t, ctx, `/upstream_rq_total: \d/.test(document.getElementById("dump").textContent)`)
	})
	t.Run("addresses", func(t *testing.T) {
		ask[any](t, ctx, `show("places"), null`)
		until(t, ctx, `document.querySelectorAll("#places a").length > 10`)
		look(t, ctx, "places")
		ask[any](t, ctx, `show("events"), null`)
		if got := ask[int](t, ctx, `document.querySelectorAll("#happened tr").length`); got < 5 {
			t.Errorf("%d events", got)
		}
	})
	ask[any](t, ctx, `show("traffic"), document.getElementById("sending").open = false, null`)
	t.Run("dark", func(t *testing.T) {
		light := ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor")
		do(t, ctx, scheme("dark"))
		if dark := ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor"); dark == light {
			t.Errorf("dark is as light: %s", dark)
		}
		look(t, ctx, "dark")
		do(t, ctx, chromedp.Click(chromedp.CSS("#theme")))
		if got := ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor"); got != light {
			t.Errorf("the button's light is %s, want %s", got, light)
		}
	})
	t.Run("widths", func(t *testing.T) {
		ask[any](t, ctx, `document.querySelectorAll("details").forEach(d => { d.open = true }), document.querySelector("#requests tbody tr").click(), null`)
		until(t, ctx, `document.querySelector("#detail pre") !== null`)
		for _, width := range []int64{360, 2560} {
			do(t, ctx, chromedp.EmulateViewport(width, 900))
			for _, view := range []string{"traffic", "proxies", "places", "events"} {
				ask[any](t, ctx, `show("`+view+`"), null`)
				if got := ask[int64](t, ctx, "document.documentElement.scrollWidth"); got > width {
					t.Errorf("at %d px the view %s is %d px wide", width, view, got)
				}
				look(t, ctx, fmt.Sprint(width, view))
			}
		}
	})
	if list := found(); len(list) > 0 {
		t.Errorf("the page complains or asks others: %q", list)
	}
}
