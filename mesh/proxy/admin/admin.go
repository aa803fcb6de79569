// Package admin is the proxy's admin port, with Envoy's paths and formats.
//
// In: views of the running proxy, as functions. Out: an http.Handler, and Serve for a
// listener of a netx.Network. It must not change the proxy but through the hooks.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// Options are what the admin port shows and does. A nil hook answers 404.
type Options struct {
	Stats    *stats.Registry
	Upstream *upstream.Manager
	// Snapshot is the configuration in force, nil before the first.
	Snapshot func() *snapshot.Proxy
	// ConfigDump is the body of /config_dump, JSON.
	ConfigDump func() ([]byte, error)
	// Ready tells whether the proxy takes traffic, and Envoy's word for its state.
	Ready func() (bool, string) // "LIVE", "PRE_INITIALIZING", "DRAINING"
	// Level returns the log level and sets it where level is not empty.
	Level func(level string) (string, error)
	Drain func(inboundOnly bool)
	Quit  func()
	// Secrets is where /certs looks the named secrets up.
	Secrets     secret.Source
	SecretNames func() []string
	Version     string
	NodeID      string
	Started     time.Time
}

// server answers admin requests.
type server struct {
	options Options
	pages   []page
}

// page is one path with what / says about it.
type page struct {
	path, help string
	change     bool // POST only, as it changes something
	serve      func(http.ResponseWriter, *http.Request) error
}

// errUnavailable is a page without its hook.
var errUnavailable = errors.New("not available")

// Handler makes the admin port's handler.
func Handler(o Options) http.Handler {
	s := &server{options: o}
	s.pages = []page{
		{"/certs", "print certs on machine", false, s.certs},
		{"/clusters", "upstream cluster status", false, s.clusters},
		{"/config_dump", "dump current configs", false, s.configDump},
		{"/drain_listeners", "drain listeners", true, s.drain},
		{"/listeners", "print listener info", false, s.listeners},
		{"/logging", "query/change logging levels", true, s.logging},
		{"/memory", "print current allocation/heap usage", false, s.memory},
		{"/names", "print the names that DNS queries are answered with, as JSON", false, s.names},
		{"/quitquitquit", "exit the server", true, s.quit},
		{"/ready", "print server state, return 200 if LIVE, otherwise return 503", false, s.ready},
		{"/reset_counters", "reset all counters to zero", true, s.reset},
		{"/server_info", "print server version/status information", false, s.info},
		{"/stats", "print server stats", false, s.stats},
		{"/stats/prometheus", "print server stats in prometheus format", false, s.prometheus},
	}
	mux := http.NewServeMux()
	for _, p := range s.pages {
		mux.HandleFunc(p.path, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, p) })
	}
	mux.HandleFunc("/", s.help)
	return mux
}

// Serve serves the admin port on a listener until ctx ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin port: %w", err)
	}
	return nil
}

func (s *server) answer(w http.ResponseWriter, r *http.Request, p page) {
	if p.change && r.Method != http.MethodPost {
		http.Error(w, fmt.Sprintf("Method %s not allowed, POST required.", r.Method), http.StatusMethodNotAllowed)
		return
	}
	switch err := p.serve(w, r); {
	case errors.Is(err, errUnavailable):
		http.Error(w, p.path+" is not available on this proxy", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (s *server) help(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" && r.URL.Path != "/help" {
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintln(w, "invalid path. admin commands are:")
	} else {
		_, _ = fmt.Fprintln(w, "admin commands are:")
	}
	for _, p := range s.pages {
		method := ""
		if p.change {
			method = " (POST)"
		}
		_, _ = fmt.Fprintf(w, "  %s%s: %s\n", p.path, method, p.help)
	}
}

func (s *server) stats(w http.ResponseWriter, r *http.Request) error {
	switch r.URL.Query().Get("format") {
	case "prometheus":
		return s.prometheus(w, r)
	case "json":
		return s.statsJSON(w, r)
	}
	keep, err := filterOf(r)
	if err != nil {
		return err
	}
	return s.options.Stats.WriteText(w, keep)
}

// filterOf is ?filter=REGEX; without one everything is kept.
func filterOf(r *http.Request) (func(string) bool, error) {
	text := r.URL.Query().Get("filter")
	if text == "" {
		return nil, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("invalid filter: %w", err)
	}
	return re.MatchString, nil
}

func (s *server) statsJSON(w http.ResponseWriter, r *http.Request) error {
	keep, err := filterOf(r)
	if err != nil {
		return err
	}
	type stat struct {
		Name  string `json:"name"`
		Value int64  `json:"value"`
	}
	list := []stat{}
	for name, value := range s.options.Stats.Values() {
		if keep == nil || keep(name) {
			list = append(list, stat{name, value})
		}
	}
	slices.SortFunc(list, func(a, b stat) int { return strings.Compare(a.Name, b.Name) })
	return writeJSON(w, map[string]any{"stats": list})
}

func (s *server) prometheus(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	return s.options.Stats.WritePrometheus(w)
}

func (s *server) reset(w http.ResponseWriter, _ *http.Request) error {
	s.options.Stats.ResetCounters()
	return ok(w)
}

func ok(w http.ResponseWriter) error {
	_, err := fmt.Fprintln(w, "OK")
	return err
}

func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(v)
}

func (s *server) state() (bool, string) {
	if s.options.Ready == nil {
		return true, "LIVE"
	}
	return s.options.Ready()
}

func (s *server) ready(w http.ResponseWriter, _ *http.Request) error {
	live, state := s.state()
	if !live {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, err := fmt.Fprintln(w, state)
	return err
}

func (s *server) info(w http.ResponseWriter, _ *http.Request) error {
	_, state := s.state()
	up := fmt.Sprintf("%ds", int(time.Since(s.options.Started).Seconds()))
	return writeJSON(w, map[string]any{"version": s.options.Version, "state": state, "hot_restart_version": "disabled",
		"uptime_current_epoch": up, "uptime_all_epochs": up, "node": map[string]any{"id": s.options.NodeID}})
}

func (s *server) configDump(w http.ResponseWriter, _ *http.Request) error {
	if s.options.ConfigDump == nil {
		return errUnavailable
	}
	dump, err := s.options.ConfigDump()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(dump)
	return err
}

func (s *server) logging(w http.ResponseWriter, r *http.Request) error {
	if s.options.Level == nil {
		return errUnavailable
	}
	level, err := s.options.Level(r.URL.Query().Get("level"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "active loggers:\n  proxy: %s\n", level)
	return err
}

func (s *server) drain(w http.ResponseWriter, r *http.Request) error {
	if s.options.Drain == nil {
		return errUnavailable
	}
	s.options.Drain(r.URL.Query().Has("inboundonly"))
	return ok(w)
}

func (s *server) quit(w http.ResponseWriter, _ *http.Request) error {
	if s.options.Quit == nil {
		return errUnavailable
	}
	defer s.options.Quit()
	return ok(w)
}
