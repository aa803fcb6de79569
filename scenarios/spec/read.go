package spec

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/windtunnel-mesh/windtunnel/source"
)

// Options are what reading needs beside the files.
type Options struct {
	// Check is asked about every expectation with what is in scope there; its
	// problems join the others. nil: expressions are not looked at.
	Check func(Expression, Scope) []Problem
	// Reserved are names that `as` may not take, because expressions use them.
	Reserved []string
}

// Scope is what an expression can see.
type Scope struct {
	Operation string            // of its own step; "" where there is no result
	Kept      map[string]string // earlier results: name to operation
}

// Read reads files and folders (recursively, *.yaml and *.yml). In a folder only
// files that hold a scenario count. It returns what could be read, in the order of
// the paths and sorted within folders, and everything that is wrong.
func Read(paths []string, o Options) ([]*Scenario, []Problem) {
	var all []*Scenario
	var problems []Problem
	seen := map[string]bool{}
	for _, path := range paths {
		files, folder, err := find(path)
		if err != nil {
			problems = append(problems, Problem{Position: Position{File: path, Line: 1, Col: 1}, Message: err.Error()})
		}
		for _, file := range files {
			if seen[file] {
				continue
			}
			seen[file] = true
			data, err := source.Read(file)
			if err != nil {
				problems = append(problems, Problem{Position: Position{File: file, Line: 1, Col: 1}, Message: "cannot be read: " + reason(err)})
				continue
			}
			if folder && !looksLikeScenario(data) {
				continue
			}
			scenarios, found := Parse(file, data, o)
			if folder && len(found) == 1 && found[0].Message == noScenario {
				continue // it only looked like one, in a text that it holds
			}
			all, problems = append(all, scenarios...), append(problems, found...)
		}
	}
	return all, append(problems, twice(all)...)
}

// find lists the YAML files of a path, sorted.
func find(path string) (files []string, folder bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, fmt.Errorf("cannot be read: %s", reason(err))
	}
	if !info.IsDir() {
		return []string{filepath.Clean(path)}, false, nil
	}
	err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ext := filepath.Ext(p); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, p)
		}
		return nil
	})
	slices.Sort(files)
	return files, true, err
}

// reason is an error's cause without the path, which the position has.
func reason(err error) string {
	if p, ok := err.(*fs.PathError); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// twice finds names that several scenarios have.
func twice(all []*Scenario) []Problem {
	var problems []Problem
	first := map[string]Position{}
	for _, s := range all {
		if at, ok := first[s.Name]; ok && s.Name != "" {
			problems = append(problems, Problem{Position: s.Position,
				Message: fmt.Sprintf("scenario %q is there twice, first at %s; names are unique", s.Name, at)})
			continue
		}
		first[s.Name] = s.Position
	}
	return problems
}

// kindLine finds what may be a scenario without parsing: JSON and flow style included.
var kindLine = regexp.MustCompile(`(?m)(^|[{,])[ \t]*["']?kind["']?[ \t]*:[ \t]*["']?` + Kind + `\b`)

func looksLikeScenario(data []byte) bool { return kindLine.Match(data) }

// decoder reads the documents of one file and collects what is wrong with it.
type decoder struct {
	file     string
	dir      string
	lines    []string // the file's
	first    int      // the line at which the current document begins
	problems []Problem
}

func (d *decoder) at(n *yaml.Node) Position {
	return Position{File: d.file, Line: d.first + max(n.Line, 1) - 1, Col: max(n.Column, 1)}
}

func (d *decoder) problem(n *yaml.Node, format string, args ...any) {
	d.report(d.at(n), fmt.Sprintf(format, args...))
}

func (d *decoder) report(p Position, message string) {
	source := ""
	if p.Line >= 1 && p.Line <= len(d.lines) {
		source = d.lines[p.Line-1]
	}
	d.problems = append(d.problems, Problem{Position: p, Message: message, Source: source})
}

// Parse reads one scenario file. Relative paths in it are relative to its folder.
func Parse(path string, data []byte, o Options) ([]*Scenario, []Problem) {
	d := &decoder{file: path, dir: filepath.Dir(path), lines: sourceLines(data)}
	var scenarios []*Scenario
	var stream []Document
	parsed := true
	for _, doc := range split(path, data) {
		root := d.parses(doc)
		if root == nil {
			parsed = false
			continue
		}
		if !isScenario(root) {
			stream = append(stream, doc)
			continue
		}
		d.first = doc.Line
		s := &Scenario{Position: d.at(root), Dir: d.dir}
		f := file{scenario: s}
		fileFormat().decode(d, root, &f)
		o.order(d, s)
		scenarios = append(scenarios, s)
	}
	if len(scenarios) == 0 && parsed {
		d.report(Position{File: path, Line: 1, Col: 1}, noScenario)
	}
	for _, s := range scenarios {
		s.Resources = append(s.Resources, stream...)
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return (a.Position.Line-b.Position.Line)*1000 + min(a.Position.Col, 999) - min(b.Position.Col, 999)
	})
	return scenarios, d.problems
}

