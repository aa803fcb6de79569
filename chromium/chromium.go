//go:build browser

package chromium

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// Visit starts Chromium at a page, as wide as that many pixels, and returns its context
// and what the page complained of, or asked for at addresses that begin otherwise than own.
func Visit(t *testing.T, url string, width int64, own ...string) (context.Context, func() []string) {
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
	ctx, expire := context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(expire)
	found := listen(t, ctx, own)
	watch := chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		return err
	})
	Do(t, ctx, watch, Scheme("light"), chromedp.EmulateViewport(width, 1000), chromedp.Navigate(url))
	return ctx, found
}

// listen collects what a page complains of.
func listen(t *testing.T, ctx context.Context, own []string) func() []string {
	t.Helper()
	var mu sync.Mutex
	var found []string
	err := chromedp.Listen(ctx, func(event any) {
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
			u := e.Request.URL
			if !slices.ContainsFunc(own, func(prefix string) bool { return strings.HasPrefix(u, prefix) }) {
				found = append(found, "request: "+u)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return found
	}
}

// media makes the page be shown as the parameters say, to a reader who prefers light or dark pages.
func media(p emulation.SetEmulatedMediaParams, scheme string) chromedp.Action[chromedp.Void] {
	p.Features = []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, p)
		return err
	})
}

// Scheme makes the reader prefer light or dark pages.
func Scheme(name string) chromedp.Action[chromedp.Void] {
	return media(emulation.SetEmulatedMediaParams{}, name)
}

// Paper makes the page look as it is printed, for a reader who prefers dark pages.
func Paper() chromedp.Action[chromedp.Void] {
	return media(emulation.SetEmulatedMediaParams{Media: "print"}, "dark")
}

// Do runs actions in the page.
func Do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// Ask evaluates an expression in the page.
func Ask[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// Look keeps a screenshot where SCREENSHOTS names a folder.
func Look(t *testing.T, ctx context.Context, name string) {
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
