package meshd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// secureServer is ADS and the CSR API over TLS. Proxies prove who they are with a
// token at first and with their certificate from then on.
func (m *Meshd) secureServer(ctx context.Context) (server, error) {
	conf, err := m.o.CA.ServerConfig(serverNames...)
	if err != nil {
		return server{}, fmt.Errorf("make the control plane's certificate: %w", err)
	}
	return m.grpcServer(ctx, "ADS over TLS", m.o.TLSAddr, grpc.Creds(credentials.NewTLS(conf)))
}

// serverNames are the names under which proxies reach the control plane.
var serverNames = []string{"istiod.istio-system.svc", "istiod.istio-system.svc.cluster.local", "istiod.istio-system", "localhost"}

// monitoringServer answers /ready, /metrics, /debug/syncz and /debug/diagnostics.
func (m *Meshd) monitoringServer(ctx context.Context) (server, error) {
	l, err := m.o.Network.Listen(ctx, m.o.MonitoringAddr)
	if err != nil {
		return server{}, fmt.Errorf("listen for monitoring: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-m.ready:
			fmt.Fprintln(w, "ready")
		default:
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = m.stats.registry.WritePrometheus(w) // a client that went away is not our error
	})
	mux.HandleFunc("GET /debug/syncz", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, m.xds.Status()) })
	mux.HandleFunc("GET /debug/diagnostics", func(w http.ResponseWriter, _ *http.Request) {
		config.Print(w, m.Diagnostics())
	})
	s := &http.Server{Handler: mux, BaseContext: func(net.Listener) context.Context { return ctx }}
	return server{
		name: "monitoring",
		serve: func() error {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		stop: func() { s.Close() },
	}, nil
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	// A client that went away is not our error.
	_ = e.Encode(v)
}
