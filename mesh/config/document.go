package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Limits. They are far above what people write, and keep a document whose aliases
// contain each other from growing without end.
const (
	maxDepth    = 100     // levels of one document
	maxExpanded = 1 << 17 // values that the aliases of one call expand to
)

// schemas are what one call has found out about types, and about its aliases.
type schemas struct {
	structs  map[reflect.Type][]goField
	required map[protoreflect.FullName][]protoreflect.FieldDescriptor
	sizes    map[*yaml.Node]int // of anchored values
	expanded int
}

func newSchemas() *schemas {
	return &schemas{
		structs:  make(map[reflect.Type][]goField),
		required: make(map[protoreflect.FullName][]protoreflect.FieldDescriptor),
		sizes:    make(map[*yaml.Node]int),
	}
}

// resolve returns what an alias stands for; nil where aliases have expanded too far.
func (s *schemas) resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		if n.Alias == nil {
			return nil
		}
		n = n.Alias
		size, ok := s.sizes[n]
		if !ok {
			size = count(n)
			s.sizes[n] = size
		}
		if s.expanded += size; s.expanded > maxExpanded {
			return nil
		}
	}
	return n
}

// count is the number of values in a value, each alias counting as one.
func count(n *yaml.Node) int {
	sum := 1
	for _, c := range n.Content {
		sum += count(c)
	}
	return sum
}

// document is the work on one object of a stream.
type document struct {
	*schemas
	file  string
	chunk chunk
	key   Key
	at    map[string]Position
	diags []Diagnostic
	depth int
	spent bool // the limits were reached and reported
}

func (d *document) position(n *yaml.Node) Position {
	return Position{File: d.file, Line: d.chunk.first + n.Line - 1, Col: n.Column}
}

// mark notes where a field stands: a scalar or a flow collection at its value, a
// block mapping or sequence at its key, since its own first line is further down.
func (d *document) mark(path string, key, value *yaml.Node) {
	place := value
	if key != nil && (value.Kind == yaml.MappingNode || value.Kind == yaml.SequenceNode) && value.Style&yaml.FlowStyle == 0 {
		place = key
	}
	d.at[path] = d.position(place)
}

func (d *document) report(severity Severity, code string, n *yaml.Node, hint, format string, args ...any) {
	p := d.position(n)
	d.diags = append(d.diags, Diagnostic{Severity: severity, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint,
		Object: d.key, Position: p, Excerpt: excerpt(d.chunk.lines, d.chunk.first, p.Line)})
}

func (d *document) errorf(code string, n *yaml.Node, hint, format string, args ...any) {
	d.report(Error, code, n, hint, format, args...)
}

// enter goes down a level and resolves an alias; leave must follow unless it returned nil.
func (d *document) enter(n *yaml.Node, path string) *yaml.Node {
	resolved := d.resolve(n)
	if resolved == nil || d.depth >= maxDepth {
		if !d.spent {
			d.spent = true
			d.errorf(CodeNesting, n, "", "%s: nested deeper than %d levels, or aliases expand to more than %d values", shown(path), maxDepth, maxExpanded)
		}
		return nil
	}
	d.depth++
	return resolved
}

func (d *document) leave() { d.depth-- }

// pair is one entry of a mapping.
type pair struct {
	name       string
	key, value *yaml.Node
}

// pairs returns the entries of a mapping, those of merge keys after its own. A key
// that stands twice is reported, and its first value kept.
func (d *document) pairs(n *yaml.Node, path string) []pair {
	var own, merged []pair
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			merged = append(merged, d.merge(value, path)...)
			continue
		}
		if key.Kind == yaml.AliasNode && key.Alias != nil {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			d.errorf(CodeType, key, "", "%s: a key must be a string, not %s", shown(path), describe(key))
			continue
		}
		if line, ok := seen[key.Value]; ok {
			d.errorf(CodeDuplicateKey, key, "", "%s is given twice; the first is in line %d", join(path, key.Value), line)
			continue
		}
		seen[key.Value] = d.position(key).Line
		own = append(own, pair{key.Value, key, value})
	}
	for _, p := range merged {
		if _, ok := seen[p.name]; !ok {
			seen[p.name] = d.position(p.key).Line
			own = append(own, p)
		}
	}
	return own
}

// merge returns the entries that a merge key ("<<") brings: of a mapping, or of each
// mapping of a list, the earlier ones first (yaml.org/type/merge).
func (d *document) merge(n *yaml.Node, path string) []pair {
	n = d.enter(n, path)
	if n == nil {
		return nil
	}
	defer d.leave()
	switch n.Kind {
	case yaml.MappingNode:
		return d.pairs(n, path)
	case yaml.SequenceNode:
		var all []pair
		for _, item := range n.Content {
			all = append(all, d.merge(item, path)...)
		}
		return all
	}
	d.errorf(CodeAlias, n, "", "%s: a merge key needs a mapping or a list of mappings, not %s", shown(path), describe(n))
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// shown is a path for messages.
func shown(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}

// isNull reports whether a value is there but empty, which means the same as absent.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// tagOf is the type of a scalar as Kubernetes' YAML has it: YAML 1.1's yes, no, on and
// off are booleans there, and what looks like a time is a string.
func tagOf(n *yaml.Node) string {
	tag := n.ShortTag()
	switch tag {
	case "!!timestamp", "!!binary", "!!merge":
		return "!!str"
	case "!!str":
		if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0 {
			switch n.Value {
			case "yes", "Yes", "YES", "on", "On", "ON", "no", "No", "NO", "off", "Off", "OFF":
				return "!!bool"
			}
		}
	}
	return tag
}

// describe says what a value is, for messages.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch tagOf(n) {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "the boolean " + clip(n.Value)
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!str":
	default:
		return "a value with the tag " + clip(n.Tag)
	}
	return "the string " + strconv.Quote(clip(n.Value))
}

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:57]) + "…"
	}
	return s
}

// boolean returns the value of a scalar that is a boolean.
func boolean(n *yaml.Node) bool {
	switch strings.ToLower(n.Value) {
	case "true", "yes", "on":
		return true
	}
	return false
}
