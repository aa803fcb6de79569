package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	meshpb "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/explain"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/meshd"
	"github.com/windtunnel-mesh/windtunnel/mesh/meshproxy"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/bootstrap"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/names"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/translate"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/cluster"
)

// Offline is a mesh in which nothing runs: objects have their Pods, addresses and
// endpoints, and each sidecar its configuration, as in a world, but there is no
// process and no network. Images do not matter.
type Offline struct {
	world      *World
	translator *translate.Translator
	meshConfig *meshpb.MeshConfig
	snapshots  map[string]*snapshot.Proxy // by Pod
	keys       []byte                     // of all issuers of tokens; nil: their own
}

// TakeTokens has proxies take tokens that are signed with one of some keys (a JSON Web Key
// Set) for those of their issuers, whose own keys nothing here can fetch.
func (o *Offline) TakeTokens(keys []byte) { o.keys, o.snapshots = keys, map[string]*snapshot.Proxy{} }

// NewOffline applies documents to a mesh with its gateways. The mesh configuration is
// that of the last IstioOperator among them, else Istio's default. Findings are what the
// decoder and the control plane say; an object with an error is left out.
func NewOffline(docs []spec.Document) (*Offline, []config.Diagnostic, error) {
	var findings []config.Diagnostic
	var objects []*config.Object
	for _, d := range docs {
		decoded, ds := config.Decode(d.File, d.Line, d.Text)
		objects, findings = append(objects, decoded...), append(findings, ds...)
	}
	o, ds, err := NewOfflineOf(objects, nil)
	return o, append(findings, ds...), err
}

// NewOfflineOf applies objects to a mesh with its gateways. mesh may be nil: then it is
// that of the last IstioOperator, else Istio's default.
func NewOfflineOf(objects []*config.Object, mesh *meshpb.MeshConfig) (*Offline, []config.Diagnostic, error) {
	w := &World{
		o:     options{Scenario: &spec.Scenario{}, Logger: slog.New(slog.DiscardHandler)},
		ctx:   context.Background(),
		start: time.Now(),
		store: store.NewMemory(store.MemoryOptions{}),
		log:   newJournal(nil),
		nodes: make(map[string]*node),
	}
	for _, o := range objects {
		w.o.Scenario.Resources = append(w.o.Scenario.Resources, spec.Document{File: o.Position().File, Line: o.Position().Line, Text: o.Raw})
	}
	operator := config.MeshOperator(objects)
	switch {
	case mesh != nil:
		operator = nil
	case operator != nil:
		mesh = operator.Value.(*config.IstioOperator).MeshConfig
	default:
		mesh = config.DefaultMeshConfig()
	}
	w.trustDomain = mesh.GetTrustDomain()
	w.inject = injection(mesh)
	w.cluster = cluster.New(cluster.Options{
		Store: w.store, Kubelet: idle{w}, Inject: w.inject, Seed: seed.New(1).Sub("cluster"), OnPod: func(*corev1.Pod, string) {},
	})
	if err := w.install(); err != nil {
		return nil, nil, err
	}
	if err := w.cluster.Apply(context.Background(), objects); err != nil {
		return nil, nil, err
	}
	m, ds := meshd.Build(w.store.View(), build.Options{MeshConfig: mesh})
	asked := map[config.Key]bool{{Kind: "MeshConfig"}: true}
	for _, o := range objects {
		asked[o.Key()] = true
	}
	// What the installer and controllers made is theirs to answer for.
	ds = slices.DeleteFunc(ds, func(d config.Diagnostic) bool { return !asked[d.Object] })
	for i := range ds {
		ds[i] = operator.PlaceMesh(ds[i])
	}
	return &Offline{world: w, translator: translate.New(m, nil), meshConfig: mesh, snapshots: map[string]*snapshot.Proxy{}}, ds, nil
}

// View has all objects, those that the cluster made of them included.
func (o *Offline) View() *store.View { return o.world.store.View() }

// MeshConfig is what the mesh is configured with.
func (o *Offline) MeshConfig() *meshpb.MeshConfig { return o.meshConfig }

// Explain follows a request.
func (o *Offline) Explain(q *spec.Explain) (*explain.Way, error) {
	return o.world.explain(q, o.snapshot)
}

