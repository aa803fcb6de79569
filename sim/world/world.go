// Package world is a mesh that runs in this process: a cluster in small whose Pods
// have real sidecars, a real control plane, an ingress gateway, and clients outside.
// It implements scenarios/run's World over any fabric: simnet in virtual time (Sim),
// sockets on 127.0.0.0/8 in real time (Loopback).
package world

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/meshd"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/canary"
	"github.com/windtunnel-mesh/windtunnel/sim/cluster"
	"github.com/windtunnel-mesh/windtunnel/sim/collector"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
	"github.com/windtunnel-mesh/windtunnel/sim/images"
	"github.com/windtunnel-mesh/windtunnel/sim/trace"
)

// options for newWorld.
type options struct {
	Scenario      *spec.Scenario
	Fabric        fabric.Fabric
	Seed          seed.Seed
	Deterministic bool
	Trace         *trace.Recorder // nil: none
	Programs      *Programs       // nil: proxies run in this process
	Watcher       Watcher         // nil: none
	Logger        *slog.Logger
	Wrap          func(workload string, h http.Handler) http.Handler // nil: none
}

// World is one mesh. Scenario steps call it from one goroutine; proxies and
// servers live on their own. Beside the steps only the canary controller changes the
// cluster: enter keeps the two apart.
type World struct {
	o           options
	ctx         context.Context // of everything that runs; cancelled by Close
	cancel      context.CancelFunc
	start       time.Time
	store       *store.Memory
	cluster     *cluster.Cluster
	images      *images.Catalogue
	ca          *identity.CA
	inject      inject.Options
	tokens      *identity.TokenIssuer
	meshd       *meshd.Meshd
	shared      *compile.Shared    // by the proxies
	mesh        *meshpb.MeshConfig // as it is when the world begins
	trustDomain string             // of all certificates
	log         *journal
	spans       *collector.Collector
	access      *accessLogs   // nil where the scenario does not look at them
	nodesMu     sync.RWMutex  // of nodes where another goroutine than the scenario's reads
	metrics     *metrics      // nil where nobody asks for any
	gate        chan struct{} // who changes the cluster has its one place
	release     *canary.Controller
	nodes       map[string]*node // running Pods by name
	readiness   *readiness       // of all Pods
	following   sync.WaitGroup   // who follows what probes find
	follows     bool             // somebody does
	kubelet     fabric.Host      // where probes come from; nil: nobody probes
	down        bool             // the control plane is, on purpose
	rules       []func()         // remove the network's faults that nobody has healed
	faults      uint64           // so far, for draws
	cutOff      bool             // by one of them, until healed, proxies are
	late        string           // which these were, when they last mattered
	clients     map[string]fabric.Host
	sent        uint64        // request steps so far, for request ids
	turn        atomic.Uint64 // kube-proxy's next endpoint
}

var _ run.World = (*World)(nil)

// newWorld builds the world and installs the mesh into it: namespaces, control
// plane, ingress gateway. The scenario's resources are not applied yet.
func newWorld(ctx context.Context, o options) (*World, error) {
	w := &World{
		o:       o,
		start:   time.Now(),
		store:   store.NewMemory(store.MemoryOptions{}),
		images:  images.NewCatalogue(o.Scenario.Behaviours),
		log:     newJournal(o.Trace),
		spans:   collector.New(),
		gate:    make(chan struct{}, 1),
		nodes:   make(map[string]*node),
		clients: make(map[string]fabric.Host),

		readiness: newReadiness(),
		shared:    compile.NewShared(),
	}
	w.log.watcher = o.Watcher
	w.ctx, w.cancel = context.WithCancel(ctx)
	mesh, err := w.meshConfig()
	if err != nil {
		return nil, err
	}
	w.mesh, w.trustDomain = mesh, mesh.GetTrustDomain()
	if w.ca, err = identity.NewCA(identity.CAOptions{TrustDomain: w.trustDomain, Seed: o.Seed.Sub("ca"), Deterministic: o.Deterministic, KeyType: w.keyType()}); err != nil {
		return nil, err
	}
	w.inject = injection(mesh)
	w.tokens = identity.NewTokenIssuer(o.Seed.Sub("tokens"))
	w.cluster = cluster.New(cluster.Options{
		Store:   w.store,
		Kubelet: w,
		Inject:  w.inject,
		Seed:    o.Seed.Sub("cluster"),
		OnPod:   w.onPod,
	})
	if looksAtLogs(o.Scenario) {
		w.access = &accessLogs{}
	}
	if queries(o.Scenario) || releases(o.Scenario) {
		w.metrics = newMetrics(w.ctx, o.Seed)
	}
	w.release = canary.New(w.ctx, canary.Options{Cluster: managed{w}, Seed: o.Seed.Sub("canary"), OnEvent: func(name, text string) {
		w.log.event("canary", name, text)
	}})
	o.Fabric.SetResolver(w.resolve)
	o.Fabric.SetServiceAddress(w.serviceAddress)
	if err := w.install(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Close takes the world down; nothing of it runs afterwards.
func (w *World) Close() error {
	w.cancel()
	w.metrics.wait()
	w.release.Wait()
	w.following.Wait()
	var errs []error
	for _, p := range w.cluster.Pods() {
		if n := w.nodes[p.Name]; n != nil {
			errs = append(errs, n.close())
		}
	}
	errs = append(errs, w.o.Fabric.Close())
	return errors.Join(errs...)
}

// Now implements run.World.
func (w *World) Now() time.Time { return time.Now() }

// Sleep implements run.World.
func (w *World) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Log implements run.World.
func (w *World) Log() []run.Seen { return w.log.all() }

// Events implements run.World.
func (w *World) Events() []run.Event { return w.log.allEvents() }

// Digest implements run.World.
func (w *World) Digest() string {
	if w.o.Trace == nil {
		return ""
	}
	return w.o.Trace.Digest()
}

// settle returns when every proxy runs what the cluster's objects say.
func (w *World) settle(ctx context.Context) error {
	if w.meshd == nil || w.down {
		return nil
	}
	limit := syncLimit
	if w.cutOff {
		limit = cutOffLimit
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	switch err := w.meshd.WaitSynced(limited, w.store.View().Revision); {
	case err == nil:
		return nil
	case ctx.Err() != nil || limited.Err() == nil:
		return fmt.Errorf("wait until the proxies have the configuration: %w", err)
	}
	var late []string
	for _, id := range w.meshd.Behind() {
		late = append(late, podOfNode(id))
	}
	text := fmt.Sprintf("after %v these have not got the configuration: %s", limit, strings.Join(late, ", "))
	if !w.cutOff {
		return errors.New(text)
	}
	w.late = text
	return nil
}

// How long the proxies may take to get the configuration: where a fault cuts some of
// them off until it is healed, those that it does not cut off.
const (
	syncLimit   = 5 * time.Minute
	cutOffLimit = 2 * time.Second
)

// client is a host outside the cluster. Its address is private, as that of a
// node is that clients of a NodePort or load balancer seem to come from.
func (w *World) client(name string, addr netip.Addr) (fabric.Host, error) {
	if h := w.clients[name]; h != nil {
		return h, nil
	}
	h, err := w.o.Fabric.AddHost(name, addr)
	if err != nil {
		return nil, err
	}
	w.clients[name] = h
	return h, nil
}
