package run

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/windtunnel-mesh/windtunnel/reports/result"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run/unified"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// configuration is what the scenario has applied so far, to tell what a step changed.
type configuration struct {
	objects map[string]string // YAML by key
}

// object is one Kubernetes object of a document.
type object struct {
	key    string // "Kind namespace/name"
	text   string
	source string
	node   *yaml.Node
}

// header is what names an object.
type header struct {
	Kind     string
	Metadata struct{ Namespace, Name string }
}

// longestDiff is how many lines of a diff a report keeps.
const longestDiff = 400

// apply notes the documents and tells what they change. What the control plane
// refused (rejected begins with file:line) is told, and stays as it was.
func (c *configuration) apply(docs []spec.Document, rejected []string) (changes []result.Change, objects []object) {
	for _, d := range docs {
		for _, o := range objectsOf(d) {
			before, known := c.objects[o.key]
			change := result.Change{Object: o.key, Action: "changed", Source: o.source}
			switch {
			case refused(d, rejected):
				change.Action = "rejected"
			case !known:
				change.Action = "created"
			case before == o.text:
				continue
			}
			change.Diff = unified.Diff(before, o.text, longestDiff)
			if change.Action != "rejected" {
				c.objects[o.key] = o.text
				objects = append(objects, o)
			}
			changes = append(changes, change)
		}
	}
	return changes, objects
}

// changed tells of the step what it applied, and of routes how they split traffic now.
func (x *execution) changed(docs []spec.Document, rejected []string) {
	changes, objects := x.configuration.apply(docs, rejected)
	x.changes = append(x.changes, changes...)
	for i := range objects {
		x.split(objects[i].key, objects[i].shares(), x.now())
	}
}

// removed tells of the step what it deleted.
func (x *execution) removed(d *spec.Delete) {
	changes := x.configuration.remove(d.Refs, d.Documents)
	x.changes = append(x.changes, changes...)
	for _, c := range changes {
		x.split(c.Object, "", x.now())
	}
}

// remove notes what a step deletes.
func (c *configuration) remove(refs []spec.Ref, docs []spec.Document) []result.Change {
	var gone []object
	for _, r := range refs {
		gone = append(gone, object{key: objectKey(r.Kind, r.Namespace, r.Name)})
	}
	for _, d := range docs {
		gone = append(gone, objectsOf(d)...)
	}
	var changes []result.Change
	for _, o := range gone {
		before, known := c.objects[o.key]
		if !known {
			continue // there are no words for what nobody has applied
		}
		delete(c.objects, o.key)
		changes = append(changes, result.Change{Object: o.key, Action: "deleted", Diff: unified.Diff(before, "", longestDiff)})
	}
	return changes
}

func objectKey(kind, namespace, name string) string {
	switch kind {
	case "Namespace", "Node", "MeshConfig", "GatewayClass":
		return kind + " " + name
	}
	if namespace == "" {
		namespace = "default"
	}
	return kind + " " + namespace + "/" + name
}

// objectsOf are the objects of a document, those of a List each for itself, as YAML
// that has the content only: no comments, one style.
func objectsOf(d spec.Document) []object {
	var root yaml.Node
	if yaml.Unmarshal(d.Text, &root) != nil || len(root.Content) == 0 {
		return nil // the control plane tells what is wrong with it
	}
	nodes := []*yaml.Node{root.Content[0]}
	var list struct {
		Kind  string
		Items []yaml.Node
	}
	if root.Decode(&list) == nil && list.Kind == "List" {
		nodes = nil
		for i := range list.Items {
			nodes = append(nodes, &list.Items[i])
		}
	}
	var all []object
	for _, n := range nodes {
		var h header
		if n.Decode(&h) != nil || h.Kind == "" {
			continue
		}
		o := object{key: objectKey(h.Kind, h.Metadata.Namespace, h.Metadata.Name), node: n,
			source: d.File + ":" + strconv.Itoa(d.Line+n.Line-1)}
		plain(n)
		var b bytes.Buffer
		e := yaml.NewEncoder(&b)
		e.SetIndent(2)
		if e.Encode(n) == nil && e.Close() == nil {
			o.text = b.String()
			all = append(all, o)
		}
	}
	return all
}

// plain takes comments and flow style from a tree, so that a diff is of content.
func plain(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		n.Style &^= yaml.FlowStyle
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// refused tells whether one of the refusals is about a line of the document.
func refused(d spec.Document, rejected []string) bool {
	last := d.Line + bytes.Count(d.Text, []byte("\n"))
	for _, r := range rejected {
		rest, ok := strings.CutPrefix(r, d.File+":")
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(rest, ":")
		if line, err := strconv.Atoi(number); err == nil && line >= d.Line && line <= last {
			return true
		}
	}
	return false
}

// weighted is the part of VirtualServices and the Gateway API's routes that splits traffic.
type weighted struct {
	Spec struct {
		HTTP []struct {
			Route []struct {
				Destination struct{ Host, Subset string }
				Weight      *int
			}
		}
		Rules []struct {
			BackendRefs []struct {
				Name   string
				Weight *int
			} `yaml:"backendRefs"`
		}
	}
}

// shares tells how an object splits traffic, "v1 80, v3 20" per split; "" where it does not.
func (o *object) shares() string {
	var w weighted
	if o.node.Decode(&w) != nil {
		return ""
	}
	var splits []string
	add := func(parts []string) {
		if len(parts) > 1 {
			splits = append(splits, strings.Join(parts, ", "))
		}
	}
	for _, h := range w.Spec.HTTP {
		var parts []string
		for _, r := range h.Route {
			name := r.Destination.Subset
			if name == "" {
				name = r.Destination.Host
			}
			parts = append(parts, share(name, r.Weight, 0))
		}
		add(parts)
	}
	for _, r := range w.Spec.Rules {
		var parts []string
		for _, b := range r.BackendRefs {
			parts = append(parts, share(b.Name, b.Weight, 1))
		}
		add(parts)
	}
	return strings.Join(splits, "; ")
}

func share(name string, weight *int, fallback int) string {
	if weight != nil {
		fallback = *weight
	}
	return fmt.Sprintf("%s %d", name, fallback)
}
