package bubble

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestRunsInVirtualTimeAndRestores(t *testing.T) {
	processors := runtime.GOMAXPROCS(0)
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "v")
	inside := 0
	err := Run(ctx, Options{}, func(ctx context.Context) error {
		inside = runtime.GOMAXPROCS(0)
		if ctx.Value(key{}) != "v" {
			t.Error("the caller's values are gone")
		}
		start := time.Now()
		time.Sleep(24 * time.Hour)
		if d := time.Since(start); d != 24*time.Hour {
			t.Errorf("slept %v of virtual time", d)
		}
		return errors.ErrUnsupported
	})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error %v is not the function's", err)
	}
	if inside != 1 || runtime.GOMAXPROCS(0) != processors {
		t.Errorf("GOMAXPROCS was %d inside and %d after, want 1 and %d", inside, runtime.GOMAXPROCS(0), processors)
	}
}

func TestPanicIsAnErrorWithStack(t *testing.T) {
	err := Run(t.Context(), Options{}, explode)
	if err == nil || !strings.Contains(err.Error(), "panic: boom") || !strings.Contains(err.Error(), "explode") {
		t.Errorf("error is %v", err)
	}
}

func explode(context.Context) error { panic("boom") }

func TestGoexitIsAnError(t *testing.T) {
	err := Run(t.Context(), Options{}, func(context.Context) error { runtime.Goexit(); return nil })
	if err == nil || !strings.Contains(err.Error(), "Goexit") {
		t.Errorf("error is %v", err)
	}
}

func TestLeftOverGoroutinesAreNamed(t *testing.T) {
	err := Run(context.Background(), Options{}, func(context.Context) error {
		go forgotten(make(chan int))
		return errors.ErrUnsupported
	})
	if !errors.Is(err, ErrLeftOver) || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "forgotten") {
		t.Errorf("error is %v", err)
	}
	err = Run(context.Background(), Options{}, func(context.Context) error { <-make(chan int); return nil })
	if !errors.Is(err, ErrLeftOver) {
		t.Errorf("error of a function that waits for ever is %v", err)
	}
	if err := Run(context.Background(), Options{}, func(context.Context) error { return nil }); err != nil {
		t.Errorf("the bubble after that: %v", err)
	}
}

func forgotten(c chan int) { <-c }

func TestCallersContextEndsTheFunctions(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	err := Run(ctx, Options{}, func(ctx context.Context) error {
		cancel(errors.ErrUnsupported)
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error is %v, want the cause", err)
	}
	if err := Run(ctx, Options{}, explode); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a context that is done ran the function: %v", err)
	}
}

const program = `package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/sim/bubble"
)

func main() {
	err := bubble.Run(context.Background(), bubble.Options{}, func(context.Context) error {
		time.Sleep(time.Hour)
		return nil
	})
	fmt.Println("error:", err)
	o := bubble.Options{Watchdog: 200 * time.Millisecond, Stacks: os.Stdout, OnStuck: func() { os.Exit(42) }}
	_ = bubble.Run(context.Background(), o, func(context.Context) error {
		var mu sync.Mutex
		mu.Lock()
		mu.Lock() // no durable wait: virtual time stands still
		return nil
	})
}
`

// An ordinary binary has no test flags and no test main.
func TestOrdinaryBinaryAndWatchdog(t *testing.T) {
	dir, err := os.MkdirTemp(".", "_program-") // in the module, and no package of ./...
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "program")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./"+dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var out bytes.Buffer
	c := exec.CommandContext(t.Context(), binary)
	c.Stdout, c.Stderr = &out, &out
	err = c.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 42 {
		t.Errorf("%v, want exit code 42", err)
	}
	for _, want := range []string{"error: <nil>", "stuck", "sync.(*Mutex).Lock", "main.main"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output has no %q:\n%s", want, out.String())
		}
	}
}
