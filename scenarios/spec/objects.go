package spec

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// resources are files and patterns, read and expanded.
func resources() kind[[]Document] {
	return kind[[]Document]{
		schema: func() schema { return schema{"type": "array", "items": schema{"type": "string"}} },
		decode: func(d *decoder, n *yaml.Node, v *[]Document) {
			n = resolve(n)
			if n.Kind != yaml.SequenceNode {
				d.problem(n, "expected a list of files and patterns, found %s", describe(n))
				return
			}
			for _, item := range n.Content {
				if path, ok := d.scalar(item, "a file or a pattern"); ok {
					*v = append(*v, d.expand(item, path)...)
				}
			}
		},
	}
}

// applied is a block of YAML text, a file, or a list of files and inline objects.
func applied() kind[*Apply] {
	item := schema{"anyOf": []schema{{"type": "string"},
		{"type": "object", "required": []string{"apiVersion", "kind"}}}}
	return kind[*Apply]{
		schema: func() schema {
			return schema{"anyOf": []schema{{"type": "string"}, {"type": "array", "items": item, "minItems": 1}}}
		},
		decode: func(d *decoder, n *yaml.Node, v **Apply) {
			*v = &Apply{}
			n = resolve(n)
			switch n.Kind {
			case yaml.SequenceNode:
				if len(n.Content) == 0 {
					d.problem(n, "apply is empty")
				}
				for _, item := range n.Content {
					(*v).Documents = append((*v).Documents, d.documents(item)...)
				}
			case yaml.MappingNode:
				d.problem(n, "expected a list of inline objects, found one object; put \"- \" before it")
			default:
				(*v).Documents = d.documents(n)
			}
		},
	}
}

// documents reads one item of apply.
func (d *decoder) documents(n *yaml.Node) []Document {
	if n.Kind == yaml.MappingNode {
		return d.inline(n)
	}
	if resolve(n) != n {
		d.problem(n, "an alias cannot stand for an object here: write it out")
		return nil
	}
	s, ok := d.scalar(n, "a file, a pattern, an object, or a block of YAML text")
	if !ok {
		return nil
	}
	if !strings.Contains(strings.TrimSpace(s), "\n") && n.Style&yaml.LiteralStyle == 0 {
		return d.expand(n, s)
	}
	if n.Style&yaml.LiteralStyle == 0 {
		d.problem(n, "YAML text needs a literal block: begin it with |")
		return nil
	}
	docs := cutText(d.file, d.lines, d.at(n).Line, s)
	if len(docs) == 0 {
		d.problem(n, "the block has no object")
	}
	for _, doc := range docs {
		d.parses(doc)
	}
	return docs
}

// inline cuts an object out of the scenario file.
func (d *decoder) inline(n *yaml.Node) []Document {
	if bad := findAlias(n); bad != nil {
		d.problem(bad, "an alias cannot be used in an inline object: write it out")
		return nil
	}
	keys := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		keys[n.Content[i].Value] = true
	}
	if !keys["apiVersion"] || !keys["kind"] {
		d.problem(n, "an inline object needs apiVersion and kind")
		return nil
	}
	p := d.at(n)
	return []Document{cutObject(d.file, d.lines, p.Line, p.Col, n)}
}

// findAlias returns the first alias or merge in a tree, nil where there is none.
func findAlias(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n
	}
	for _, c := range n.Content {
		if bad := findAlias(c); bad != nil {
			return bad
		}
	}
	return nil
}

func refFormat() object[Ref] {
	return object[Ref]{what: "an object to delete", fields: []field[Ref]{
		need(at("kind", "Its kind.", word("a kind", `^[A-Z][A-Za-z0-9]*$`), func(r *Ref) *string { return &r.Kind })),
		need(at("name", "Its name.", text(), func(r *Ref) *string { return &r.Name })),
		at("namespace", "Its namespace. Default: default.", text(), func(r *Ref) *string { return &r.Namespace }),
	}}
}

// deleted is a file or an object, or a list of them.
func deleted() kind[*Delete] {
	ref := refFormat()
	return kind[*Delete]{
		schema: func() schema {
			one := schema{"anyOf": []schema{{"type": "string"}, ref.schema()}}
			return schema{"anyOf": []schema{{"type": "string"}, ref.schema(), {"type": "array", "items": one, "minItems": 1}}}
		},
		decode: func(d *decoder, n *yaml.Node, v **Delete) {
			*v = &Delete{}
			n = resolve(n)
			items := []*yaml.Node{n}
			if n.Kind == yaml.SequenceNode {
				if items = n.Content; len(items) == 0 {
					d.problem(n, "delete is empty")
				}
			}
			for _, item := range items {
				item = resolve(item)
				if item.Kind == yaml.MappingNode {
					var r Ref
					ref.decode(d, item, &r)
					(*v).Refs = append((*v).Refs, r)
				} else if path, ok := d.scalar(item, "a file, a pattern, or {kind, name, namespace}"); ok {
					(*v).Documents = append((*v).Documents, d.expand(item, path)...)
				}
			}
		},
	}
}
