// Package meshd is the control plane as one value: it watches a store, builds the
// mesh, translates it for every proxy that is connected and serves the result over
// ADS; it signs the proxies' certificates; it answers metrics and debug requests.
//
// In: a store.Source, MeshConfig, a CA. Out: gRPC on 15010 (plaintext) and 15012
// (TLS, with the CSR API), HTTP on 15014, the API server's webhooks on 15017.
package meshd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/serve"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/translate"
)

// Options for New. Addresses default to the ports that Istio uses.
type Options struct {
	Network    netx.Network
	Source     store.Source
	MeshConfig *meshpb.MeshConfig
	// CA signs proxies' certificates; nil serves plaintext only.
	CA            *identity.CA
	Authenticator identity.Authenticator
	Seed          seed.Seed
	Logger        *slog.Logger

	PlaintextAddr  string // ":15010"
	TLSAddr        string // ":15012"
	MonitoringAddr string // ":15014"

	// Namespace of the control plane, istio-system: its certificate has the names of
	// the Service istiod there.
	Namespace string
	// Inject answers the API server's webhooks on WebhookAddr with these settings; nil
	// has none. It needs a CA.
	Inject      *inject.Options
	WebhookAddr string // ":15017"
	// Cluster says that the place is a real cluster: without Inject, nobody there makes
	// the proxies of Gateways of the Gateway API, which are refused by name.
	Cluster bool
	// MeshConfigs brings mesh configurations that replace MeshConfig; may be nil.
	MeshConfigs <-chan *meshpb.MeshConfig

	// Quiet and Max coalesce changes, as PILOT_DEBOUNCE_AFTER and _MAX do.
	Quiet time.Duration // 100 ms
	Max   time.Duration // 10 s

	// OnDiagnostics gets what is wrong with each configuration that is built.
	OnDiagnostics func([]config.Diagnostic)
	// OnPush is told of every response, acceptance and refusal.
	OnPush func(serve.Event)
}

