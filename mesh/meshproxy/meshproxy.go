package meshproxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/admin"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/nametable"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/bootstrap"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/client"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Proxy is one data plane.
type Proxy struct {
	o        Options
	boot     *bootstrap.Bootstrap
	compiler *compile.Compiler
	proxy    *proxy.Proxy
	conns    *connections
	agent    *identity.Agent // nil without an identity
	status   http.Handler    // nil without a status port
	// addresses are the pod's, where there is a status port.
	addresses []netip.Addr
	client    *client.Client // nil without a control plane
	ready     chan struct{}
	started   time.Time

	resolver resolver // of a pod whose queries the proxy answers

	mu      sync.Mutex
	applied bool
	names   *nametable.Table // nil: the proxy answers no DNS
}

// New reads and checks the bootstrap. Nothing is opened before Run, but that the
// configuration can be used is certain: --mode validate is New.
func New(o Options) (*Proxy, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	p := &Proxy{o: o, compiler: compile.NewCompiler(), ready: make(chan struct{}), started: time.Now()}
	p.compiler.ReadFile, p.compiler.Shared = o.ReadFile, o.Shared
	if err := p.readBootstrap(); err != nil {
		return nil, err
	}
	if err := p.ofPod(); err != nil {
		return nil, err
	}
	if o.Shared != nil {
		o.Shared.Set(p.boot.Static)
	}
	if _, err := p.compiler.Compile(p.boot.Static); err != nil {
		return nil, fmt.Errorf("static resources: %w", err)
	}
	p.conns = newConnections(o.Network)
	if err := p.newAgent(); err != nil {
		return nil, err
	}
	options := proxy.Options{
		Network: o.Network, Seed: o.Seed, AccessLog: o.AccessLog, LogHeader: o.LogHeader, OpenLog: o.OpenLog, Logger: o.Logger,
		DrainTimeout: o.DrainTime, Workload: workload(p.boot), NodeID: p.boot.Node.GetId(), Node: node(p.boot), OnEvent: o.OnEvent,
		Service: p.boot.Node.GetCluster(), Zone: p.boot.Node.GetLocality().GetZone(), Getenv: o.Getenv,
	}
	if p.agent != nil {
		options.Secrets = p.agent
	}
	if err := p.newResolver(); err != nil {
		return nil, err
	}
	p.proxy = proxy.New(options)
	if err := p.newStatus(); err != nil {
		return nil, err
	}
	return p, p.newClient()
}

// readBootstrap reads the file and the text that is merged over it.
func (p *Proxy) readBootstrap() error {
	name, data := "--config-yaml", []byte(p.o.ConfigYAML)
	var overrides [][]byte
	if p.o.ConfigPath != "" {
		file, err := p.o.ReadFile(p.o.ConfigPath)
		if err != nil {
			return fmt.Errorf("bootstrap: %w", err)
		}
		if p.o.ConfigYAML != "" {
			overrides = append(overrides, data)
		}
		name, data = p.o.ConfigPath, file
	}
	var err error
	p.boot, err = bootstrap.Parse(name, data, overrides...)
	return err
}

// Ready is closed when the first complete configuration is in force and, where the
// proxy has an identity, its certificate is there.
func (p *Proxy) Ready() <-chan struct{} { return p.ready }

// Hosts is the state of a cluster's hosts.
func (p *Proxy) Hosts(cluster string) []upstream.HostStatus { return p.proxy.Engine().Hosts(cluster) }

// Stats are the metrics.
func (p *Proxy) Stats() *stats.Registry { return p.proxy.Engine().Stats }

// Clusters lists the clusters in force, sorted.
func (p *Proxy) Clusters() []string {
	snapshot := p.proxy.Snapshot()
	if snapshot == nil {
		return nil
	}
	return sortedKeys(snapshot.Clusters)
}

// Addr is where a listener is bound, for worlds that choose ports.
func (p *Proxy) Addr(listener string) (string, bool) {
	a, ok := p.proxy.Addr(listener)
	return a.String(), ok
}

// Run serves until the context ends, then drains. Its parts end one after the other,
// each waited for: configuration, identity, admin, traffic, connections to the control
// plane. So what goes over the wire at the end does not depend on who is scheduled first.
func (p *Proxy) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stops := make(map[string]func())
	background := func(what string, run func(context.Context) error) {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := run(own); err != nil && own.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		}()
		stops[what] = func() {
			stop()
			<-ended
		}
	}
	stop := func() {
		for _, what := range []string{"configuration", "identity", "DNS", "status", "admin"} {
			if s := stops[what]; s != nil {
				s()
			}
		}
	}
	if p.agent != nil {
		background("identity", p.agent.Run)
		if err := p.agent.WaitReady(ctx); err != nil {
			stop()
			return errors.Join(fmt.Errorf("wait for a certificate: %w", err), p.close())
		}
	}
	err := p.serveAdmin(ctx, func() { cancel(nil) }, background)
	if err == nil {
		err = p.serveStatus(ctx, background)
	}
	if err == nil {
		err = p.serveDNS(ctx, background)
	}
	if err == nil && p.client == nil {
		err = p.update(p.boot.Static)
	}
	if err != nil {
		cancel(err)
	} else if p.client != nil {
		background("configuration", p.client.Run)
	}
	<-ctx.Done()
	if err == nil {
		p.terminate()
	}
	stop()
	err = p.close()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

func (p *Proxy) close() error {
	p.proxy.Drain()
	return errors.Join(p.proxy.Close(), p.conns.close())
}

// update puts a complete set of resources, the static ones among them, in force.
func (p *Proxy) update(set resource.Set) error {
	snapshot, err := p.compiler.Compile(set)
	if err != nil {
		return err
	}
	if err := p.proxy.Apply(snapshot); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resolver.captured {
		p.names = nametable.New(snapshot.Names, p.resolver.pod)
	}
	if !p.applied {
		p.applied = true
		close(p.ready)
	}
	return nil
}

// serveAdmin opens the admin port, where the bootstrap has one.
func (p *Proxy) serveAdmin(ctx context.Context, quit func(), background func(string, func(context.Context) error)) error {
	if !p.boot.Admin.IsValid() {
		return nil
	}
	l, err := p.o.Network.Listen(ctx, p.boot.Admin.String())
	if err != nil {
		return fmt.Errorf("listen for admin: %w", err)
	}
	background("admin", func(ctx context.Context) error { return admin.Serve(ctx, l, p.adminHandler(quit)) })
	return nil
}

func (p *Proxy) adminHandler(quit func()) http.Handler {
	e := p.proxy.Engine()
	o := admin.Options{
		Stats: e.Stats, Upstream: e.Upstream(), Snapshot: p.proxy.Snapshot,
		ConfigDump: func() ([]byte, error) { return bootstrap.Dump(p.resources(), p.boot) },
		Ready:      p.state,
		Level:      p.o.level.change,
		Drain:      func(bool) { p.proxy.Drain() },
		Quit:       quit,
		NodeID:     p.boot.Node.GetId(),
		Started:    p.started,
	}
	if p.agent != nil {
		o.Secrets = p.agent
		o.SecretNames = func() []string { return []string{identity.WorkloadSecret, identity.RootSecret} }
	}
	return admin.Handler(o)
}

// state is whether the proxy takes traffic, and Envoy's word for it.
func (p *Proxy) state() (bool, string) {
	select {
	case <-p.ready:
		return true, "LIVE"
	default:
		return false, "PRE_INITIALIZING"
	}
}

// resources are those in force.
func (p *Proxy) resources() resource.Set {
	if p.client == nil {
		return p.boot.Static
	}
	return p.client.Set()
}
