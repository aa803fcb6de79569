package spec

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// schema is a JSON Schema as it is marshalled.
type schema = map[string]any

// kind is how one sort of value is written: the decoder and the JSON Schema both
// come from it, so they cannot disagree.
type kind[V any] struct {
	schema func() schema
	decode func(d *decoder, n *yaml.Node, v *V)
}

// field is one key of a mapping that fills a T.
type field[T any] struct {
	name, doc string
	required  bool
	schema    func() schema
	decode    func(d *decoder, n *yaml.Node, v *T)
}

// object is the table of a mapping's fields.
type object[T any] struct {
	what   string // "a step"
	fields []field[T]
	// rules are those between fields; keys has the nodes of the keys that are there.
	rules  func(d *decoder, n *yaml.Node, keys map[string]*yaml.Node, v *T)
	extend func(s schema)
}

// at makes a field out of a kind and the place that it fills.
func at[T, V any](name, doc string, k kind[V], place func(*T) *V) field[T] {
	return field[T]{name: name, doc: doc, schema: k.schema,
		decode: func(d *decoder, n *yaml.Node, v *T) { k.decode(d, n, place(v)) }}
}

// need makes a field required.
func need[T any](f field[T]) field[T] {
	f.required = true
	return f
}

func (o object[T]) kind() kind[T] { return kind[T]{schema: o.schema, decode: o.decode} }

func (o object[T]) names() []string {
	var names []string
	for _, f := range o.fields {
		names = append(names, f.name)
	}
	return names
}

func (o object[T]) schema() schema {
	properties := schema{}
	required := []string{}
	for _, f := range o.fields {
		p := maps.Clone(f.schema())
		p["description"] = f.doc
		properties[f.name] = p
		if f.required {
			required = append(required, f.name)
		}
	}
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	if o.extend != nil {
		o.extend(s)
	}
	return s
}

func (o object[T]) decode(d *decoder, n *yaml.Node, v *T) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		d.problem(n, "expected %s (a mapping of %s), found %s", o.what, strings.Join(o.names(), ", "), describe(n))
		return
	}
	keys := map[string]*yaml.Node{}
	entries := d.entries(n, 0)
	for i := 0; i+1 < len(entries); i += 2 {
		key, value := entries[i], entries[i+1]
		if keys[key.Value] != nil {
			d.problem(key, "field %q is there twice, first on line %d", key.Value, d.at(keys[key.Value]).Line)
			continue
		}
		j := slices.IndexFunc(o.fields, func(f field[T]) bool { return f.name == key.Value })
		if j < 0 || key.Kind != yaml.ScalarNode {
			d.problem(key, "unknown field %q in %s, expected one of %s%s", key.Value, o.what,
				strings.Join(o.names(), ", "), Suggest(key.Value, o.names()))
			continue
		}
		keys[key.Value] = key
		o.fields[j].decode(d, value, v)
	}
	for _, f := range o.fields {
		if f.required && keys[f.name] == nil {
			d.problem(n, "%s has no %q: %s", o.what, f.name, f.doc)
		}
	}
	if o.rules != nil {
		o.rules(d, n, keys, v)
	}
}

// maxMerges bounds how deep merge keys refer to mappings that have such keys, too.
const maxMerges = 10

// entries are the keys and values of a mapping, those that a merge key ("<<") brings
// behind its own; a key that is there already stays as it is (yaml.org/type/merge).
func (d *decoder) entries(n *yaml.Node, depth int) []*yaml.Node {
	var own, merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].ShortTag() == "!!merge" {
			merges = append(merges, n.Content[i+1])
		} else {
			own = append(own, n.Content[i], n.Content[i+1])
		}
	}
	for i := 0; i < len(merges); i++ {
		from := resolve(merges[i])
		switch {
		case from.Kind == yaml.SequenceNode && merges[i].Kind != yaml.AliasNode:
			merges = append(merges, from.Content...)
		case from.Kind != yaml.MappingNode || depth >= maxMerges:
			d.problem(merges[i], "a merge key (<<) takes a mapping, an alias of one, or a list of these, %d deep at most", maxMerges)
		default:
			own = without(own, d.entries(from, depth+1))
		}
	}
	return own
}

// without appends the entries whose key is not there yet.
func without(own, more []*yaml.Node) []*yaml.Node {
	there := map[string]bool{}
	for i := 0; i < len(own); i += 2 {
		there[own[i].Value] = true
	}
	for i := 0; i+1 < len(more); i += 2 {
		if !there[more[i].Value] {
			own = append(own, more[i], more[i+1])
		}
	}
	return own
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// describe names what a node is, for "found …".
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null":
		return "nothing"
	case len(n.Value) > 60:
		return fmt.Sprintf("%q…", n.Value[:60])
	default:
		return strconv.Quote(n.Value)
	}
}

// scalar returns the text of a scalar; null is none.
func (d *decoder) scalar(n *yaml.Node, expected string) (string, bool) {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		d.problem(n, "expected %s, found %s", expected, describe(n))
		return "", false
	}
	return n.Value, true
}

// text is any scalar, as it is written.
func text() kind[string] {
	return kind[string]{
		schema: func() schema { return schema{"type": []string{"string", "number", "boolean"}} },
		decode: func(d *decoder, n *yaml.Node, v *string) {
			if s, ok := d.scalar(n, "a text"); ok {
				*v = s
			}
		},
	}
}

