package translate

import (
	"fmt"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// invalid carries a message that breaks its own rules out to Proxy, which returns it.
type invalid struct{ error }

// toAny packs an extension's configuration, deterministically. One that breaks its
// own rules ends the translation: Proxy makes an error of the panic.
func toAny(m proto.Message) *anypb.Any {
	if v, ok := m.(validated); ok {
		if err := v.Validate(); err != nil {
			panic(invalid{fmt.Errorf("%T: %w", m, err)})
		}
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("translate: %T: %v", m, err))
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value}
}

// provenance is the metadata that names the object and the line behind an element.
func provenance(s model.Source, more map[string]*structpb.Value) *corepb.Metadata {
	istio := more
	if s.Config != "" {
		istio = map[string]*structpb.Value{"config": structpb.NewStringValue(s.Config)}
		for k, v := range more {
			istio[k] = v
		}
	}
	m := &corepb.Metadata{FilterMetadata: map[string]*structpb.Struct{}}
	if len(istio) > 0 {
		m.FilterMetadata["istio"] = &structpb.Struct{Fields: istio}
	}
	if s.String() != "" {
		m.FilterMetadata["windtunnel"] = &structpb.Struct{Fields: map[string]*structpb.Value{"source": structpb.NewStringValue(s.String())}}
	}
	if len(m.FilterMetadata) == 0 {
		return nil
	}
	return m
}

// servicesValue lists services as Istio's metadata does.
func servicesValue(services ...*model.Service) *structpb.Value {
	list := &structpb.ListValue{}
	for _, s := range services {
		list.Values = append(list.Values, structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			"host": structpb.NewStringValue(s.Host), "name": structpb.NewStringValue(s.Name), "namespace": structpb.NewStringValue(s.Namespace),
		}}))
	}
	return structpb.NewListValue(list)
}

func stringsStruct(m map[string]string) *structpb.Struct {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for k, v := range m {
		s.Fields[k] = structpb.NewStringValue(v)
	}
	return s
}
