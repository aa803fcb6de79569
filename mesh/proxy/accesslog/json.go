package accesslog

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// JSON is a compiled object of formats, written as one line with sorted keys.
type JSON struct {
	root node
	omit bool // keys whose values are missing
}

// node is a value: a format, an object, a list, or a literal.
type node struct {
	format  *Format
	literal []byte
	keys    []string // of an object
	values  []node   // of an object or a list
}

// CompileJSON compiles an object: what encoding/json makes of one, in which each string
// is a format, at any depth. Numbers, booleans and nulls stay as they are. omitEmpty
// leaves out keys whose values are missing.
func CompileJSON(object map[string]any, omitEmpty bool) (*JSON, error) {
	root, err := compileNode(object)
	return &JSON{root, omitEmpty}, err
}

func compileNode(value any) (n node, err error) {
	switch v := value.(type) {
	case string:
		n.format, err = CompileFormat(v)
	case map[string]any:
		n.keys = append([]string{}, slices.Sorted(maps.Keys(v))...)
		for _, key := range n.keys {
			below, err := compileNode(v[key])
			if err != nil {
				return n, fmt.Errorf("%s: %w", key, err)
			}
			n.values = append(n.values, below)
		}
	case []any:
		for i, item := range v {
			below, err := compileNode(item)
			if err != nil {
				return n, fmt.Errorf("[%d]: %w", i, err)
			}
			n.values = append(n.values, below)
		}
	default:
		n.literal, err = json.Marshal(v)
	}
	return n, err
}

// Append appends the line of an exchange. A value that is one operator is a number
// where it is numeric by nature, an object or a list where metadata has one, and null where it is missing.
func (j *JSON) Append(dst []byte, x *Exchange) []byte {
	return append(j.append(dst, &j.root, x), '\n')
}

func (j *JSON) append(dst []byte, n *node, x *Exchange) []byte {
	switch {
	case n.format != nil:
		return n.format.appendJSON(dst, x, j.omit)
	case n.literal != nil:
		return append(dst, n.literal...)
	case n.keys == nil:
		dst = append(dst, '[')
		for i := range n.values {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = j.append(dst, &n.values[i], x)
		}
		return append(dst, ']')
	}
	dst = append(dst, '{')
	for i, first := 0, true; i < len(n.keys); i++ {
		before := len(dst)
		if !first {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, n.keys[i]), ':')
		value := len(dst)
		if dst = j.append(dst, &n.values[i], x); j.omit && string(dst[value:]) == "null" {
			dst = dst[:before]
			continue
		}
		first = false
	}
	return append(dst, '}')
}

func (f *Format) appendJSON(dst []byte, x *Exchange, omit bool) []byte {
	if len(f.parts) != 1 || f.parts[0].op == nil {
		missing := "-"
		if omit {
			missing = ""
		}
		return appendQuoted(dst, string(f.append(nil, x, missing)))
	}
	value := string(f.append(nil, x, ""))
	if value == "" {
		return append(dst, "null"...)
	}
	if f.parts[0].number && isNumber(value) || f.parts[0].object && (value[0] == '{' || value[0] == '[') && json.Valid([]byte(value)) {
		return append(dst, value...)
	}
	return appendQuoted(dst, value)
}

// numeric tells the operators whose values are numbers by nature.
func numeric(name string) bool {
	switch name {
	case "RESPONSE_CODE", "BYTES_RECEIVED", "BYTES_SENT", "UPSTREAM_REQUEST_ATTEMPT_COUNT", "GRPC_STATUS_NUMBER", "CONNECTION_ID":
		return true
	}
	return strings.HasSuffix(name, "DURATION") || strings.HasSuffix(name, "_PORT") && !strings.HasSuffix(name, "_WITHOUT_PORT")
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) < 16 && (s == "0" || s[0] != '0')
}

// appendQuoted appends a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
