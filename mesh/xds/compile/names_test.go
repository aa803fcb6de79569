package compile

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/nds"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

func TestNames(t *testing.T) {
	with := func(r *resource.Resource) resource.Set {
		set := resource.Set{}
		set.Put(resource.NameTable, r)
		return set
	}
	table := func(address string) *resource.Resource {
		return nds.Resource([]nds.Entry{{Host: "b.default.svc.cluster.local", Addresses: []string{address}, Kubernetes: true, Name: "b", Namespace: "default"},
			{Host: "A.example.com", Addresses: []string{"240.240.0.1", "2001:2::f0f0:1"}}})
	}
	p, err := Compile(with(table("10.96.0.1")))
	if err != nil || fmt.Sprint(p.Names) != "[{a.example.com [240.240.0.1 2001:2::f0f0:1]  } {b.default.svc.cluster.local [10.96.0.1] b default}]" {
		t.Fatalf("%v, %v", p, err)
	}
	other, err := Compile(with(table("10.96.0.2")))
	if err != nil || other.Version == p.Version {
		t.Errorf("another table has the version %s, too; %v", p.Version, err)
	}
	none, err := Compile(resource.Set{})
	if err != nil || none.Names != nil {
		t.Errorf("without a table: %v, %v", none, err)
	}
	for want, r := range map[string]*resource.Resource{
		"nowhere":    table("nowhere"),
		"name table": resource.Wrap("", &anypb.Any{TypeUrl: resource.NameTable, Value: []byte{0x0a, 0xff}}),
	} {
		if _, err := Compile(with(r)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
