package build

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

var update = flag.Bool("update", false, "write docs/SUPPORT.md")

// The page about what is supported is the table; "make support" writes it.
func TestSupportPage(t *testing.T) {
	const file = "../../docs/SUPPORT.md"
	page := supportPage()
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != page {
		t.Errorf("docs/SUPPORT.md is out of date: run make support")
	}
}

const pageHead = `# What is supported

Made by ` + "`make support`" + ` from the table that the control plane itself asks (mesh/build/supported.go, unsupported.go). Every field of every kind that is
read stands here, each message once, below the first kind that has it. Of every other field the decoder says that it does not exist.

| | |
| --- | --- |
| supported | has the effect that Istio, Envoy or Kubernetes document |
| refused | an error, WT0400, where it is set: the object is not applied |
| no effect | a warning, WT0111: it would change something in a real cluster, but does not here |
| not about requests | accepted; told by ` + "`windtunnel analyze --info`" + ` only |

Objects of other kinds may stand in the same files. What says nothing about requests (permissions, volumes, custom resource definitions and the
like) is passed over; what another controller would act on (Job, HorizontalPodAutoscaler, the resources of APIs that are neither Kubernetes' nor
Istio's) too, with a warning, WT0112. NetworkPolicy and WasmPlugin decide about requests, and are refused.

`

// supportPage writes the table as Markdown.
func supportPage() string {
	p := page{table: newSupportTable(), seen: map[shape]bool{}}
	p.WriteString(pageHead)
	p.WriteString("Refused as a whole: " + strings.Join(refusedKinds, ", ") + ".\n")
	for _, k := range config.Kinds() {
		if o := (&config.Object{Kind: k.Name, Group: k.Group}); k.Value != nil && !isRefusedKind(o.StoreKind()) {
			p.kind(o.StoreKind(), shapeOf(reflect.TypeOf(k.Value)))
		}
	}
	p.kind("MeshConfig", shapeOfMessage((&meshpb.MeshConfig{}).ProtoReflect().Descriptor()))
	return p.String()
}

type page struct {
	strings.Builder
	table supportTable
	seen  map[shape]bool
}

func (p *page) kind(name string, s shape) {
	fmt.Fprintf(&p.Builder, "\n## %s\n\n| field | | |\n| --- | --- | --- |\n", name)
	p.rows(s)
}

func (p *page) rows(s shape) {
	if p.seen[s] {
		return
	}
	p.seen[s] = true
	var below []shape
	for _, f := range s.fields() {
		v := p.table[f.name]
		fmt.Fprintf(&p.Builder, "| %s.%s | %s | %s |\n", s.name(), f.json, v.support, v.why)
		if v.support == Supported && !f.below.scalar() {
			below = append(below, f.below)
		}
	}
	for _, b := range below {
		p.rows(b)
	}
}
