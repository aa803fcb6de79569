package meshproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/capture/nft"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// command is a part of the program beside the proxy itself.
type command func(ctx context.Context, args []string, stdout, stderr io.Writer) error

// commands are named by the first argument.
var commands = map[string]command{"capture": runCapture, "wait": runWait}

// runCapture is the init container: it puts the pod's capture rules into the kernel. An
// error keeps the pod from starting.
func runCapture(_ context.Context, args []string, stdout, _ io.Writer) error {
	o, err := capture.ParseArgs(args)
	if err != nil {
		return err
	}
	if o.RedirectDNS {
		text, err := os.ReadFile(resolvConf)
		if err != nil {
			return fmt.Errorf("--redirect-dns: %w", err)
		}
		if o.DNSServers = capture.NameServers(text); len(o.DNSServers) == 0 {
			return fmt.Errorf("--redirect-dns: %s names no server", resolvConf)
		}
	}
	rules, err := capture.New(o)
	if err != nil {
		return err
	}
	report, err := nft.Program(rules)
	if err != nil {
		return fmt.Errorf("this pod's traffic would not pass its sidecar, so it must not start: %w", err)
	}
	fmt.Fprint(stdout, report, "\n", rules)
	return nil
}

// waiting are the parameters of runWait; defaults are those of Istio's agent.
type waiting struct {
	url              string
	limit, pause, at time.Duration
	network          netx.Network
}

// runWait returns when the proxy in the same pod is ready; it is what a postStart hook
// runs, so that the application starts afterwards.
func runWait(ctx context.Context, args []string, _, stderr io.Writer) error {
	w := waiting{network: netx.System{}}
	f := pflag.NewFlagSet("meshproxy wait", pflag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&w.url, "url", "http://127.0.0.1:15021/healthz/ready", "`URL` that answers 200 when the proxy is ready")
	f.DurationVar(&w.limit, "timeout", time.Minute, "time to wait for it")
	f.DurationVar(&w.pause, "period", 500*time.Millisecond, "time between two requests")
	f.DurationVar(&w.at, "request-timeout", 500*time.Millisecond, "time that one request may take")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("wait: unexpected argument %q", f.Arg(0))
	}
	return w.run(ctx)
}

func (w *waiting) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	client := &http.Client{Timeout: w.at, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return w.network.Dial(ctx, addr) }}}
	for {
		err := w.ask(ctx, client)
		if err == nil {
			return nil
		}
		timer := time.NewTimer(w.pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("wait: the proxy was not ready in %v: %w", w.limit, err)
			}
			return fmt.Errorf("wait: %w", ctx.Err())
		}
	}
}

// ask returns nil where the proxy says that it is ready.
func (w *waiting) ask(ctx context.Context, client *http.Client) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", w.url, answer.Status)
	}
	return nil
}
