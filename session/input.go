package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// Source is what a session is made of: files and folders, of manifests and of scenarios.
type Source struct {
	Paths []string // "-" is stdin
	In    io.Reader
	// Name chooses the scenario, where the files have several; nil: any.
	Name *regexp.Regexp

	stdin []byte // read once
}

// input is what the files say at one time.
type input struct {
	scenario *spec.Scenario // what the world is made for; its steps are those that were written
	written  bool           // somebody wrote it; else it is made of manifests
	files    []*file        // in order
	stamps   string         // of all files, to tell whether one has changed
}

// file is one file's documents.
type file struct {
	path      string
	documents []spec.Document
}

// text tells whether two versions of a file say the same, and in the same lines.
func (f *file) text() string {
	var b strings.Builder
	for _, d := range f.documents {
		fmt.Fprintf(&b, "%d\n%s\n", d.Line, d.Text)
	}
	return b.String()
}

// objects decodes the file.
func (f *file) objects() ([]*config.Object, []config.Diagnostic) {
	var all []*config.Object
	var found []config.Diagnostic
	for _, d := range f.documents {
		objects, ds := config.Decode(d.File, d.Line, d.Text)
		all, found = append(all, objects...), append(found, ds...)
	}
	return all, found
}

// ProblemsError is what is wrong with the files themselves.
type ProblemsError struct{ Problems []spec.Problem }

func (e *ProblemsError) Error() string {
	if len(e.Problems) == 1 {
		return "1 problem in the files"
	}
	return fmt.Sprintf("%d problems in the files", len(e.Problems))
}

// scenarioLine tells a file with scenarios from one of manifests.
var scenarioLine = regexp.MustCompile(`(?m)^kind:[ \t]*["']?` + spec.Kind + `\b`)

// read reads everything. The error is a *ProblemsError where files cannot be taken for
// what they should be.
func (s *Source) read() (*input, error) {
	if len(s.Paths) == 0 {
		return nil, errors.New("no manifests and no scenario: -f FILE is needed")
	}
	paths, err := s.list()
	if err != nil {
		return nil, err
	}
	in := &input{}
	var scenarios []string
	var problems []spec.Problem
	for _, path := range paths {
		data, err := s.data(path)
		if err != nil {
			return nil, err
		}
		if path != "-" && scenarioLine.Match(data) {
			scenarios = append(scenarios, path)
			continue
		}
		name := path
		if path == "-" {
			name = "stdin"
		}
		in.files = append(in.files, &file{name, []spec.Document{{File: name, Line: 1, Text: data}}})
	}
	if len(scenarios) > 0 {
		if problems, err = s.choose(in, scenarios); err != nil {
			return nil, err
		}
		if len(problems) > 0 {
			return nil, &ProblemsError{problems}
		}
	}
	if in.scenario == nil {
		in.scenario = &spec.Scenario{Name: "up", Position: spec.Position{File: paths[0], Line: 1, Col: 1}}
		in.operator()
	}
	if in.stamps, err = s.stamps(in); err != nil {
		return nil, err
	}
	return in, nil
}

// list are the files of all paths, those of folders sorted.
func (s *Source) list() ([]string, error) {
	var all []string
	for _, path := range s.Paths {
		if path == "-" {
			all = append(all, path)
			continue
		}
		count := len(all)
		err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if name != path && strings.HasPrefix(e.Name(), ".") {
				if e.IsDir() {
					return fs.SkipDir
				}
				return nil // an editor's
			}
			extension := filepath.Ext(name)
			if !e.IsDir() && (name == path || extension == ".yaml" || extension == ".yml") && !slices.Contains(all, name) {
				all = append(all, name)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(all) == count {
			return nil, fmt.Errorf("%s has no YAML files", path)
		}
	}
	return all, nil
}

func (s *Source) data(path string) ([]byte, error) {
	if path != "-" {
		return os.ReadFile(path)
	}
	if s.stdin == nil {
		text, err := io.ReadAll(s.In)
		if err != nil {
			return nil, err
		}
		s.stdin = append([]byte{}, text...)
	}
	return s.stdin, nil
}

// choose reads the scenario among the files; what it applies at its start comes before
// the manifests that stand beside it.
func (s *Source) choose(in *input, paths []string) ([]spec.Problem, error) {
	all, problems := run.Read(paths)
	if len(problems) > 0 {
		return problems, nil
	}
	chosen := slices.DeleteFunc(all, func(c *spec.Scenario) bool { return s.Name != nil && !s.Name.MatchString(c.Name) })
	var names []string
	for _, c := range chosen {
		names = append(names, c.Name)
	}
	switch {
	case len(chosen) == 0:
		return nil, fmt.Errorf("no scenario in %s has a name that matches --run", strings.Join(paths, ", "))
	case len(chosen) > 1:
		return nil, fmt.Errorf("there are %d scenarios, and only one can be up: choose one with --run (%s)", len(chosen), strings.Join(names, ", "))
	}
	in.scenario, in.written = chosen[0], true
	var files []*file
	for _, d := range in.scenario.Resources {
		i := slices.IndexFunc(files, func(f *file) bool { return f.path == d.File })
		if i < 0 {
			files, i = append(files, &file{path: d.File}), len(files)
		}
		files[i].documents = append(files[i].documents, d)
	}
	in.files = append(files, in.files...)
	return nil, nil
}

// operator takes the mesh configuration of the last IstioOperator among the manifests.
func (in *input) operator() {
	for _, f := range in.files {
		objects, _ := f.objects() // what is wrong is told when it is applied
		for _, o := range objects {
			if o.Kind != "IstioOperator" {
				continue
			}
			var text struct {
				Spec struct {
					MeshConfig map[string]any `yaml:"meshConfig"`
				} `yaml:"spec"`
			}
			if yaml.Unmarshal(o.Raw, &text) == nil {
				p := o.At("spec.meshConfig")
				in.scenario.Mesh = text.Spec.MeshConfig
				in.scenario.MeshPosition = spec.Position{File: p.File, Line: p.Line, Col: p.Col}
			}
		}
	}
}

// stamps are the sizes and times of all files that were read, and of those that would
// be: it changes when any of them does.
func (s *Source) stamps(in *input) (string, error) {
	paths, err := s.list()
	if err != nil {
		return "", err
	}
	for _, f := range in.files {
		if f.path != "stdin" && !slices.Contains(paths, f.path) {
			paths = append(paths, f.path)
		}
	}
	var b bytes.Buffer
	for _, path := range paths {
		if path == "-" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintf(&b, "%s is not there\n", path)
			continue
		}
		fmt.Fprintf(&b, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
	}
	return b.String(), nil
}
