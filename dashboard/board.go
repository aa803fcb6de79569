// Package dashboard is the page of a mesh that is up: the service graph with rates and
// errors, requests as they come with the explanation of each, what every proxy has and
// counts, and a box to send requests from.
//
// In: what a world tells as its Watcher, and answers by Mesh. Out: HTTP on one listener,
// a page without any other network, and the JSON behind it (docs/UP.md). It must not start
// or change worlds.
package dashboard

import (
	"context"
	"embed"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/explain"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

// Mesh answers the page's questions. Its methods are called from many goroutines.
type Mesh interface {
	// Title says what the mesh is made of, Entrances are the URLs of its gateways.
	Title() string
	Entrances() []string
	Places(ctx context.Context) (*world.Places, error)
	// Question and Way explain an exchange that was seen.
	Question(ctx context.Context, pod string, inbound bool, local netip.AddrPort) (from, authority string, err error)
	Way(ctx context.Context, q *spec.Explain) (*explain.Way, error)
	Send(ctx context.Context, r *spec.Request) ([]run.Exchange, error)
	// Admin asks the admin port of a Pod's proxy.
	Admin(ctx context.Context, pod, path string) ([]byte, error)
}

//go:embed page
var page embed.FS

// Board is a dashboard. It is a world.Watcher from the beginning, and answers once it
// is served.
type Board struct {
	listener net.Listener
	live     *live
	mesh     Mesh
	server   *http.Server
	done     sync.WaitGroup
}

var _ world.Watcher = (*Board)(nil)

// Listen takes the address; the error is a *net.OpError.
func Listen(ctx context.Context, address string) (*Board, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &Board{listener: l, live: newLive()}, nil
}

// URL is where the page is.
func (b *Board) URL() string { return "http://" + b.listener.Addr().String() + "/" }

// Serve answers until Close.
func (b *Board) Serve(m Mesh) {
	b.mesh = m
	b.server = &http.Server{Handler: guard(b.routes()), ReadHeaderTimeout: 10 * time.Second}
	b.done.Go(func() { _ = b.server.Serve(b.listener) }) // Close ends it
}

// Close ends the page and everybody's streams.
func (b *Board) Close() error {
	b.live.close()
	if b.server == nil {
		return b.listener.Close()
	}
	err := b.server.Close()
	b.done.Wait()
	return err
}

func (b *Board) routes() http.Handler {
	mux := http.NewServeMux()
	for path, file := range map[string][2]string{"/{$}": {"page.html", "text/html; charset=utf-8"},
		"/page.js": {"page.js", "text/javascript; charset=utf-8"}, "/page.css": {"page.css", "text/css; charset=utf-8"}} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			text, err := page.ReadFile("page/" + file[0])
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", file[1])
			_, _ = w.Write(text)
		})
	}
	mux.HandleFunc("GET /api/mesh", b.places)
	mux.HandleFunc("GET /api/events", b.events)
	mux.HandleFunc("GET /api/requests", b.requests)
	mux.HandleFunc("GET /api/requests/{id}", b.request)
	mux.HandleFunc("GET /api/explain", b.explain)
	mux.HandleFunc("GET /api/proxies/{pod}/config/{part}", b.config)
	mux.HandleFunc("GET /api/proxies/{pod}/stats", b.stats)
	mux.HandleFunc("POST /api/send", b.send)
	return mux
}

// guard turns pages of other sites away: names that lead here by somebody else's DNS,
// and requests that change something with another origin or as a form.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
			http.Error(w, fmt.Sprintf("this page is at an address, not at %q", host), http.StatusMisdirectedRequest)
			return
		}
		if r.Method != http.MethodGet && (r.Header.Get("Content-Type") != "application/json" ||
			r.Header.Get("Origin") != "" && r.Header.Get("Origin") != "http://"+r.Host) {
			http.Error(w, "expected JSON from this page", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
