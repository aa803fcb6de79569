package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windtunnel-mesh/windtunnel/spelling"
)

// Decode reads a YAML stream (JSON is YAML, too) into objects, and reports everything
// that is wrong with it at once. Documents are separated by "---", Lists are expanded,
// empty documents skipped. firstLine is the number that data's first line has in file:
// 1 for whole files.
//
// Decoding is strict: an unknown field, a value of the wrong type or out of range, two
// fields of which only one may be set, and whatever the API server's or Istio's
// validation refuses are errors. An object with an error is not returned. Old spellings
// that still have a meaning are translated to their successors, with a warning.
//
// Namespaced objects without a namespace get "default". Of several objects with one
// key the last counts, as with kubectl apply; that is a warning.
func Decode(file string, firstLine int, data []byte) ([]*Object, []Diagnostic) {
	var (
		objects []*Object
		diags   []Diagnostic
		shared  = newSchemas()
	)
	for _, c := range split(firstLine, data) {
		if c.blank() {
			continue
		}
		nodes, err := c.parse()
		for _, n := range nodes {
			s := &stream{schemas: shared, file: file, chunk: c}
			s.decode(n, c.raw())
			objects, diags = append(objects, s.objects...), append(diags, s.diags...)
		}
		if err != nil {
			diags = append(diags, c.syntaxError(file, err))
		}
	}
	objects, diags = unique(objects, diags)
	inOrder(diags)
	return objects, diags
}

// inOrder sorts the findings about one file by their places.
func inOrder(diags []Diagnostic) {
	slices.SortStableFunc(diags, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Col, b.Position.Col))
	})
}

// unique drops all but the last of several objects with one key.
func unique(objects []*Object, diags []Diagnostic) ([]*Object, []Diagnostic) {
	last := make(map[Key]int, len(objects))
	for i, o := range objects {
		if first, ok := last[o.Key()]; ok {
			earlier := objects[first]
			d := o.Diagnose(Warning, CodeDuplicate, "kind", fmt.Sprintf("%s stands twice; this one replaces the one at %s", o.Key(), earlier.Position()), "")
			diags = append(diags, d)
			objects[first] = nil
		}
		last[o.Key()] = i
	}
	kept := objects[:0]
	for _, o := range objects {
		if o != nil {
			kept = append(kept, o)
		}
	}
	return kept, diags
}

// stream is the work on one document, which holds one object or a list of them.
type stream struct {
	*schemas
	file    string
	chunk   chunk
	objects []*Object
	diags   []Diagnostic
	lists   int
}

func (s *stream) document() *document {
	return &document{schemas: s.schemas, file: s.file, chunk: s.chunk, at: make(map[string]Position)}
}

func (s *stream) decode(n *yaml.Node, raw []byte) {
	d := s.document()
	n = d.enter(n, "")
	if n == nil {
		s.diags = append(s.diags, d.diags...)
		return
	}
	defer d.leave()
	if isNull(n) {
		return
	}
	head := d.head(n)
	if head != nil && strings.HasSuffix(head.kind, "List") && find(head.group, head.kind) == nil {
		s.list(d, n)
	} else if head != nil {
		if o := d.object(n, head, raw); o != nil {
			s.objects = append(s.objects, o)
		}
	}
	s.diags = append(s.diags, d.diags...)
}

// list decodes the items of a List.
func (s *stream) list(d *document, n *yaml.Node) {
	if s.lists++; s.lists > maxDepth {
		d.errorf(CodeNesting, n, "", "lists within lists, more than %d", maxDepth)
		return
	}
	for _, p := range d.pairs(n, "") {
		switch p.name {
		case "apiVersion", "kind", "metadata":
		case "items":
			items := p.value
			if isNull(items) {
				continue
			}
			if items.Kind != yaml.SequenceNode {
				d.wrong(items, "items", "a list", "")
				continue
			}
			for i, item := range items.Content {
				if isNull(item) {
					d.errorf(CodeNotAnObject, item, "", "items[%d]: expected an object with apiVersion, kind and metadata, got nothing", i)
					continue
				}
				s.decode(item, s.chunk.item(item))
			}
		default:
			d.unknown(p, "", "List", []string{"apiVersion", "kind", "metadata", "items"})
		}
	}
}

