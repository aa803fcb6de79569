// Package live runs scenarios in a real cluster: it implements scenarios/run.Env over
// the API server. Each scenario gets namespaces of its own; calls are made by agents in
// Pods, results are read from the access logs of the proxies, as in the simulator.
//
// In: a kube.Client and scenarios. Out: what scenarios/run asks a World for. It must not
// import the simulator's world or any part of the mesh that runs in Pods.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/prometheus"
)

// Env is a cluster that has the mesh.
type Env struct {
	Kind   string // "kind" or "kube"
	Client *kube.Client
	System string // the control plane's namespace; istio-system
	// ClientImage is of the Pod that plays clients outside the mesh.
	ClientImage string
	// Out is the report's folder, where logs and dumps of what did not pass are kept; "": nowhere.
	Out string
	// Keep leaves a scenario's namespaces where they are.
	Keep     bool
	Logger   *slog.Logger
	Progress io.Writer

	turn sync.RWMutex // held for writing by scenarios that change what all share
}

var _ run.Env = (*Env)(nil)

const (
	owner         = "windtunnel-scenario"
	scenarioLabel = "windtunnel.dev/scenario"
	meshConfigMap = "istio"   // has the mesh configuration under the key "mesh"
	fromIngress   = "ingress" // outside the cluster, through the ingress gateway
	fromOutside   = "outside" // without a sidecar, straight at the Service

	teardownLimit = 90 * time.Second
)

// Quiet keeps client-go's own log from the terminal: what matters of it is in errors
// that it returns. The log is the process', so that only a program may do this.
func Quiet() {
	klog.SetLogger(logr.Discard())
}

// Name implements run.Env.
func (e *Env) Name() string { return e.Kind }

// World is one scenario's part of the cluster.
type World struct {
	env      *Env
	client   *kube.Client
	scenario *spec.Scenario
	seed     uint64
	names    *names
	mirror   *kube.Mirror
	places   *places
	log      *journal

	forwards forwards
	ctx      context.Context // ends with the world
	metrics  *metrics        // nil: nobody queries
	// chosenLogs are the providers of access logs that the scenario's mesh configuration names.
	chosenLogs []string
	// written are the objects that were applied, by Kind/namespace/name, with their places.
	written     map[string]*config.Object
	trustDomain string
	sent        int
	nodes       nodes
	faults      int                          // that were begun
	timers      sync.WaitGroup               // of faults that end by themselves
	applied     []*unstructured.Unstructured // in the control plane's namespace, in order
	heal        []func(context.Context) error
}

var _ run.World = (*World)(nil)

// Do implements run.Env.
func (e *Env) Do(ctx context.Context, s *spec.Scenario, o run.Options, f func(context.Context, run.World) error) (err error) {
	docs := decodable(documentsOf(s))
	if err := unfit(s, docs); err != nil {
		return err
	}
	if alone(s, docs, e.System) {
		e.turn.Lock()
		defer e.turn.Unlock()
	} else {
		e.turn.RLock()
		defer e.turn.RUnlock()
	}
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("the scenario took longer than %s: %w", o.Timeout, os.ErrDeadlineExceeded))
		defer cancel()
	}
	w, err := e.open(ctx, s, o.Seed, docs)
	if w != nil {
		defer func() { err = errors.Join(err, w.close(ctx)) }()
	}
	if err != nil {
		return err
	}
	return f(ctx, w)
}

// open makes the scenario's namespaces. A World that is returned with an error has to be closed.
func (e *Env) open(ctx context.Context, s *spec.Scenario, seed uint64, docs []document) (*World, error) {
	n, err := newNames(s.Name, e.System, namespacesOf(docs))
	if err != nil {
		return nil, err
	}
	// What a scenario begins ends with it, also where its context is cancelled.
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &World{env: e, client: e.Client, scenario: s, seed: seed, names: n, places: &places{byIP: make(map[netip.Addr]place)},
		forwards: forwards{addresses: make(map[string]string)}, ctx: inner, written: make(map[string]*config.Object),
		nodes: nodes{pods: make(map[string]*pod), paused: make(map[string]*pod), broken: make(map[string]*filtered)}}
	w.mirror = e.Client.Watch(inner, kube.Resource("v1", "Pod"), "", "", e.Logger)
	w.log = &journal{world: w, since: time.Now().Truncate(time.Second), following: make(map[string]context.CancelFunc)}
	done := make(chan struct{})
	go func() { defer close(done); w.log.run(inner) }()
	w.heal = append(w.heal, func(context.Context) error { stop(); <-done; w.timers.Wait(); return nil })
	if err := w.configureMesh(ctx); err != nil {
		return w, err
	}
	if err := w.makeNamespace(ctx, n.namespace(""), map[string]string{"istio-injection": "enabled"}); err != nil {
		return w, err
	}
	if queries(s) {
		w.metrics = &metrics{world: w, prometheus: prometheus.New()}
		if err := w.mirrored(ctx); err != nil {
			return w, err
		}
		w.metrics.scrape(ctx) // what gateways have counted before
		scraped := make(chan struct{})
		go func() { defer close(scraped); w.metrics.run(inner) }()
		w.heal = append(w.heal, func(context.Context) error { stop(); <-scraped; return nil })
	}
	if usesClient(s) {
		if err := w.startClient(ctx); err != nil {
			return w, err
		}
	}
	return w, nil
}

