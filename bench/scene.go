package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

// scene is a cell's world before it runs, and what is called in it.
type scene struct {
	scenario *spec.Scenario
	before   []spec.Step // what changes the world before the load
	from     string
	options  load.Options // without a way to dial, a rate or a length
}

// gateway is whom a load from outside calls first.
const gateway = "istio-ingressgateway"

// scene reads a cell's manifest, as every scenario file is read, or the scenario that is
// its topology.
func (p Plan) scene(c cell) (*scene, error) {
	var s *scene
	var err error
	if c.topology.Kind == Scenario {
		s, err = c.topology.scene()
	} else {
		s, err = p.generate(c)
	}
	if err != nil {
		return nil, err
	}
	s.options.Connections = c.connections
	if c.accessLog {
		mesh := maps.Clone(s.scenario.Mesh)
		if mesh == nil {
			mesh = map[string]any{}
		}
		mesh["accessLogFile"] = "/dev/stdout"
		s.scenario.Mesh = mesh
	}
	if c.noStats {
		s.scenario.Resources = append(slices.Clone(s.scenario.Resources), spec.Document{File: "bench", Line: 1, Text: []byte(withoutStats)})
	}
	if c.topology.generated() {
		return s, nil
	}
	return s, s.place(c.proxies)
}

// withoutStats takes Istio's metrics out of all proxies.
const withoutStats = `apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: without-stats, namespace: istio-system}
spec:
  metrics: [{providers: [{name: prometheus}], overrides: [{match: {metric: ALL_METRICS}, disabled: true}]}]
`

func (p Plan) generate(c cell) (*scene, error) {
	file := filepath.Join(p.Dir, "bench.yaml")
	if err := os.WriteFile(file, []byte(c.manifest()), 0o600); err != nil {
		return nil, err
	}
	scenarios, problems := run.Read([]string{file})
	if len(problems) > 0 {
		return nil, errors.New(problems[0].Detail())
	}
	s := &scene{scenario: scenarios[0], from: "client", options: load.Options{Target: c.target()}}
	s.options.Jitter, s.options.Arrival = c.request.Jitter, c.request.Arrival
	return s, nil
}

// scene is that of a scenario file: its first load step, and the steps before it that
// change the world.
func (t Topology) scene() (*scene, error) {
	all, problems := run.Read([]string{t.File})
	if len(problems) > 0 {
		return nil, errors.New(problems[0].Detail())
	}
	var names []string
	var found *spec.Scenario
	for _, s := range all {
		names = append(names, s.Name)
		if s.Name == t.Name || t.Name == "" && len(all) == 1 {
			found = s
		}
	}
	if found == nil {
		return nil, fmt.Errorf("topology %s: which scenario? %s#NAME, one of %s", t, t.File, strings.Join(names, ", "))
	}
	if e := found.Environments; len(e) > 0 && !slices.Contains(e, "loopback") {
		return nil, fmt.Errorf("topology %s: the scenario does not run on loopback", t)
	}
	s := &scene{scenario: new(*found)}
	for _, st := range found.Steps {
		switch st.Operation {
		case "load":
			o := world.LoadOptions(st.Load)
			s.from, s.options = st.Load.From, load.Options{Target: o.Target, Shape: load.Shape{Jitter: o.Jitter, Arrival: o.Arrival}}
			return s, nil
		case "apply", "delete", "scale":
			s.before = append(s.before, st)
		case "fault", "canary":
			return nil, fmt.Errorf("topology %s: a %s before the load (%s) cannot be measured", t, st.Operation, st.Position)
		}
	}
	return nil, fmt.Errorf("topology %s: the scenario has no load step, so there is nothing to call", t)
}

// place takes the sidecars away that a cell does not have: those that are left are as the
// manifests say.
func (s *scene) place(proxies string) error {
	if proxies == Both {
		return nil
	}
	if s.from == "ingress" || s.from == "outside" {
		if proxies == Client {
			return fmt.Errorf("a load from %s has no sidecar of a client", s.from)
		}
	}
	keep := func(name string) bool {
		isClient := means(s.from, name)
		return proxies == Client && isClient || proxies == Server && !isClient
	}
	change := func(docs []spec.Document) ([]spec.Document, error) {
		changed := slices.Clone(docs)
		for i, d := range changed {
			text, err := withoutSidecar(d.Text, keep)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", d.File, d.Line, err)
			}
			changed[i].Text = text
		}
		return changed, nil
	}
	var err error
	if s.scenario.Resources, err = change(s.scenario.Resources); err != nil {
		return err
	}
	for i, st := range s.before {
		if st.Apply == nil {
			continue
		}
		docs, err := change(st.Apply.Documents)
		if err != nil {
			return err
		}
		s.before[i].Apply = &spec.Apply{Documents: docs}
	}
	return nil
}

// means tells whether a load's from is a workload of this name.
func means(from, name string) bool { return from[strings.LastIndexByte(from, '/')+1:] == name }

// withoutSidecar labels the Pods of a document, but of those that are kept.
func withoutSidecar(text []byte, keep func(name string) bool) ([]byte, error) {
	var object map[string]any
	if err := yaml.Unmarshal(text, &object); err != nil {
		return nil, err
	}
	metadata, _ := object["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	pod := object
	switch object["kind"] {
	case "Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "Job":
		of, _ := object["spec"].(map[string]any)
		pod, _ = of["template"].(map[string]any)
	case "Pod":
	default:
		return text, nil
	}
	if pod == nil || keep(name) {
		return text, nil
	}
	metadata, _ = pod["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		pod["metadata"] = metadata
	}
	labels, _ := metadata["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
		metadata["labels"] = labels
	}
	labels["sidecar.istio.io/inject"] = "false"
	var out bytes.Buffer
	err := yaml.NewEncoder(&out).Encode(object)
	return out.Bytes(), err
}

// build applies what the world consists of.
func (s *scene) build(ctx context.Context, w *world.World) error {
	apply := func(docs []spec.Document) error {
		applied, err := w.Apply(ctx, docs)
		if err == nil && len(applied.Rejected) > 0 {
			err = errors.New(applied.Rejected[0])
		}
		return err
	}
	if err := apply(s.scenario.Resources); err != nil {
		return err
	}
	for _, st := range s.before {
		var err error
		switch {
		case st.Apply != nil:
			err = apply(st.Apply.Documents)
		case st.Delete != nil:
			err = w.Delete(ctx, st.Delete.Refs, st.Delete.Documents)
		case st.Scale != nil:
			err = w.Scale(ctx, st.Scale.Workload, st.Scale.Replicas)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", st.Position, err)
		}
	}
	return nil
}
