package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/analyze"
	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/meshd"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
	"github.com/windtunnel-mesh/windtunnel/sim/world"
)

func newAnalyzeCommand(s Streams) *cobra.Command {
	var output string
	var info bool
	c := &cobra.Command{
		Use:   "analyze PATH…",
		Short: "Tell everything that is wrong with a configuration",
		Long: "Read manifests and scenario files, folders or stdin (-) and tell all that is wrong with them, at once: what cannot be read, references\n" +
			"that lead nowhere, conflicts, rules that no request gets to, settings without effect. All manifests are one configuration; each\n" +
			"scenario is one of its own, looked at again after every step that applies something. Manifests that a scenario names are looked at with it.\n\n" +
			"Exit codes: 0 no errors, 1 errors, 2 something cannot be read, 5 there is nothing to look at.",
		Example: "  windtunnel analyze bookinfo/manifests/bookinfo.yaml bookinfo/manifests/destination-rule-all.yaml\n  windtunnel analyze scenarios/bookinfo -o sarif",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !slices.Contains([]string{"table", "json", "sarif"}, output) {
				return &exit{codeUsage, fmt.Errorf("-o %s: expected table, json or sarif", output)}
			}
			findings, err := analyzePaths(s.In, args)
			if err != nil {
				return err
			}
			if !info {
				findings = slices.DeleteFunc(findings, func(f analyze.Finding) bool { return f.Severity == config.Info })
			}
			return tell(s, output, findings)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "`format` of stdout: table, json or sarif")
	c.Flags().BoolVar(&info, "info", false, "tell what is not wrong, but worth knowing, too")
	return c
}

// tell prints the findings and turns errors into the exit code.
func tell(s Streams, output string, findings []analyze.Finding) error {
	var err error
	switch output {
	case "json":
		err = analyze.JSON(s.Out, findings)
	case "sarif":
		err = analyze.SARIF(s.Out, findings, version())
	default:
		err = analyze.Text(s.Out, findings)
	}
	switch {
	case err != nil:
		return &exit{codeEnvironment, err}
	case slices.ContainsFunc(findings, func(f analyze.Finding) bool { return f.Severity == config.Error }):
		return &exit{code: codeFailed}
	}
	return nil
}

// analyzePaths looks at everything below paths.
func analyzePaths(in io.Reader, paths []string) ([]analyze.Finding, error) {
	var docs []spec.Document
	for _, path := range paths {
		found, err := manifests(in, path)
		if err != nil {
			return nil, &exit{codeUsage, err}
		}
		docs = append(docs, found...)
	}
	scenarios, files, findings := scenariosIn(docs)
	used := map[string]bool{}
	for _, s := range scenarios {
		findings = append(findings, analyzeScenario(s, used)...)
	}
	docs = slices.DeleteFunc(docs, func(d spec.Document) bool { return slices.Contains(files, d.File) || used[d.File] })
	objects, found := decoded(docs)
	if len(objects) == 0 && len(scenarios) == 0 && len(findings)+len(found) == 0 {
		return nil, &exit{codeNothing, errors.New("there is nothing to look at: no objects and no scenarios")}
	}
	findings = append(findings, found...)
	if len(objects) > 0 {
		findings = append(findings, analyzeObjects(objects, nil)...)
	}
	return analyze.Sorted(findings), nil
}

// scenariosIn reads the files that have scenarios; files are their names.
func scenariosIn(docs []spec.Document) (scenarios []*spec.Scenario, files []string, findings []config.Diagnostic) {
	for _, d := range docs {
		if hasScenario(d.Text) {
			files = append(files, d.File)
		}
	}
	if len(files) == 0 {
		return nil, nil, nil
	}
	scenarios, problems := run.Read(files)
	for _, p := range problems {
		findings = append(findings, config.Diagnostic{Severity: config.Error, Code: analyze.CodeScenario, Message: p.Message, Excerpt: p.Source,
			Position: config.Position{File: p.Position.File, Line: p.Position.Line, Col: p.Position.Col}})
	}
	return scenarios, files, findings
}

// stage is a scenario's configuration at one time.
type stage struct {
	objects  []*config.Object
	findings []config.Diagnostic
}

// analyzeScenario looks at a scenario's configuration as it is at the start, and after
// each step that applies something that is not meant to be rejected. Of each object the
// last word counts: what it names may come with a later step.
func analyzeScenario(s *spec.Scenario, used map[string]bool) []config.Diagnostic {
	findings := slices.Concat(world.CheckMesh(s), world.CheckQueries(s), world.Check(s, s.Resources))
	mesh, _ := world.MeshConfig(s) // what is wrong with it CheckMesh has told
	objects, _ := decoded(s.Resources)
	objects = append(world.Given(s), objects...)
	for _, d := range s.Resources {
		used[d.File] = true
	}
	stages := []stage{{objects, analyzeObjects(objects, mesh)}}
	for i := range s.Steps {
		step := &s.Steps[i]
		switch {
		case step.Apply != nil:
			for _, d := range step.Apply.Documents {
				used[d.File] = true
			}
			if run.ExpectsRejection(step) {
				continue
			}
			findings = append(findings, world.Check(s, step.Apply.Documents)...)
			more, _ := decoded(step.Apply.Documents)
			objects = replaced(objects, more)
		case step.Delete != nil:
			// What a deletion leaves behind is what the scenario is about.
			more, _ := decoded(step.Delete.Documents)
			objects = deleted(objects, step.Delete.Refs, more)
			continue
		default:
			continue
		}
		stages = append(stages, stage{objects, analyzeObjects(objects, mesh)})
	}
	return append(findings, lastWords(stages)...)
}

