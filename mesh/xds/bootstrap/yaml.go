package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is a YAML (or JSON) document as JSON with one field or element to a
// line, and where in the original each line came from.
type document struct {
	file  string
	text  strings.Builder
	lines []origin // by line of text, from 0; their paths have protojson's names
	nodes int
	open  map[*yaml.Node]bool // aliased nodes that are being written
}

// origin is a place in the original document.
type origin struct {
	line, col int
	path      string
}

// Bounds of a document: aliases can make a small one huge.
const (
	maxDepth = 100
	maxNodes = 1 << 18
)

func parseYAML(file string, data []byte) (*document, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	d := &document{file: file, open: map[*yaml.Node]bool{}}
	node := &root
	if root.Kind == yaml.DocumentNode {
		node = root.Content[0]
	}
	if node.Kind == 0 { // an empty file
		node = &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	}
	if node.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d:%d: a bootstrap is a mapping", file, node.Line, node.Column)
	}
	if err := d.write(node, "", 0); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *document) errorAt(n *yaml.Node, path, format string, args ...any) error {
	return located(d.file, origin{n.Line, n.Column, path}, fmt.Sprintf(format, args...))
}

// located writes a problem with its place.
func located(file string, o origin, text string) error {
	where := file
	if o.line > 0 {
		where = fmt.Sprintf("%s:%d:%d", file, o.line, o.col)
	}
	if o.path != "" {
		text = o.path + ": " + text
	}
	return errors.New(where + ": " + text)
}

// newline begins a line of JSON that stands for a node.
func (d *document) newline(n *yaml.Node, path string) {
	d.text.WriteByte('\n')
	d.lines = append(d.lines, origin{n.Line, n.Column, path})
}

func (d *document) write(n *yaml.Node, path string, depth int) error {
	if d.nodes++; d.nodes > maxNodes || depth > maxDepth {
		return d.errorAt(n, path, "the document is too large")
	}
	switch n.Kind {
	case yaml.AliasNode:
		if d.open[n.Alias] {
			return d.errorAt(n, path, "the anchor %q contains itself", n.Value)
		}
		d.open[n.Alias] = true
		defer delete(d.open, n.Alias)
		return d.write(n.Alias, path, depth+1)
	case yaml.MappingNode:
		return d.writeMapping(n, path, depth)
	case yaml.SequenceNode:
		d.text.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				d.text.WriteByte(',')
			}
			here := path + "[" + strconv.Itoa(i) + "]"
			d.newline(item, here)
			if err := d.write(item, here, depth+1); err != nil {
				return err
			}
		}
		d.text.WriteByte(']')
		return nil
	case yaml.ScalarNode:
		return d.writeScalar(n, path)
	default:
		return d.errorAt(n, path, "cannot be read")
	}
}

func (d *document) writeMapping(n *yaml.Node, path string, depth int) error {
	d.text.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return d.errorAt(key, path, "a key has to be a string")
		}
		if key.Tag == "!!merge" {
			return d.errorAt(key, path, "merge keys (<<) are not supported")
		}
		if i > 0 {
			d.text.WriteByte(',')
		}
		here := join(path, key.Value)
		d.newline(key, here)
		quoted, err := json.Marshal(key.Value)
		if err != nil {
			return d.errorAt(key, path, "%v", err)
		}
		d.text.Write(quoted)
		d.text.WriteByte(':')
		if err := d.write(value, here, depth+1); err != nil {
			return err
		}
	}
	d.text.WriteByte('}')
	return nil
}

// join appends a key to a path. Names of fields are written as protojson does;
// keys of maps ("envoy.filters.http.fault", "@type") in brackets.
func join(path, key string) string {
	if !isFieldName(key) {
		return fmt.Sprintf("%s[%q]", path, key)
	}
	if path == "" {
		return camel(key)
	}
	return path + "." + camel(key)
}

func isFieldName(s string) bool {
	for i, c := range s {
		if letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'; !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// camel converts snake_case.
func camel(s string) string {
	if strings.IndexByte(s, '_') < 0 {
		return s
	}
	var out strings.Builder
	upper := false
	for _, r := range s {
		switch {
		case r == '_':
			upper = true
		case upper && r >= 'a' && r <= 'z':
			out.WriteRune(r - 'a' + 'A')
			upper = false
		default:
			out.WriteRune(r)
			upper = false
		}
	}
	return out.String()
}

func (d *document) writeScalar(n *yaml.Node, path string) error {
	var v any
	if n.Tag == "!!str" {
		v = n.Value // as nearly all are
	} else if err := n.Decode(&v); err != nil {
		return d.errorAt(n, path, "%v", err)
	}
	switch x := v.(type) {
	case nil, bool:
	case int:
		v = json.Number(strconv.Itoa(x))
	case int64:
		v = json.Number(strconv.FormatInt(x, 10))
	case uint64:
		v = json.Number(strconv.FormatUint(x, 10))
	case float64:
		if math.IsInf(x, 0) || math.IsNaN(x) {
			return d.errorAt(n, path, "%s is no number that can be used here", n.Value)
		}
	default:
		v = n.Value // strings, and what YAML would take for a date
	}
	out, err := json.Marshal(v)
	if err != nil {
		return d.errorAt(n, path, "%v", err)
	}
	d.text.Write(out)
	return nil
}

// place finds a path, or the nearest parent of it that is in the document.
func (d *document) place(path string) (origin, bool) {
	for p := path; p != ""; p = parent(p) {
		if i := slices.IndexFunc(d.lines, func(o origin) bool { return o.path == p }); i >= 0 {
			return d.lines[i], true
		}
	}
	return origin{}, false
}

func parent(path string) string {
	if strings.HasSuffix(path, "]") {
		return path[:strings.LastIndexByte(path, '[')]
	}
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return ""
}
