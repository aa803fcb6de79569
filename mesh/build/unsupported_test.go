package build

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	meshpb "istio.io/api/mesh/v1alpha1"
	networkingpb "istio.io/api/networking/v1alpha3"
	securitypb "istio.io/api/security/v1beta1"
	telemetrypb "istio.io/api/telemetry/v1alpha1"
)

// A name that no message has would refuse nothing.
func TestRefusedFieldsExist(t *testing.T) {
	have := map[string]bool{}
	var add func(protoreflect.MessageDescriptors)
	add = func(list protoreflect.MessageDescriptors) {
		for i := range list.Len() {
			m := list.Get(i)
			for j := range m.Fields().Len() {
				have[shortName(m.Fields().Get(j))] = true
			}
			add(m.Messages())
		}
	}
	for _, f := range []protoreflect.FileDescriptor{
		networkingpb.File_networking_v1alpha3_virtual_service_proto, networkingpb.File_networking_v1alpha3_destination_rule_proto,
		networkingpb.File_networking_v1alpha3_gateway_proto, networkingpb.File_networking_v1alpha3_service_entry_proto,
		networkingpb.File_networking_v1alpha3_workload_entry_proto, networkingpb.File_networking_v1alpha3_sidecar_proto,
		securitypb.File_security_v1beta1_authorization_policy_proto, securitypb.File_security_v1beta1_request_authentication_proto,
		telemetrypb.File_telemetry_v1alpha1_telemetry_proto, meshpb.File_mesh_v1alpha1_config_proto, meshpb.File_mesh_v1alpha1_proxy_proto,
	} {
		add(f.Messages())
	}
	for name := range refusedFields {
		if !have[name] {
			t.Errorf("no message has %s", name)
		}
	}
}
