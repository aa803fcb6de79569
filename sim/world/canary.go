package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/canary"
)

var _ run.Releaser = (*World)(nil)

// enter waits until nobody else looks at the cluster or changes it. It is a channel,
// because time goes on while one waits for it, which a mutex would not let it.
func (w *World) enter(ctx context.Context) (leave func(), err error) {
	select {
	case w.gate <- struct{}{}:
		return func() { <-w.gate }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// canaryGroup is where the API versions of Flagger's kinds begin.
const canaryGroup = "flagger.app/"

// releases tells whether any document may be a Canary.
func releases(s *spec.Scenario) bool {
	mentions := func(d spec.Document) bool { return bytes.Contains(d.Text, []byte(canaryGroup)) }
	return slices.ContainsFunc(s.Resources, mentions) || slices.ContainsFunc(s.Steps, func(st spec.Step) bool {
		return st.Apply != nil && slices.ContainsFunc(st.Apply.Documents, mentions)
	})
}

// managed is the world as the canary controller sees it.
type managed struct{ w *World }

// Enter implements canary.Cluster.
func (m managed) Enter(ctx context.Context) (func(), error) { return m.w.enter(ctx) }

// Object implements canary.Cluster.
func (m managed) Object(k config.Key) *config.Object { return m.w.cluster.Object(k) }

// Apply implements canary.Cluster.
func (m managed) Apply(ctx context.Context, objects []*config.Object) error {
	if err := m.w.cluster.Apply(ctx, objects); err != nil {
		return err
	}
	return m.w.settle(ctx)
}

// Scale implements canary.Cluster.
func (m managed) Scale(ctx context.Context, k config.Key, replicas int) error {
	if err := m.w.cluster.Scale(ctx, k, replicas); err != nil {
		return err
	}
	return m.w.settle(ctx)
}

// Query implements canary.Cluster.
func (m managed) Query(ctx context.Context, promQL string) ([]float64, error) {
	samples, err := m.w.Query(ctx, promQL)
	if err != nil {
		return nil, err
	}
	var values []float64
	for _, s := range samples {
		values = append(values, s.Value)
	}
	return values, nil
}

// updateCanaries tells the controller which Canaries there are, and returns what is left of others.
func (w *World) updateCanaries() []config.Key {
	var canaries []*config.Object
	for _, k := range w.cluster.Keys() {
		if o := w.cluster.Object(k); o.Kind == "Canary" {
			canaries = append(canaries, o)
		}
	}
	return w.release.Update(canaries)
}

// collect removes what belonged to a Canary that is gone, as Kubernetes' garbage
// collector does with what has an owner.
func (w *World) collect(ctx context.Context, orphans []config.Key) error {
	orphans = slices.DeleteFunc(orphans, func(k config.Key) bool { return w.cluster.Object(k) == nil })
	if len(orphans) == 0 {
		return nil
	}
	return w.cluster.Delete(ctx, orphans)
}

// checkCanaries asks the control plane about the routes that Canaries are made into.
func (w *World) checkCanaries(objects []*config.Object) []config.Diagnostic {
	var findings []config.Diagnostic
	for _, o := range objects {
		if o.Kind != "Canary" {
			continue
		}
		routes, err := canary.Routes(o)
		if err != nil {
			findings = append(findings, o.Diagnose(config.Error, config.CodeFormat, "spec.service", err.Error(), ""))
			continue
		}
		var found []config.Diagnostic
		for _, r := range routes {
			found = append(found, asWritten(r)...)
		}
		for _, f := range append(found, w.meshd.Check(w.store.View(), routes)...) {
			if f.Severity == config.Error {
				findings = append(findings, o.Diagnose(config.Error, f.Code, "spec.service", "the "+f.Object.Kind+" that it is made into: "+f.Message, f.Hint))
			}
		}
	}
	return findings
}

// asWritten is what decoding would find if the object were a document.
func asWritten(o *config.Object) []config.Diagnostic {
	text, err := yaml.Marshal(o.Value)
	if err != nil { // it was decoded before
		panic(err)
	}
	head := fmt.Sprintf("apiVersion: %s/%s\nkind: %s\n", o.Group, o.Version, o.Kind)
	_, findings := config.Decode("", 1, append([]byte(head), text...))
	return findings
}

// look is how often a step looks at a Canary that it waits for.
const look = time.Second

// Release implements run.Releaser.
func (w *World) Release(ctx context.Context, c *spec.Canary) (run.Release, error) {
	deadline := time.Now().Add(c.Timeout)
	for {
		state, err := w.canaryState(ctx, c)
		if err != nil {
			return run.Release{}, err
		}
		if state.Phase == canary.Phase(c.Until) && !state.Pending || ended(state) || !time.Now().Before(deadline) {
			found := run.Release{Phase: string(state.Phase), Weights: state.Weights, FailedChecks: state.FailedChecks, Message: state.Message}
			if !state.Detected.IsZero() {
				found.Seconds = state.Changed.Sub(state.Detected).Seconds()
			}
			return found, nil
		}
		if err := w.Sleep(ctx, min(look, time.Until(deadline))); err != nil {
			return run.Release{}, err
		}
	}
}

// ended tells whether a release comes to nothing else.
func ended(s canary.State) bool {
	return !s.Pending && (s.Phase == canary.Succeeded || s.Phase == canary.Failed)
}

func (w *World) canaryState(ctx context.Context, c *spec.Canary) (canary.State, error) {
	leave, err := w.enter(ctx)
	if err != nil {
		return canary.State{}, err
	}
	defer leave()
	namespace, name, found := strings.Cut(c.Name, "/")
	if !found {
		namespace, name = "default", c.Name
	}
	state, found := w.release.State(config.Key{Group: strings.TrimSuffix(canaryGroup, "/"), Kind: "Canary", Namespace: namespace, Name: name})
	if !found {
		return canary.State{}, errors.New(w.noCanary(c.Name))
	}
	return state, nil
}

func (w *World) noCanary(name string) string {
	var names []string
	for _, k := range w.cluster.Keys() {
		if k.Kind == "Canary" {
			names = append(names, k.Namespace+"/"+k.Name)
		}
	}
	return fmt.Sprintf("there is no Canary %q; there are: %s", name, strings.Join(names, ", "))
}