// lastWords are the findings about each object in the last stage that has it.
func lastWords(stages []stage) []config.Diagnostic {
	type place struct {
		key config.Key
		at  config.Position
	}
	var findings []config.Diagnostic
	later := map[place]bool{}
	for _, s := range slices.Backward(stages) {
		starts := map[config.Key]config.Position{}
		for _, o := range s.objects {
			starts[o.Key()] = o.Position()
		}
		for _, d := range s.findings {
			if !later[place{d.Object, starts[d.Object]}] {
				findings = append(findings, d)
			}
		}
		for key, at := range starts {
			later[place{key, at}] = true
		}
	}
	return findings
}

var scenarioKind = regexp.MustCompile(`(?m)^kind: *["']?` + spec.Kind + `\b`)

// hasScenario reports whether a file has scenarios.
func hasScenario(text []byte) bool {
	return scenarioKind.Match(text) && bytes.Contains(text, []byte(spec.APIVersion))
}

// decoded are the objects of documents; of those with one key the last. found is what
// decoding and the doubles give.
func decoded(docs []spec.Document) (objects []*config.Object, found []config.Diagnostic) {
	for _, d := range docs {
		list, ds := config.Decode(d.File, d.Line, d.Text)
		found = append(found, ds...)
		for _, o := range list {
			if i := slices.IndexFunc(objects, func(other *config.Object) bool { return other.Key() == o.Key() }); i >= 0 {
				found = append(found, o.Diagnose(config.Warning, config.CodeDuplicate, "kind",
					fmt.Sprintf("%s stands twice; this one replaces the one at %s", o.Key(), objects[i].Position()), ""))
			}
			objects = replaced(objects, []*config.Object{o})
		}
	}
	return objects, found
}

// replaced is objects with more of them, which replace those of the same keys.
func replaced(objects, more []*config.Object) []*config.Object {
	objects = slices.DeleteFunc(slices.Clone(objects), func(o *config.Object) bool {
		return slices.ContainsFunc(more, func(m *config.Object) bool { return m.Key() == o.Key() })
	})
	return append(objects, more...)
}

func deleted(objects []*config.Object, refs []spec.Ref, these []*config.Object) []*config.Object {
	return slices.DeleteFunc(slices.Clone(objects), func(o *config.Object) bool {
		named := slices.ContainsFunc(refs, func(r spec.Ref) bool {
			return r.Kind == o.Kind && r.Name == o.Name && (r.Namespace == o.Namespace || r.Namespace == "" && (o.Namespace == "default" || o.Namespace == ""))
		})
		return named || slices.ContainsFunc(these, func(t *config.Object) bool { return t.Key() == o.Key() })
	})
}

// analyzeObjects lets a cluster make Pods of the objects and looks at all of them. What
// the cluster cannot do is told, and the object counts as it is written.
func analyzeObjects(objects []*config.Object, mesh *meshpb.MeshConfig) []config.Diagnostic {
	in := analyze.Input{MeshConfig: mesh, Written: objects}
	var left []*config.Object
	for rest := objects; in.View == nil; {
		offline, _, err := world.NewOfflineOf(rest, mesh)
		if err == nil {
			in.View, in.MeshConfig = store.NewView(append(offline.View().All(), left...)...), offline.MeshConfig()
			continue
		}
		problems, at := cannot(rest, err)
		in.Found = append(in.Found, problems...)
		if at < 0 {
			in.View = store.NewView(objects...)
			continue
		}
		left = append(left, rest[at])
		rest = slices.Delete(slices.Clone(rest), at, at+1)
	}
	built, found := meshd.Build(in.View, build.Options{MeshConfig: in.MeshConfig})
	in.Mesh, in.Found = built, append(in.Found, found...)
	var operator *config.Object
	if mesh == nil { // a scenario's own mesh configuration has a place
		operator = config.MeshOperator(objects)
	}
	var list []config.Diagnostic
	for _, f := range analyze.Analyze(in) {
		if mesh == nil || f.Position.File != "" {
			list = append(list, operator.PlaceMesh(f.Diagnostic))
		}
	}
	return list
}

// cannot tells what the cluster could not do, and which object that was about; -1: none.
func cannot(objects []*config.Object, err error) ([]config.Diagnostic, int) {
	for i, o := range objects {
		if !strings.Contains(err.Error(), o.Key().String()+":") {
			continue
		}
		var problems inject.Problems
		if errors.As(err, &problems) {
			_, path := inject.PodOf(o)
			return problems.Place(o, path), i
		}
		return []config.Diagnostic{o.Diagnose(config.Error, analyze.CodeCannotBeInstalled, "metadata", err.Error(), "")}, i
	}
	return []config.Diagnostic{{Severity: config.Error, Code: analyze.CodeCannotBeInstalled, Message: err.Error(), Object: config.Key{Kind: "MeshConfig"}}}, -1
}