func (o *Options) defaults() {
	if o.MeshConfig == nil {
		o.MeshConfig = config.DefaultMeshConfig()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.PlaintextAddr == "" {
		o.PlaintextAddr = ":15010"
	}
	if o.TLSAddr == "" {
		o.TLSAddr = ":15012"
	}
	if o.MonitoringAddr == "" {
		o.MonitoringAddr = ":15014"
	}
	if o.WebhookAddr == "" {
		o.WebhookAddr = ":15017"
	}
	if o.Namespace == "" {
		o.Namespace = "istio-system"
	}
	if o.Quiet == 0 {
		o.Quiet = 100 * time.Millisecond
	}
	if o.Max == 0 {
		o.Max = 10 * time.Second
	}
}

// Meshd is one control plane.
type Meshd struct {
	o     Options
	xds   *serve.Server
	stats metrics
	keys  *keyring
	ready chan struct{}
	// turn holds a token while nobody builds; view is what was built last.
	turn chan struct{}
	view *store.View
	// retry is told that not all keys could be fetched.
	retry chan struct{}

	mu         sync.Mutex
	mesh       *meshpb.MeshConfig
	built      uint64 // revision of the store that proxies are told
	changed    chan struct{}
	translator *translate.Translator
	findings   []config.Diagnostic
}

// New returns a control plane that does nothing yet.
func New(o Options) (*Meshd, error) {
	if o.Network == nil || o.Source == nil {
		return nil, errors.New("meshd needs a network and a source of configuration")
	}
	o.defaults()
	if o.Inject != nil && o.CA == nil {
		return nil, errors.New("meshd needs a CA for the certificate of its webhooks")
	}
	m := &Meshd{
		o:       o,
		mesh:    o.MeshConfig,
		keys:    newKeyring(o.Network, o.Logger),
		turn:    make(chan struct{}, 1),
		retry:   make(chan struct{}, 1),
		ready:   make(chan struct{}),
		changed: make(chan struct{}),
	}
	m.xds = serve.New(serve.Options{Logger: o.Logger, OnEvent: m.event})
	m.turn <- struct{}{}
	return m, nil
}

func (m *Meshd) event(e serve.Event) {
	m.stats.event(e)
	if m.o.OnPush != nil {
		m.o.OnPush(e)
	}
}

// Stats are the control plane's own metrics, those of /metrics.
func (m *Meshd) Stats() *stats.Registry { return &m.stats.registry }

// Ready is closed when the first configuration is built and the ports are open.
func (m *Meshd) Ready() <-chan struct{} { return m.ready }

// Status lists the connected proxies.
func (m *Meshd) Status() []serve.ProxyStatus { return m.xds.Status() }

// Diagnostics is what is wrong with the configuration in force.
func (m *Meshd) Diagnostics() []config.Diagnostic {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.findings
}

// Check tells what the control plane would say of objects if they were added to a
// view: only findings about these objects, nothing is changed. The validating
// webhook asks the same question.
func (m *Meshd) Check(v *store.View, objects []*config.Object) []config.Diagnostic {
	asked := make(map[config.Key]bool, len(objects))
	for _, o := range objects {
		asked[o.Key()] = true
	}
	_, findings := m.find(store.NewView(slices.Concat(v.All(), objects)...))
	return slices.DeleteFunc(findings, func(d config.Diagnostic) bool { return !asked[d.Object] })
}

// Run serves until the context ends.
func (m *Meshd) Run(ctx context.Context) error {
	servers, err := m.listen(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var wait sync.WaitGroup
	for _, s := range servers {
		wait.Go(func() {
			if err := s.serve(); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("serve %s: %w", s.name, err))
			}
		})
	}
	wait.Go(func() {
		// The first View comes at once: who waits for Ready knows what was built by then.
		first := sync.OnceFunc(func() { close(m.ready) })
		store.Watch(ctx, m.o.Source, store.WatchOptions{Quiet: m.o.Quiet, Max: m.o.Max}, func(v *store.View) {
			m.build(ctx, v)
			first()
		})
	})
	wait.Go(func() { m.refreshKeys(ctx) })
	m.followMeshConfig(ctx)
	for _, s := range servers {
		s.stop()
	}
	wait.Wait()
	cancel(nil)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// server is one port.
type server struct {
	name  string
	serve func() error
	stop  func()
}

// listen opens the ports.
func (m *Meshd) listen(ctx context.Context) ([]server, error) {
	var servers []server
	fail := func(err error) ([]server, error) {
		for _, s := range servers {
			s.stop()
		}
		return nil, err
	}
	plain, err := m.grpcServer(ctx, "ADS", m.o.PlaintextAddr)
	if err != nil {
		return fail(err)
	}
	servers = append(servers, plain)
	if m.o.CA != nil {
		secure, err := m.secureServer(ctx)
		if err != nil {
			return fail(err)
		}
		servers = append(servers, secure)
	}
	if m.o.Inject != nil {
		hooks, err := m.webhookServer(ctx)
		if err != nil {
			return fail(err)
		}
		servers = append(servers, hooks)
	}
	monitoring, err := m.monitoringServer(ctx)
	if err != nil {
		return fail(err)
	}
	return append(servers, monitoring), nil
}

func (m *Meshd) grpcServer(ctx context.Context, name, addr string, options ...grpc.ServerOption) (server, error) {
	l, err := m.o.Network.Listen(ctx, addr)
	if err != nil {
		return server{}, fmt.Errorf("listen for %s: %w", name, err)
	}
	return m.grpcOn(name, l, options...), nil
}

func (m *Meshd) grpcOn(name string, l net.Listener, options ...grpc.ServerOption) server {
	s := grpc.NewServer(options...)
	m.xds.Register(s)
	if m.o.CA != nil && m.o.Authenticator != nil {
		identity.NewService(m.o.CA, m.o.Authenticator).Register(s)
	}
	return server{name: name, serve: func() error { return s.Serve(l) }, stop: s.Stop}
}

// build fetches the keys that a view names, makes its mesh and hands it to the proxies.
func (m *Meshd) build(ctx context.Context, v *store.View) {
	<-m.turn
	defer func() { m.turn <- struct{}{} }()
	m.view = v
	if _, ok := m.keys.fetch(ctx, v, false); !ok {
		select {
		case m.retry <- struct{}{}:
		default: // told already
		}
	}
	m.push(v)
}

// refreshKeys fetches all keys again from time to time, sooner after a failure.
func (m *Meshd) refreshKeys(ctx context.Context) {
	// Many control planes that start together need not ask together.
	offset := time.Duration(m.o.Seed.Uint64("keys") % uint64(time.Second))
	timer := time.NewTimer(keysRefresh + offset)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.retry:
			timer.Reset(keysRetry)
			continue
		case <-timer.C:
		}
		<-m.turn
		changed, ok := false, true
		if m.view != nil {
			if changed, ok = m.keys.fetch(ctx, m.view, true); changed {
				m.push(m.view)
			}
		}
		m.turn <- struct{}{}
		if ok {
			timer.Reset(keysRefresh)
		} else {
			timer.Reset(keysRetry)
		}
	}
}

// push makes the mesh of a view and hands it to the proxies.
func (m *Meshd) push(v *store.View) {
	mesh, findings := m.find(v)
	m.mu.Lock()
	m.translator = translate.New(mesh, m.translator)
	m.findings = findings
	translator := m.translator
	m.mu.Unlock()

	m.stats.services(len(mesh.Services))
	m.xds.Update(generator{translator}, revision(v.Revision))
	if m.o.OnDiagnostics != nil {
		m.o.OnDiagnostics(findings)
	}

	m.mu.Lock()
	m.built = v.Revision
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
}

// WaitSynced returns when every connected proxy has accepted the configuration of
// a store revision, or of a later one.
func (m *Meshd) WaitSynced(ctx context.Context, r uint64) error {
	for {
		m.mu.Lock()
		built, changed := m.built, m.changed
		m.mu.Unlock()
		if built >= r {
			return m.xds.WaitSynced(ctx, revision(built))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Behind returns the node ids of the connected proxies that WaitSynced waits for.
func (m *Meshd) Behind() []string {
	m.mu.Lock()
	built := m.built
	m.mu.Unlock()
	return m.xds.Behind(revision(built))
}

func revision(n uint64) string { return fmt.Sprint(n) }
