package client_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/nds"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/serve"
)

// The name table comes with the rest, changes alone, and stays as it was where it is refused.
// Who does not ask for it gets none.
func TestTheNameTable(t *testing.T) {
	for _, names := range []bool{false, true} {
		for _, delta := range []bool{false, true} {
			t.Run(fmt.Sprintf("names=%t,delta=%t", names, delta), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { bubble(t, delta, &mesh{names: names}, tableTest) })
			})
		}
	}
}

func tableTest(t *testing.T, m *mesh) {
	push := func(revision, address string) string {
		table := nds.Resource([]nds.Entry{{Host: "a.example.com", Addresses: []string{address}}})
		set := resource.Set{}
		set.Put(resource.NameTable, table)
		m.server.Update(serve.GeneratorFunc(func(serve.Node) (resource.Set, error) { return set, nil }), revision)
		return table.Version
	}
	has := func(version string) {
		t.Helper()
		r := m.client.Set()[resource.NameTable][""]
		switch {
		case !m.names && r != nil:
			t.Error("there is a table that nobody asked for")
		case m.names && (r == nil || r.Version != version):
			t.Errorf("the table is %v, want version %s", r, version)
		}
	}
	push("1", "240.240.0.1")
	synctest.Wait()
	good := push("2", "240.240.0.2")
	m.synced("2")
	has(good)
	if !m.names {
		return
	}
	m.refuse = errors.New("not this one")
	push("3", "240.240.0.3")
	synctest.Wait()
	has(good)
	m.refuse = nil
	good = push("4", "240.240.0.4")
	m.synced("4")
	has(good)
}