// configureMesh makes all proxies write the access log that results are read from, and
// gives the control plane the scenario's own settings over that.
func (w *World) configureMesh(ctx context.Context) error {
	resource := kube.Resource("v1", "ConfigMap")
	found, err := w.client.Get(ctx, resource, w.env.System, meshConfigMap)
	if err != nil {
		return err
	}
	if found == nil {
		return fmt.Errorf("there is no mesh in this cluster (context %s): no ConfigMap %s/%s; windtunnel install makes one",
			w.client.Context(), w.env.System, meshConfigMap)
	}
	before, _, _ := unstructured.NestedString(found.Object, "data", "mesh")
	var mesh map[string]any
	if err := yaml.Unmarshal([]byte(before), &mesh); err != nil {
		return fmt.Errorf("the mesh configuration of the cluster: %w", err)
	}
	if mesh == nil {
		mesh = make(map[string]any)
	}
	merge(mesh, accessLog())
	shared, err := yaml.Marshal(mesh)
	if err != nil {
		return err
	}
	own := w.scenario.Mesh
	if len(own) > 0 {
		copied, err := yaml.Marshal(own)
		if err == nil {
			own = nil
			err = yaml.Unmarshal(copied, &own)
		}
		if err != nil {
			return err
		}
		w.names.object(own)
		w.chooseLogs(own)
		merge(mesh, own)
	}
	w.trustDomain = identity.DefaultTrustDomain
	if domain, ok := mesh["trustDomain"].(string); ok && domain != "" {
		w.trustDomain = domain
	}
	after, err := yaml.Marshal(mesh)
	if err != nil {
		return err
	}
	if string(after) == before {
		return nil
	}
	if err := w.writeMesh(ctx, string(after)); err != nil {
		return err
	}
	if len(own) > 0 { // the access log stays as it is for the next one
		w.heal = append(w.heal, func(ctx context.Context) error { return w.writeMesh(ctx, string(shared)) })
	}
	return w.converge(ctx)
}

func (w *World) writeMesh(ctx context.Context, text string) error {
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"mesh": text}})
	if err != nil {
		return err
	}
	return w.client.Merge(ctx, "v1", "ConfigMap", w.env.System, meshConfigMap, patch, "")
}

// merge lays one tree over another. Providers are lists whose elements have names.
func merge(into, from map[string]any) {
	for k, v := range from {
		if k == "extensionProviders" {
			into[k] = mergeNamed(into[k], v)
			continue
		}
		if a, ok := into[k].(map[string]any); ok {
			if b, ok := v.(map[string]any); ok {
				merge(a, b)
				continue
			}
		}
		into[k] = v
	}
}

func mergeNamed(into, from any) any {
	old, _ := into.([]any)
	added, _ := from.([]any)
	name := func(v any) any {
		m, _ := v.(map[string]any)
		return m["name"]
	}
	list := slices.DeleteFunc(slices.Clone(old), func(o any) bool {
		return slices.ContainsFunc(added, func(a any) bool { return name(a) == name(o) })
	})
	return append(list, added...)
}

func (w *World) makeNamespace(ctx context.Context, name string, labels map[string]string) error {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	u.SetName(name)
	u.SetLabels(marked(labels, w.scenario.Name))
	_, err := w.client.Apply(ctx, u, owner)
	return err
}

// close takes the scenario out of the cluster, whether its context has ended or not.
func (w *World) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), teardownLimit, errors.New("the cluster was not clean after "+teardownLimit.String()))
	defer cancel()
	var errs []error
	for i := len(w.heal) - 1; i >= 0; i-- {
		errs = append(errs, w.heal[i](ctx))
	}
	if w.env.Keep {
		return errors.Join(errs...)
	}
	for _, u := range w.applied {
		_, err := w.client.Delete(ctx, u)
		errs = append(errs, err)
	}
	all, err := w.client.List(ctx, kube.Resource("v1", "Namespace"), "", scenarioLabel+"="+w.scenario.Name)
	errs = append(errs, err)
	var left []string
	for i := range all {
		name := all[i].GetName()
		if !w.mine(name) && name != w.clientNamespace() {
			continue // another run's
		}
		all[i].SetAPIVersion("v1")
		all[i].SetKind("Namespace")
		errs = append(errs, w.client.Kill(ctx, name, "", ""))
		_, err := w.client.Delete(ctx, &all[i])
		errs = append(errs, err)
		left = append(left, name)
	}
	for _, name := range left {
		errs = append(errs, w.until(ctx, func() (string, error) {
			u, err := w.client.Get(ctx, kube.Resource("v1", "Namespace"), "", name)
			if u == nil {
				return "", err
			}
			return "namespace " + name + " is being removed", err
		}))
	}
	return errors.Join(errs...)
}

// Now implements run.World.
func (w *World) Now() time.Time { return time.Now() }

// Sleep implements run.World.
func (w *World) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Log implements run.World.
func (w *World) Log() []run.Seen { return w.log.all() }

// Events implements run.World.
func (w *World) Events() []run.Event { return w.log.allEvents() }

// Digest implements run.World: real clusters are not deterministic.
func (w *World) Digest() string { return "" }

// refused tells whether the API server, or a webhook that it asked, found an object wrong.
func refused(err error) (string, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return "", false
	}
	s := status.Status()
	switch {
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return s.Message, true
	case apierrors.IsForbidden(err):
		return s.Message, webhook(s.Message)
	}
	return s.Message, webhook(s.Message)
}
