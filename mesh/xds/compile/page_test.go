package compile

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

var update = flag.Bool("update", false, "write docs/ENVOY.md")

// The page about Envoy's messages is the table of fields; "make support" writes it. A
// field that a message does not have would be a mistake in the table.
func TestPage(t *testing.T) {
	const file = "../../../docs/ENVOY.md"
	want := page(t)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("docs/ENVOY.md is out of date: run make support")
	}
}

const pageHead = `# What meshproxy takes of Envoy's configuration

Made by ` + "`make support`" + ` from the table that the proxy itself asks (mesh/xds/compile/fields.go). It holds for bootstraps (` + "`meshproxy -c envoy.yaml --mode validate`" + `), for
what a control plane sends, and for the values of EnvoyFilters (` + "`windtunnel analyze`" + `).

Whatever stands in no row is refused by name: types that are not listed, and fields of the last column. (Durations, percentages, metadata and the like have no rows: they are taken as a whole.) A control plane hears it as a NACK, and what was in force stays in force.
A field in (parentheses) may be written out with its zero value only.

| message | taken | refused |
| --- | --- | --- |
`

func page(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	out.WriteString(pageHead)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		found, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var taken, refused []string
		listed := strings.Fields(fields[name])
		all := found.Descriptor().Fields()
		for i := range all.Len() {
			field := string(all.Get(i).Name())
			switch {
			case slices.Contains(listed, field):
				taken = append(taken, field)
			case slices.Contains(listed, field+"!"):
				taken = append(taken, "("+field+")")
			default:
				refused = append(refused, field)
			}
		}
		if len(taken) != len(listed) {
			t.Errorf("%s lists fields that it does not have: %q, and has %q", name, listed, taken)
		}
		fmt.Fprintf(&out, "| %s | %s | %s |\n", name, strings.Join(taken, " "), strings.Join(refused, " "))
	}
	return out.String()
}
