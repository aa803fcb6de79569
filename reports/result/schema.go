package result

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Schema is the JSON Schema of results.json, made of the types of this package.
func Schema() ([]byte, error) {
	definitions := map[string]any{}
	for _, t := range types() {
		definitions[t.Name()] = objectSchema(t)
	}
	data, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "windtunnel results " + Version,
		"$ref":    "#/$defs/Run",
		"$defs":   definitions,
	}, "", "  ")
	return append(data, '\n'), err
}

// Page is the same for people, in Markdown: a table per type.
func Page() string {
	var b strings.Builder
	b.WriteString("# results.json, version " + Version + "\n\n" +
		"What `windtunnel run --out DIR` writes and `-o json` prints; `windtunnel schema results` is its JSON Schema. Times are seconds, as decimal numbers:\n" +
		"of the world (virtual in the simulator) where nothing else is said, counted from the first step's readiness. Fields are added, not renamed;\n" +
		"fields in *italics* may be missing. `make results` writes this page.\n")
	for _, t := range types() {
		fmt.Fprintf(&b, "\n## %s\n\n| field | type | |\n|---|---|---|\n", t.Name())
		for _, f := range fieldsOf(t) {
			name := "`" + f.name + "`"
			if f.optional {
				name = "*" + name + "*"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, words(f.of), strings.ReplaceAll(f.doc, "|", "\\|"))
		}
	}
	return b.String()
}

// member is one field of an object.
type member struct {
	name, doc string
	optional  bool
	of        reflect.Type
}

func fieldsOf(t reflect.Type) []member {
	var all []member
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, member{name: name, doc: f.Tag.Get("doc"), optional: options == "omitempty", of: f.Type})
	}
	return all
}

// types are Run and what is in it, each once, in the order in which they appear.
func types() []reflect.Type {
	list := []reflect.Type{reflect.TypeFor[Run]()}
	seen := map[reflect.Type]bool{list[0]: true}
	for i := 0; i < len(list); i++ {
		for _, f := range fieldsOf(list[i]) {
			t := f.of
			for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Array {
				t = t.Elem()
			}
			if t.Kind() == reflect.Struct && !seen[t] {
				seen[t] = true
				list = append(list, t)
			}
		}
	}
	return list
}

func objectSchema(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range fieldsOf(t) {
		s := typeSchema(f.of)
		s["description"] = f.doc
		properties[f.name] = s
		if !f.optional {
			required = append(required, f.name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

func typeSchema(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem())
	case reflect.Struct:
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": typeSchema(t.Elem())}
	case reflect.Array:
		return map[string]any{"type": "array", "items": typeSchema(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": typeSchema(t.Elem())}
	case reflect.String:
		if t == reflect.TypeFor[Status]() {
			return map[string]any{"enum": []Status{Passed, Failed, Error, Skipped}}
		}
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Interface:
		return map[string]any{}
	}
	return map[string]any{"type": "integer"}
}

// words names a type for people.
func words(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return words(t.Elem())
	case reflect.Struct:
		return fmt.Sprintf("[%s](#%s)", t.Name(), strings.ToLower(t.Name()))
	case reflect.Slice:
		return "list of " + words(t.Elem())
	case reflect.Array:
		return fmt.Sprintf("%d × %s", t.Len(), words(t.Elem()))
	case reflect.Map:
		return "text to " + words(t.Elem())
	case reflect.Interface:
		return "anything"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "text"
	}
	return "integer"
}
