package config

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/windtunnel-mesh/windtunnel/spelling"
)

// wrong reports a value of the wrong type.
func (d *document) wrong(n *yaml.Node, path, expected, hint string) (any, bool) {
	d.errorf(CodeType, n, hint, "%s: expected %s, got %s", shown(path), expected, describe(n))
	return nil, false
}

func (d *document) text(n *yaml.Node, path string) (string, bool) {
	if n.Kind == yaml.ScalarNode && tagOf(n) == "!!str" {
		return n.Value, true
	}
	hint := ""
	switch {
	case n.Kind == yaml.ScalarNode && !strings.HasPrefix(tagOf(n), "!!"):
		hint = "leave the tag out"
	case n.Kind == yaml.ScalarNode:
		hint = "put it in quotes: " + strconv.Quote(n.Value)
	case n.Kind == yaml.MappingNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode: // {{ .Values.name }}
		hint = "this looks like a template: render it first, as with helm template"
	}
	d.wrong(n, path, "a string", hint)
	return "", false
}

func (d *document) boolean(n *yaml.Node, path string) (any, bool) {
	if n.Kind == yaml.ScalarNode && tagOf(n) == "!!bool" {
		return boolean(n), true
	}
	hint := ""
	if n.Kind == yaml.ScalarNode && (strings.EqualFold(n.Value, "true") || strings.EqualFold(n.Value, "false")) {
		hint = "write " + strings.ToLower(n.Value) + " without quotes"
	}
	return d.wrong(n, path, "true or false", hint)
}

// integer reads a whole number of a number of bits.
func (d *document) integer(n *yaml.Node, path string, bits int, signed bool) (any, bool) {
	if n.Kind != yaml.ScalarNode || tagOf(n) != "!!int" {
		hint := ""
		if _, err := strconv.ParseInt(n.Value, 10, 64); err == nil && n.Kind == yaml.ScalarNode {
			hint = "write " + n.Value + " without quotes"
		}
		return d.wrong(n, path, "a whole number", hint)
	}
	low, high := int64(0), uint64(math.MaxUint64)>>(64-bits)
	if signed {
		low, high = math.MinInt64>>(64-bits), uint64(math.MaxInt64)>>(64-bits)
	}
	var u uint64
	if n.Decode(&u) == nil && !strings.HasPrefix(n.Value, "-") {
		if u <= high {
			return json.Number(strconv.FormatUint(u, 10)), true
		}
	} else {
		var i int64
		if n.Decode(&i) == nil && i >= low {
			return json.Number(strconv.FormatInt(i, 10)), true
		}
	}
	d.errorf(CodeRange, n, "", "%s: %s is out of range; expected %d to %d", shown(path), clip(n.Value), low, high)
	return nil, false
}

func (d *document) number(n *yaml.Node, path string) (any, bool) {
	if n.Kind == yaml.ScalarNode && (tagOf(n) == "!!int" || tagOf(n) == "!!float") {
		var f float64
		if n.Decode(&f) == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, true
		}
	}
	return d.wrong(n, path, "a number", "")
}

// duration reads Go's spelling of durations, which Istio and Kubernetes use.
func (d *document) duration(n *yaml.Node, path string) (time.Duration, bool) {
	if n.Kind == yaml.ScalarNode && (tagOf(n) == "!!int" || tagOf(n) == "!!float") {
		d.wrong(n, path, `a duration such as "10s"`, "write the unit: "+n.Value+"s")
		return 0, false
	}
	if n.Kind != yaml.ScalarNode || tagOf(n) != "!!str" {
		d.wrong(n, path, `a duration such as "10s"`, "")
		return 0, false
	}
	v, err := time.ParseDuration(n.Value)
	if err != nil {
		d.errorf(CodeFormat, n, "units are h, m, s, ms, us and ns", "%s: expected a duration such as \"10s\", got %s", shown(path), describe(n))
		return 0, false
	}
	return v, true
}

// seconds is a duration as protobuf's JSON writes it.
func seconds(v time.Duration) string {
	sign := ""
	if v < 0 {
		sign = "-"
	}
	s, ns := int64(v/time.Second), int64(v%time.Second)
	return fmt.Sprintf("%s%d.%09ds", sign, max(s, -s), max(ns, -ns))
}

// base64 checks bytes; they stay in their encoding, which is JSON's, too.
func (d *document) base64(n *yaml.Node, path string) (any, bool) {
	s, ok := d.text(n, path)
	if !ok {
		return nil, false
	}
	s = strings.NewReplacer("\n", "", "\r", "", " ", "").Replace(s)
	if _, err := base64.StdEncoding.DecodeString(s); err != nil {
		d.errorf(CodeFormat, n, "", "%s: expected base64, got %s", shown(path), describe(n))
		return nil, false
	}
	return s, true
}

// enum reads one of a list of words.
func (d *document) enum(n *yaml.Node, path string, allowed []string) (any, bool) {
	s, ok := d.text(n, path)
	if !ok {
		return nil, false
	}
	for _, a := range allowed {
		if a == s {
			return s, true
		}
	}
	d.errorf(CodeEnum, n, enumHint(s, allowed), "%s: %q is not allowed; expected one of %s", shown(path), clip(s), strings.Join(allowed, ", "))
	return nil, false
}

func enumHint(s string, allowed []string) string {
	if best := spelling.Nearest(s, allowed); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

// anything reads a value of any type, as fields that hold foreign configuration do.
func (d *document) anything(n *yaml.Node, path string) (any, bool) {
	n = d.enter(n, path)
	if n == nil {
		return nil, false
	}
	defer d.leave()
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any)
		for _, p := range d.pairs(n, path) {
			d.mark(join(path, p.name), p.key, p.value)
			if v, ok := d.anything(p.value, join(path, p.name)); ok {
				m[p.name] = v
			}
		}
		return m, true
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			d.mark(index(path, i), nil, item)
			if v, ok := d.anything(item, index(path, i)); ok {
				list = append(list, v)
			}
		}
		return list, true
	case yaml.ScalarNode:
		return d.anyScalar(n, path)
	}
	return nil, false
}

func (d *document) anyScalar(n *yaml.Node, path string) (any, bool) {
	switch tagOf(n) {
	case "!!null":
		return nil, true
	case "!!bool":
		return boolean(n), true
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return json.Number(strconv.FormatInt(i, 10)), true
		}
		return d.number(n, path)
	case "!!float":
		return d.number(n, path)
	}
	return n.Value, true
}

// integerIn reads a whole number between two bounds.
func (d *document) integerIn(p pair, path string, low, high int64) (any, bool) {
	n := d.enter(p.value, path)
	if n == nil {
		return nil, false
	}
	defer d.leave()
	v, ok := d.integer(n, path, 64, true)
	if !ok {
		return nil, false
	}
	if i, err := v.(json.Number).Int64(); err != nil || i < low || i > high {
		d.errorf(CodeRange, n, "", "%s: %s is out of range; expected %d to %d", shown(path), clip(n.Value), low, high)
		return nil, false
	}
	return v, true
}

// textItem reads a string of a list.
func (d *document) textItem(n *yaml.Node, path string) (any, bool) {
	n = d.enter(n, path)
	if n == nil {
		return nil, false
	}
	defer d.leave()
	return d.text(n, path)
}
