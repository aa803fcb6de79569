//go:build browser

package dashboard_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/windtunnel-mesh/windtunnel/chromium"
)

// until waits until an expression is true.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !chromium.Ask[bool](t, ctx, expression); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			chromium.Look(t, ctx, "up-late")
			t.Fatalf("still not: %s; the page says %.600s", expression, chromium.Ask[string](t, ctx, "document.body.innerText"))
		}
	}
}

// The page of a mesh that is up: requests come in, are explained, filtered and sent.
func TestPage(t *testing.T) {
	up := start(t)
	ctx, found := chromium.Visit(t, up.board.URL(), 1280, up.board.URL(), "data:")
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
	chromium.Look(t, ctx, "up-light")

	t.Run("explained", func(t *testing.T) {
		chromium.Ask[any](t, ctx, rows+`.find(r => r.querySelector(".to").textContent.startsWith("reviews")).click(), null`)
		until(t, ctx, `document.querySelector("#detail pre") !== null`)
		text := chromium.Ask[string](t, ctx, `document.getElementById("detail").innerText`)
		for _, want := range []string{"answered by reviews-v1", "mTLS: the endpoint has tlsMode=istio", "istio-ingressgateway → productpage-v1", "user-agent"} {
			if !strings.Contains(text, want) {
				t.Errorf("the request's detail lacks %q:\n%s", want, text)
			}
		}
		chromium.Look(t, ctx, "up-detail")
		chromium.Do(t, ctx, chromedp.KeyEvent("\x1b"))
		if !chromium.Ask[bool](t, ctx, `document.getElementById("detail").hidden`) {
			t.Error("Esc leaves the request open")
		}
	})
	t.Run("filtered", func(t *testing.T) {
		chromium.Do(t, ctx, chromedp.KeyEvent("/"))
		if got := chromium.Ask[string](t, ctx, "document.activeElement.id"); got != "filter" {
			t.Errorf("/ goes to %q", got)
		}
		chromium.Ask[any](t, ctx, `document.getElementById("filter").value = "details 200 -istio-ingress", document.getElementById("filter").oninput(), null`)
		if got := chromium.Ask[int](t, ctx, rows+`.length`); got != 12 {
			t.Errorf("%d rows of details, want 12", got)
		}
		chromium.Ask[any](t, ctx, `document.getElementById("filter").value = "", document.getElementById("filter").oninput(), document.activeElement.blur(), null`)
		chromium.Do(t, ctx, chromedp.KeyEvent("j"))
		if got := chromium.Ask[string](t, ctx, "document.activeElement.tagName"); got != "TR" {
			t.Errorf("j goes to %q", got)
		}
	})
	t.Run("sent", func(t *testing.T) {
		chromium.Ask[any](t, ctx, `document.getElementById("sending").open = true, document.getElementById("from").value = "productpage-v1", document.getElementById("url").value = "http://ratings:9080/nothing",
			document.getElementById("count").value = 3, document.querySelector("#send .main").click(), null`)
		until(t, ctx, `document.getElementById("answer").innerText.includes("3 × 404")`)
		until(t, ctx, `document.querySelector("#requests tr.bad .code") !== null`)
		chromium.Ask[any](t, ctx, `document.getElementById("ask").click(), null`)
		until(t, ctx, `document.getElementById("answer").innerText.includes("answered by ratings-v1")`)
		until(t, ctx, `document.getElementById("bad").textContent === "3"`)
	})
	t.Run("proxies", func(t *testing.T) {
		chromium.Ask[any](t, ctx, `show("proxies"), document.getElementById("proxy").value = [...document.getElementById("proxy").options].find(o => o.value.startsWith("productpage")).value, dump(), null`)
		until(t, ctx, `document.getElementById("dump").textContent.includes("outbound|9080")||document.getElementById("dump").textContent.includes("reviews.default.svc.cluster.local")`)
		chromium.Look(t, ctx, "up-proxies")
		chromium.Ask[any](t, ctx, `document.getElementById("part").value = "stats", dump(), null`)
		until(t, ctx, `/upstream_rq_total: \d/.test(document.getElementById("dump").textContent)`)
	})
	t.Run("addresses", func(t *testing.T) {
		chromium.Ask[any](t, ctx, `show("places"), null`)
		until(t, ctx, `document.querySelectorAll("#places a").length > 10`)
		chromium.Look(t, ctx, "up-places")
		chromium.Ask[any](t, ctx, `show("events"), null`)
		if got := chromium.Ask[int](t, ctx, `document.querySelectorAll("#happened tr").length`); got < 5 {
			t.Errorf("%d events", got)
		}
	})
	chromium.Ask[any](t, ctx, `show("traffic"), document.getElementById("sending").open = false, null`)
	t.Run("dark", func(t *testing.T) {
		light := chromium.Ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor")
		chromium.Do(t, ctx, chromium.Scheme("dark"))
		if dark := chromium.Ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor"); dark == light {
			t.Errorf("dark is as light: %s", dark)
		}
		chromium.Look(t, ctx, "up-dark")
		chromium.Do(t, ctx, chromedp.Click(chromedp.CSS("#theme")))
		if got := chromium.Ask[string](t, ctx, "getComputedStyle(document.body).backgroundColor"); got != light {
			t.Errorf("the button's light is %s, want %s", got, light)
		}
	})
	t.Run("widths", func(t *testing.T) {
		chromium.Ask[any](t, ctx, `document.querySelectorAll("details").forEach(d => { d.open = true }), document.querySelector("#requests tbody tr").click(), null`)
		until(t, ctx, `document.querySelector("#detail pre") !== null`)
		for _, width := range []int64{360, 2560} {
			chromium.Do(t, ctx, chromedp.EmulateViewport(width, 900))
			for _, view := range []string{"traffic", "proxies", "places", "events"} {
				chromium.Ask[any](t, ctx, `show("`+view+`"), null`)
				if got := chromium.Ask[int64](t, ctx, "document.documentElement.scrollWidth"); got > width {
					t.Errorf("at %d px the view %s is %d px wide", width, view, got)
				}
				chromium.Look(t, ctx, "up-"+fmt.Sprint(width, view))
			}
		}
	})
	if list := found(); len(list) > 0 {
		t.Errorf("the page complains or asks others: %q", list)
	}
}
