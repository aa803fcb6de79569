package meshd

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/webhook"
)

// secureServer is ADS and the CSR API over TLS. Proxies prove who they are with a
// token at first and with their certificate from then on.
func (m *Meshd) secureServer(ctx context.Context) (server, error) {
	conf, err := m.o.CA.ServerConfig(m.serverNames()...)
	if err != nil {
		return server{}, fmt.Errorf("make the control plane's certificate: %w", err)
	}
	return m.grpcServer(ctx, "ADS over TLS", m.o.TLSAddr, grpc.Creds(credentials.NewTLS(conf)))
}

// serverNames are the names under which proxies reach the control plane.
func (m *Meshd) serverNames() []string {
	service := "istiod." + m.o.Namespace
	return []string{service + ".svc", service + ".svc.cluster.local", service, "localhost"}
}

// webhookServer answers the API server. Its certificate is the CA's, renewed before
// it expires; the API server knows the CA by the webhooks' caBundle.
func (m *Meshd) webhookServer(ctx context.Context) (server, error) {
	conf, err := m.o.CA.ServerConfig(m.serverNames()...)
	if err != nil {
		return server{}, fmt.Errorf("make the webhooks' certificate: %w", err)
	}
	l, err := m.o.Network.Listen(ctx, m.o.WebhookAddr)
	if err != nil {
		return server{}, fmt.Errorf("listen for webhooks: %w", err)
	}
	handler := webhook.New(webhook.Options{Inject: *m.o.Inject, Source: m.o.Source, Check: m.review, Logger: m.o.Logger})
	return httpServer(ctx, "webhooks", handler, tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: conf.GetCertificate, NextProtos: []string{"http/1.1"}})), nil
}

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
	return httpServer(ctx, "monitoring", mux, l), nil
}

func httpServer(ctx context.Context, name string, h http.Handler, l net.Listener) server {
	s := &http.Server{Handler: h, BaseContext: func(net.Listener) context.Context { return ctx }}
	return server{
		name: name,
		serve: func() error {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		stop: func() { s.Close() },
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	// A client that went away is not our error.
	_ = e.Encode(v)
}