// item is an item of a list as a document of its own.
func (c chunk) item(n *yaml.Node) []byte {
	if n.Style&yaml.FlowStyle != 0 || n.Kind != yaml.MappingNode || n.Line < 1 || n.Column < 1 {
		if text, err := yaml.Marshal(n); err == nil {
			return text
		}
		return nil
	}
	var b bytes.Buffer
	for i := n.Line - 1; i < len(c.lines); i++ {
		line := c.lines[i]
		if i > n.Line-1 && strings.TrimSpace(line) != "" && len(line)-len(strings.TrimLeft(line, " ")) < n.Column-1 {
			break
		}
		b.WriteString(line[min(n.Column-1, len(line)):])
		b.WriteByte('\n')
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

// head is what tells what a document is.
type head struct {
	kind, group, version string
	kindNode, apiNode    *yaml.Node
}

// head reads apiVersion and kind, and the key as far as it is there. It returns nil
// where the document is no object.
func (d *document) head(n *yaml.Node) *head {
	if n.Kind != yaml.MappingNode {
		d.errorf(CodeNotAnObject, n, "", "expected an object with apiVersion, kind and metadata, got %s", describe(n))
		return nil
	}
	h := &head{}
	apiVersion := ""
	for i := 0; i+1 < len(n.Content); i += 2 {
		value := n.Content[i+1]
		switch n.Content[i].Value {
		case "apiVersion":
			apiVersion, h.apiNode = value.Value, value
		case "kind":
			h.kind, h.kindNode = value.Value, value
		case "metadata":
			d.keyFrom(value)
		}
	}
	h.group, h.version = splitAPIVersion(apiVersion)
	d.key.Kind, d.key.Group = h.kind, h.group
	if h.kind == "" || apiVersion == "" {
		missing := "apiVersion"
		if h.kind == "" {
			missing = "kind"
		}
		d.errorf(CodeNotAnObject, n, misspelt(n, missing), "%q is required", missing)
		return nil
	}
	return h
}

// misspelt is a hint at the key that somebody wrote in place of a required one; "": nobody did.
func misspelt(n *yaml.Node, key string) string {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i].Value; k != key && spelling.Nearest(k, []string{key}) == key {
			return fmt.Sprintf("write %s in place of %q in line %d", key, clip(k), n.Content[i].Line)
		}
	}
	return ""
}

func (d *document) keyFrom(metadata *yaml.Node) {
	if metadata.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(metadata.Content); i += 2 {
		switch metadata.Content[i].Value {
		case "name":
			d.key.Name = metadata.Content[i+1].Value
		case "namespace":
			d.key.Namespace = metadata.Content[i+1].Value
		}
	}
}

// kindOf finds the kind, or reports what is wrong with it.
func (d *document) kindOf(h *head) *kind {
	apiVersion := h.apiNode.Value
	k := find(h.group, h.kind)
	if k == nil {
		if others := named(h.kind); len(others) > 0 {
			d.errorf(CodeUnknownAPI, h.apiNode, fmt.Sprintf("write apiVersion: %s", others[0].apiVersion(others[0].versions[0])),
				"there is no kind %s in apiVersion %q", h.kind, clip(apiVersion))
			return nil
		}
		if instead := refusedKinds[h.group+"/"+h.kind]; instead != "" {
			d.errorf(CodeUnknownKind, h.kindNode, instead, "%s is not supported", h.kind)
			return nil
		}
		if !knownGroup(h.group) {
			d.errorf(CodeUnknownAPI, h.apiNode, didYouMean(apiVersion, apiVersions()), "unknown apiVersion %q (kind %s)", clip(apiVersion), clip(h.kind))
			return nil
		}
		own, all := kindNames(h.group)
		hint := enumHint(h.kind, own)
		if hint == "" {
			hint = enumHint(h.kind, all)
		}
		d.errorf(CodeUnknownKind, h.kindNode, hint, "unknown kind %q (apiVersion %s)", clip(h.kind), clip(apiVersion))
		return nil
	}
	if slices.Contains(k.versions, h.version) {
		return k
	}
	d.errorf(CodeUnknownAPI, h.apiNode, fmt.Sprintf("write apiVersion: %s", k.apiVersion(k.versions[0])), "%s has no version %q", h.kind, clip(h.version))
	return nil
}

// object decodes, completes and validates one object; nil where it has an error.
func (d *document) object(n *yaml.Node, h *head, raw []byte) *Object {
	if len(named(h.kind)) == 0 {
		if severity, what, ok := bystander(h); ok {
			d.report(severity, CodeBystander, h.kindNode, "", "%s", what)
			return d.finish(n, h, raw, &Bystander{})
		}
	}
	k := d.kindOf(h)
	if k == nil {
		return nil
	}
	switch {
	case k.cluster:
		d.key.Namespace = ""
	case d.key.Namespace == "":
		d.key.Namespace = "default"
	}
	if k.group == groupInstall {
		return d.operator(n, h, raw)
	}
	value := k.make()
	d.mark("", nil, n)
	tree, _ := d.goValue(n, reflect.TypeOf(value), "")
	if d.failed() {
		return nil
	}
	if err := assign(tree, value); err != nil {
		// The walk above has checked everything that the types check; what is left is theirs to say.
		d.errorf(CodeFormat, n, "", "%s: %v", d.key, err)
		return nil
	}
	o := d.finish(n, h, raw, value)
	if meta, ok := value.(metav1.Object); ok {
		o.Created = meta.GetCreationTimestamp().Time
		meta.SetNamespace(o.Namespace)
	}
	if k.defaults != nil {
		k.defaults(value)
	}
	c := &checker{o: o}
	validateMeta(c, k)
	if k.validate != nil {
		k.validate(c)
	}
	d.diags = append(d.diags, c.diags...)
	if d.failed() {
		return nil
	}
	return o
}

func (d *document) finish(n *yaml.Node, h *head, raw []byte, value any) *Object {
	delete(d.at, "")
	return &Object{
		Kind: h.kind, Group: h.group, Version: h.version, Namespace: d.key.Namespace, Name: d.key.Name, Value: value, Raw: raw,
		positions: &positions{file: d.file, start: d.position(n), at: d.at, lines: d.chunk.lines, first: d.chunk.first},
	}
}

func (d *document) failed() bool { return failed(d.diags) }

// assign puts checked JSON into a typed value.
func assign(tree, value any) error {
	text, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("encode as JSON: %w", err)
	}
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("decode into %T: %w", value, err)
	}
	return nil
}
