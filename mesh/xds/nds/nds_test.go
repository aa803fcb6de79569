package nds

import (
	"encoding/hex"
	"reflect"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

var entries = []Entry{
	{Host: "a.example.com", Addresses: []string{"240.240.0.1", "2001:2::f0f0:1"}},
	{Host: "b.default.svc.cluster.local", Addresses: []string{"10.96.0.1"}, Kubernetes: true, Name: "b", Namespace: "default"},
}

func TestThereAndBack(t *testing.T) {
	r := Resource([]Entry{entries[1], entries[0]})
	if r.Name != "" || r.Body.GetTypeUrl() != resource.NameTable {
		t.Errorf("the resource is %q of type %s", r.Name, r.Body.GetTypeUrl())
	}
	got, err := Read(r)
	if err != nil || !reflect.DeepEqual(got, entries) {
		t.Errorf("%+v, %v", got, err)
	}
	if again := Resource(entries); again.Version != r.Version {
		t.Error("the order of the entries makes a difference")
	}
}

// The bytes are those of the message in Istio's nds.proto, as protoc encodes
// table { key: "h" value { ips: "1.2.3.4" registry: "External" } }.
func TestWireFormat(t *testing.T) {
	const want = "0a18" + "0a0168" + "1213" + "0a07312e322e332e34" + "120845787465726e616c"
	got := hex.EncodeToString(Resource([]Entry{{Host: "h", Addresses: []string{"1.2.3.4"}}}).Body.GetValue())
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(Resource(entries).Body.GetValue())
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Read(resource.Wrap("", &anypb.Any{TypeUrl: resource.NameTable, Value: b}))
		if err != nil {
			return
		}
		if again, err := Read(Resource(got)); err != nil || len(again) != len(got) {
			t.Errorf("%+v becomes %+v, %v", got, again, err)
		}
	})
}
