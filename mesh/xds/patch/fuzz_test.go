package patch

import (
	"testing"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// Whatever value somebody writes, it is read and applied, or a problem.
func FuzzValues(f *testing.F) {
	f.Add("HTTP_FILTER", "INSERT_FIRST", []byte(`{"name":"x","typed_config":{"@type":"type.googleapis.com/udpa.type.v1.TypedStruct","type_url":"a/b","value":{"a":[1,{}]}}}`))
	f.Add("LISTENER", "MERGE", []byte(`{"listener_filters_timeout":"1s","metadata":{"filter_metadata":{"a":{}}}}`))
	f.Add("NETWORK_FILTER", "ADD", []byte(`{"name":"x","typed_config":{"@type":""}}`))
	f.Add("HTTP_ROUTE", "MERGE", []byte(`[null]`))
	f.Fuzz(func(t *testing.T, target, operation string, value []byte) {
		filter := &model.EnvoyFilter{Patches: []*model.EnvoyPatch{{Target: target, Operation: operation, Value: value,
			Listener: &model.ListenerMatch{Chain: &model.ChainMatch{Filter: "hcm", HTTPFilter: "router"}}}}}
		problems := Check(filter)
		s := New([]*model.EnvoyFilter{filter}, model.Node{Type: model.Sidecar})
		if (s == nil) != (len(problems) > 0) {
			t.Fatalf("problems %v, but patches %v", problems, s)
		}
		if s == nil {
			return
		}
		l := new(listenerpb.Listener)
		if err := protojson.Unmarshal([]byte(inboundListener), l); err != nil {
			t.Fatal(err)
		}
		s.Listener(l)
	})
}