// snapshot is what a Pod's proxy would run; nil: it has none. It is worked out once.
func (o *Offline) snapshot(n *node) (*snapshot.Proxy, error) {
	if s, ok := o.snapshots[n.pod.Name]; ok {
		return s, nil
	}
	p, err := proxyOf(n)
	if err != nil || p == nil {
		return nil, err
	}
	set, err := o.resources(p)
	if err != nil {
		return nil, err
	}
	all := resource.Set{}
	for _, t := range resource.Types {
		all[t] = maps.Clone(p.boot.Static[t])
		for _, r := range set[t] {
			all.Put(t, r)
		}
	}
	c := compile.NewCompiler()
	c.ReadFile = func(string) ([]byte, error) { return nil, nil }
	s, err := c.Compile(all)
	if err == nil {
		o.trust(s)
		o.snapshots[n.pod.Name] = s
	}
	return s, err
}

// trust puts the keys in the place of those of the issuers.
func (o *Offline) trust(s *snapshot.Proxy) {
	if o.keys == nil {
		return
	}
	for _, l := range s.Listeners {
		for _, c := range append(slices.Clone(l.Chains), l.Default) {
			if c == nil || c.HTTP == nil {
				continue
			}
			for _, f := range c.HTTP.Filters {
				if jwt, ok := f.(snapshot.JWT); ok {
					for _, p := range jwt.Providers {
						p.Keys = o.keys
					}
				}
			}
		}
	}
}

// Clients are the workloads that requests can come from, as --from names them: those
// whose Pods are neither gateways nor the control plane.
func (o *Offline) Clients() []string {
	var list []string
	for _, p := range o.world.cluster.Pods() {
		if p.Namespace == systemNamespace || isGateway(p.Pod) {
			continue
		}
		name := p.Workload()
		if p.Namespace != "default" {
			name = p.Namespace + "/" + name
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// Resources are what the control plane would send to the proxy of a workload, and that
// proxy's node id.
func (o *Offline) Resources(workload string) (id string, set resource.Set, err error) {
	if workload == fromIngress {
		workload = ingressGateway
	}
	nodes, err := o.world.podsOf(workload)
	if err != nil {
		return "", nil, err
	}
	p, err := proxyOf(nodes[0])
	switch {
	case err != nil:
		return "", nil, err
	case p == nil:
		return "", nil, fmt.Errorf("%s has no sidecar", workload)
	}
	set, err = o.resources(p)
	return p.boot.Node.GetId(), set, err
}

// proxyStart is what a proxy starts with.
type proxyStart struct{ boot *bootstrap.Bootstrap }

// proxyOf reads the bootstrap that the injector wrote; nil: the Pod has no proxy.
func proxyOf(n *node) (*proxyStart, error) {
	for _, c := range slices.Concat(n.pod.Spec.InitContainers, n.pod.Spec.Containers) {
		if c.Name != inject.ProxyContainer {
			continue
		}
		o, err := meshproxy.ParseArgs(inject.Expand(c.Args, inject.Env(n.pod, c.Name, n.pod.Status.PodIP, n.pod.Status.HostIP)), io.Discard)
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", c.Name, err)
		}
		if o.ConfigPath != "" {
			return nil, errors.New("the proxy's bootstrap is a file, which nothing here can read")
		}
		boot, err := bootstrap.Parse("--config-yaml", []byte(o.ConfigYAML))
		if err != nil {
			return nil, err
		}
		return &proxyStart{boot}, nil
	}
	return nil, nil
}

// resources translates the mesh for a proxy, as the control plane does when its stream opens.
func (o *Offline) resources(p *proxyStart) (resource.Set, error) {
	node, err := names.ParseNode(p.boot.Node.GetId(), p.boot.Node.GetMetadata().AsMap())
	if err != nil {
		return nil, err
	}
	return o.translator.Proxy(node)
}

// idle is a kubelet whose Pods are ready at once and do nothing.
type idle struct{ w *World }

// Start implements cluster.Kubelet.
func (k idle) Start(_ context.Context, pod *corev1.Pod) error {
	k.w.nodes[pod.Name] = &node{pod: pod, workload: workloadOf(pod)}
	return nil
}

// Ready implements cluster.Kubelet.
func (idle) Ready(*corev1.Pod) (bool, error) { return true, nil }

// Changed implements cluster.Kubelet: nothing ever does.
func (idle) Changed() <-chan struct{} { return nil }

// Waiting implements cluster.Kubelet.
func (idle) Waiting(*corev1.Pod) string { return "" }

// Stop implements cluster.Kubelet.
func (k idle) Stop(_ context.Context, pod *corev1.Pod) error {
	delete(k.w.nodes, pod.Name)
	return nil
}