// compiled returns what compiles a pattern when it is first asked for: a format
// names dozens, a file uses a few.
func compiled(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// word is a text that matches a pattern; what says what that is.
func word(what, pattern string) kind[string] {
	re := compiled(pattern)
	return kind[string]{
		schema: func() schema { return schema{"type": "string", "pattern": pattern} },
		decode: func(d *decoder, n *yaml.Node, v *string) {
			s, ok := d.scalar(n, what)
			if ok && !re().MatchString(s) {
				d.problem(n, "expected %s, found %q", what, s)
				return
			}
			*v = s
		},
	}
}

// enum is one of some words.
func enum(values ...string) kind[string] {
	return kind[string]{
		schema: func() schema { return schema{"enum": values} },
		decode: func(d *decoder, n *yaml.Node, v *string) {
			expected := "one of " + strings.Join(values, ", ")
			s, ok := d.scalar(n, expected)
			if ok && !slices.Contains(values, s) {
				d.problem(n, "expected %s, found %q%s", expected, s, Suggest(s, values))
				return
			}
			*v = s
		},
	}
}

// flag is true or false.
func flag() kind[bool] {
	return kind[bool]{
		schema: func() schema { return schema{"type": "boolean"} },
		decode: func(d *decoder, n *yaml.Node, v *bool) {
			n = resolve(n)
			if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(v) != nil {
				d.problem(n, "expected true or false, found %s", describe(n))
			}
		},
	}
}

// whole is a whole number in a range.
func whole[V int | int64](least, most int64) kind[V] {
	expected := fmt.Sprintf("a whole number from %d to %d", least, most)
	if most == math.MaxInt64 {
		expected = fmt.Sprintf("a whole number of at least %d", least)
	}
	return kind[V]{
		schema: func() schema {
			s := schema{"type": "integer", "minimum": least}
			if most != math.MaxInt64 {
				s["maximum"] = most
			}
			return s
		},
		decode: func(d *decoder, n *yaml.Node, v *V) {
			s, ok := d.scalar(n, expected)
			if !ok {
				return
			}
			i, err := strconv.ParseInt(s, 10, 64)
			if err != nil || i < least || i > most {
				d.problem(n, "expected %s, found %q", expected, s)
				return
			}
			*v = V(i)
		},
	}
}

// number is a number in a range; most may be infinite.
func number(least, most float64) kind[float64] {
	expected := fmt.Sprintf("a number from %g to %g", least, most)
	if math.IsInf(most, 1) {
		expected = fmt.Sprintf("a number of at least %g", least)
	}
	return kind[float64]{
		schema: func() schema {
			s := schema{"type": "number", "minimum": least}
			if !math.IsInf(most, 1) {
				s["maximum"] = most
			}
			return s
		},
		decode: func(d *decoder, n *yaml.Node, v *float64) {
			s, ok := d.scalar(n, expected)
			if !ok {
				return
			}
			f, err := strconv.ParseFloat(s, 64)
			if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < least || f > most {
				d.problem(n, "expected %s, found %q", expected, s)
				return
			}
			*v = f
		},
	}
}

const durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`

// duration is a time.Duration as Go writes it, not negative.
func duration() kind[time.Duration] {
	re := compiled(durationPattern)
	return kind[time.Duration]{
		schema: func() schema { return schema{"type": "string", "pattern": durationPattern} },
		decode: func(d *decoder, n *yaml.Node, v *time.Duration) {
			const expected = `a duration like 200us, 1.5s or 2m30s`
			s, ok := d.scalar(n, expected)
			if !ok {
				return
			}
			t, err := time.ParseDuration(s)
			if err != nil || !re().MatchString(s) {
				hint := ""
				if re().MatchString(s + "s") {
					hint = fmt.Sprintf(" (did you mean %ss?)", s)
				}
				d.problem(n, "expected %s, found %q%s", expected, s, hint)
				return
			}
			*v = t
		},
	}
}

// positive is a duration above zero.
func positive() kind[time.Duration] {
	k := duration()
	return kind[time.Duration]{schema: k.schema, decode: func(d *decoder, n *yaml.Node, v *time.Duration) {
		before := len(d.problems)
		k.decode(d, n, v)
		if *v == 0 && len(d.problems) == before {
			d.problem(n, "expected a duration above zero, found %q", resolve(n).Value)
		}
	}}
}

// list is a list of one kind.
func list[V any](of kind[V]) kind[[]V] {
	return kind[[]V]{
		schema: func() schema { return schema{"type": "array", "items": of.schema()} },
		decode: func(d *decoder, n *yaml.Node, v *[]V) {
			n = resolve(n)
			if n.Kind != yaml.SequenceNode {
				d.problem(n, "expected a list, found %s", describe(n))
				return
			}
			*v = make([]V, len(n.Content))
			for i, item := range n.Content {
				of.decode(d, item, &(*v)[i])
			}
		},
	}
}

// texts is a mapping of texts by name.
func texts() kind[map[string]string] {
	return kind[map[string]string]{
		schema: func() schema {
			return schema{"type": "object", "additionalProperties": text().schema()}
		},
		decode: func(d *decoder, n *yaml.Node, v *map[string]string) {
			n = resolve(n)
			if n.Kind != yaml.MappingNode {
				d.problem(n, "expected a mapping of texts, found %s", describe(n))
				return
			}
			*v = map[string]string{}
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := n.Content[i].Value
				if _, twice := (*v)[key]; twice {
					d.problem(n.Content[i], "%q is there twice", key)
				}
				if s, ok := d.scalar(n.Content[i+1], "a text"); ok {
					(*v)[key] = s
				}
			}
		},
	}
}
