// Package services has the gRPC services that the worlds know: fortio's ping, the test
// service of gRPC's interoperability tests, and health checking. What comes in is the
// path of a call; what goes out is its method with the messages' descriptors, so that
// clients can write messages as JSON. Of ours it must import nothing.
package services

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Known are the services, by name.
func Known() ([]protoreflect.ServiceDescriptor, error) {
	ping, err := Ping()
	if err != nil {
		return nil, err
	}
	return []protoreflect.ServiceDescriptor{
		ping,
		grpc_health_v1.File_grpc_health_v1_health_proto.Services().ByName("Health"),
		grpc_testing.File_grpc_testing_test_proto.Services().ByName("TestService"),
	}, nil
}

// Method finds the method of a path, /SERVICE/METHOD.
func Method(path string) (protoreflect.MethodDescriptor, error) {
	known, err := Known()
	if err != nil {
		return nil, err
	}
	service, method, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok || service == "" || method == "" {
		return nil, fmt.Errorf("%q is no path of a gRPC method, /SERVICE/METHOD", path)
	}
	var names []string
	for _, s := range known {
		if string(s.FullName()) != service {
			names = append(names, string(s.FullName()))
			continue
		}
		if m := s.Methods().ByName(protoreflect.Name(method)); m != nil {
			return m, nil
		}
		var methods []string
		for i := range s.Methods().Len() {
			methods = append(methods, string(s.Methods().Get(i).Name()))
		}
		return nil, fmt.Errorf("the service %s has no method %q; it has %s", service, method, strings.Join(methods, ", "))
	}
	return nil, fmt.Errorf("the messages of the service %q are not known; those of %s are", service, strings.Join(names, ", "))
}

// Ping describes fortio's service fgrpc.PingServer, whose generated code drags in more
// than its messages.
func Ping() (protoreflect.ServiceDescriptor, error) {
	message := &descriptorpb.DescriptorProto{Name: proto.String("PingMessage")}
	for i, f := range []struct {
		name string
		typ  descriptorpb.FieldDescriptorProto_Type
	}{
		{"seq", descriptorpb.FieldDescriptorProto_TYPE_INT64},
		{"ts", descriptorpb.FieldDescriptorProto_TYPE_INT64},
		{"payload", descriptorpb.FieldDescriptorProto_TYPE_STRING},
		{"delayNanos", descriptorpb.FieldDescriptorProto_TYPE_INT64},
	} {
		message.Field = append(message.Field, &descriptorpb.FieldDescriptorProto{
			Name: proto.String(f.name), Number: proto.Int32(int32(i + 1)), Type: f.typ.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		})
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("ping.proto"), Package: proto.String("fgrpc"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{message},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("PingServer"), Method: []*descriptorpb.MethodDescriptorProto{
			{Name: proto.String("Ping"), InputType: proto.String(".fgrpc.PingMessage"), OutputType: proto.String(".fgrpc.PingMessage")},
		}}},
	}, new(protoregistry.Files))
	if err != nil {
		return nil, fmt.Errorf("fortio's ping service: %w", err)
	}
	return file.Services().Get(0), nil
}
