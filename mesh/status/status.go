// Package status answers on the pod's status port, 15020, as Istio's agent does: the
// application's own probes, which the injector has rewritten to there because kubelet
// has no mesh certificate; its metrics and the proxy's as one; and whether the proxy is ready.
//
// It reaches the application past the capture rules. It must import nothing of ours but
// mesh/netx. Who plays kubelet makes probes by the same code (Probe).
package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
)

// Options for New. The JSON texts are the injector's; "" where there is nothing to do.
type Options struct {
	Network netx.Network
	// Address is the pod's, where the application listens.
	Address netip.Addr
	// Probes has the application's probes by path, as Kubernetes writes them.
	Probes string
	// Scrape says where the application's metrics are: {"scrape": "true", "path": "/metrics", "port": "8080"}.
	Scrape string
	// Metrics writes the proxy's own, in Prometheus' text format.
	Metrics func(io.Writer) error
	Ready   func() bool
	Logger  *slog.Logger // nil: silent
}

// server answers.
type server struct {
	o      Options
	probes map[string]*Probe
	scrape string // "127.0.0.1:8080/metrics"; "" for none
}

// New checks the options and makes the handler.
func New(o Options) (http.Handler, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &server{o: o}
	var err error
	if s.probes, err = parseProbes(o.Probes); err != nil {
		return nil, fmt.Errorf("the application's probes: %w", err)
	}
	if s.scrape, err = parseScrape(o.Scrape, o.Address); err != nil {
		return nil, fmt.Errorf("the application's metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz/ready", s.ready)
	mux.HandleFunc("/stats/prometheus", s.metrics)
	mux.HandleFunc("/app-health/", s.probe)
	return mux, nil
}

// Serve answers on listeners until ctx ends.
func Serve(ctx context.Context, h http.Handler, listeners ...net.Listener) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	errs := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() {
			err := srv.Serve(l)
			_ = srv.Close() // what one cannot, the others need not
			errs <- err
		}()
	}
	var failed error
	for range listeners {
		if err := <-errs; !errors.Is(err, http.ErrServerClosed) {
			failed = errors.Join(failed, fmt.Errorf("status port: %w", err))
		}
	}
	return failed
}

func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	if !s.o.Ready() {
		http.Error(w, "the proxy is not ready", http.StatusServiceUnavailable)
	}
}

// parseScrape reads the annotations of prometheus.io as the injector hands them over.
func parseScrape(text string, pod netip.Addr) (string, error) {
	if text == "" {
		return "", nil
	}
	var a struct{ Scrape, Path, Port string }
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return "", err
	}
	if a.Scrape == "false" {
		return "", nil
	}
	if a.Path == "" {
		a.Path = "/metrics"
	}
	if a.Path[0] != '/' {
		a.Path = "/" + a.Path
	}
	if a.Port == "" {
		a.Port = "80"
	}
	if port, err := strconv.ParseUint(a.Port, 10, 16); err != nil || port == 0 {
		return "", fmt.Errorf("port %q: must be between 1 and 65535", a.Port)
	}
	host := "127.0.0.1"
	if pod.Is6() {
		host = "localhost" // it may listen on either family's
	}
	return net.JoinHostPort(host, a.Port) + a.Path, nil
}

// scrapeLimit is what the application gets for its metrics where Prometheus does not say.
const scrapeLimit = 10 * time.Second

// metrics writes the proxy's, then the application's. An application that does not
// answer costs its own metrics, not the proxy's.
func (s *server) metrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if err := s.o.Metrics(w); err != nil || s.scrape == "" {
		return // a client that went away
	}
	limit := scrapeLimit
	if seconds, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64); err == nil && seconds > 0 {
		limit = time.Duration(seconds * float64(time.Second))
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	if err := s.application(ctx, w); err != nil {
		s.o.Logger.Warn("the application's metrics are missing", "url", "http://"+s.scrape, "error", err)
	}
}

func (s *server) application(ctx context.Context, w io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.scrape, nil)
	if err != nil {
		return err
	}
	// The one format that can be put after another's text.
	r.Header.Set("Accept", "text/plain;version=0.0.4")
	answer, err := Asker{Network: s.o.Network}.client(nil).Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", answer.Status)
	}
	_, err = io.Copy(w, answer.Body)
	return err
}