func sourceLines(data []byte) []string {
	lines := strings.Split(strings.ReplaceAll(string(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))), "\r\n", "\n"), "\n")
	return lines
}

// parses reads a document's tree; where it is no YAML that is a problem and nil.
func (d *decoder) parses(doc Document) *yaml.Node {
	var root yaml.Node
	err := yaml.Unmarshal(doc.Text, &root)
	if err == nil && len(root.Content) == 1 {
		return root.Content[0]
	}
	if err == nil {
		d.report(Position{File: doc.File, Line: doc.Line, Col: 1}, "the document is empty")
		return nil
	}
	m := source.Syntax(sourceLines(doc.Text), err)
	message := "not YAML: " + m.Text
	if m.Hint != "" {
		message += "; " + m.Hint
	}
	d.report(Position{File: doc.File, Line: doc.Line + m.Line - 1, Col: max(m.Col, 1)}, message)
	return nil
}

const noScenario = "no scenario here: expected a document with `kind: " + Kind + "`"

func isScenario(root *yaml.Node) bool {
	if root.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "kind" {
			return resolve(root.Content[i+1]).Value == Kind
		}
	}
	return false
}

// order checks what depends on earlier steps: kept names, finishes, expressions.
func (o Options) order(d *decoder, s *Scenario) {
	kept := map[string]string{}
	running := map[string]Position{}
	used := map[string]bool{}
	var background []string
	for i := range s.Steps {
		st := &s.Steps[i]
		if st.Operation == "finish" && st.Finish != "" {
			if _, ok := running[st.Finish]; !ok {
				d.report(st.Position, fmt.Sprintf("finish: no background load %q is running here%s", st.Finish, Suggest(st.Finish, background)))
			}
			delete(running, st.Finish)
		}
		o.expressions(d, st, kept)
		if st.Operation == "finish" && st.Finish != "" {
			kept[st.Finish] = "finish"
		}
		if st.As == "" {
			continue
		}
		switch {
		case used[st.As]:
			d.report(st.Position, fmt.Sprintf("as: an earlier step keeps its result as %q already", st.As))
		case slices.Contains(o.Reserved, st.As):
			d.report(st.Position, fmt.Sprintf("as: %q has a meaning in expressions; take another name", st.As))
		}
		used[st.As] = true
		if st.Load != nil && st.Load.Background {
			running[st.As] = st.Position
			background = append(background, st.As)
		} else {
			kept[st.As] = st.Operation
		}
	}
	for _, name := range background {
		if p, ok := running[name]; ok {
			d.report(p, fmt.Sprintf("background load %q is never finished: add a step `finish: %s`", name, name))
		}
	}
}

// expressions asks the checker about a step's expectations.
func (o Options) expressions(d *decoder, st *Step, kept map[string]string) {
	if o.Check == nil {
		return
	}
	for _, e := range st.Expect {
		if e.Text == "" {
			continue
		}
		for _, p := range o.Check(e, Scope{Operation: st.Operation, Kept: kept}) {
			d.report(p.Position, p.Message)
		}
	}
}
