package images

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/windtunnel-mesh/windtunnel/load/services"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// grpcWindow is a window that gRPC does not change by measuring round trips.
const grpcWindow = 1 << 20

// grpcServer serves fortio's ping, gRPC's test service and health, with a declared
// behaviour in front.
type grpcServer struct {
	server   *grpc.Server
	behaves  spec.GRPCBehaviour
	seed     seed.Seed
	hostname string
	served   atomic.Uint64
	slots    chan struct{} // nil: no limit
}

func newGRPC(c Container, s spec.GRPCBehaviour) (Server, error) {
	g := &grpcServer{behaves: s, seed: c.Seed.Sub("grpc"), hostname: c.hostname()}
	if s.Concurrency > 0 {
		g.slots = make(chan struct{}, s.Concurrency)
	}
	g.server = grpc.NewServer(grpc.InitialWindowSize(grpcWindow), grpc.InitialConnWindowSize(grpcWindow),
		grpc.UnaryInterceptor(g.unary), grpc.StreamInterceptor(g.stream))
	ping, err := services.Ping()
	if err != nil {
		return nil, err
	}
	g.server.RegisterService(pingService(ping), nil)
	grpc_testing.RegisterTestServiceServer(g.server, &testService{hostname: c.hostname()})
	h := health.NewServer()
	h.SetServingStatus("ping", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(g.server, h)
	return g, nil
}

// Serve implements Server.
func (g *grpcServer) Serve(l net.Listener) error { return g.server.Serve(l) }

// Close implements Server: it ends all calls.
func (g *grpcServer) Close() error {
	g.server.Stop()
	return nil
}

func (g *grpcServer) unary(ctx context.Context, in any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	done, err := g.behave(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return next(ctx, in)
}

func (g *grpcServer) stream(srv any, x grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	done, err := g.behave(x.Context())
	if err != nil {
		return err
	}
	defer done()
	return next(srv, x)
}

// behave waits for a free slot and takes its time; the error is the answer.
func (g *grpcServer) behave(ctx context.Context) (done func(), err error) {
	n := g.served.Add(1)
	b := &behaviour{spec: spec.HTTPBehaviour{Latency: g.behaves.Latency}, seed: g.seed}
	done = func() {}
	if g.slots != nil {
		select {
		case g.slots <- struct{}{}:
			done = func() { <-g.slots }
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	if !sleep(ctx, b.latency(n)) {
		done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	code := g.behaves.Status
	if b.draw("error", n) < g.behaves.Errors.Rate {
		if code = g.behaves.Errors.Status; code == 0 {
			code = int(codes.Unavailable)
		}
	}
	if code != 0 {
		done()
		return nil, status.Error(codes.Code(code), g.behaves.Message)
	}
	return done, nil
}

// pingService is fortio's: what comes goes back with the time, after a delay that the
// client chooses.
func pingService(d protoreflect.ServiceDescriptor) *grpc.ServiceDesc {
	m := d.Methods().Get(0)
	field := func(x *dynamicpb.Message, name protoreflect.Name) protoreflect.FieldDescriptor {
		return x.Descriptor().Fields().ByName(name)
	}
	ping := func(ctx context.Context, in any) (any, error) {
		x := in.(*dynamicpb.Message)
		x.Set(field(x, "ts"), protoreflect.ValueOfInt64(time.Now().UnixNano()))
		if !sleep(ctx, time.Duration(x.Get(field(x, "delayNanos")).Int())) {
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		return x, nil
	}
	return &grpc.ServiceDesc{ServiceName: string(d.FullName()), HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: string(m.Name()),
		Handler: func(_ any, ctx context.Context, decode func(any) error, around grpc.UnaryServerInterceptor) (any, error) {
			in := dynamicpb.NewMessage(m.Input())
			if err := decode(in); err != nil {
				return nil, err
			}
			return around(ctx, in, &grpc.UnaryServerInfo{FullMethod: "/" + string(d.FullName()) + "/" + string(m.Name())}, ping)
		},
	}}}
}

// testService is the service of gRPC's interoperability tests.
type testService struct {
	grpc_testing.UnimplementedTestServiceServer
	hostname string
}

// maxPayload bounds an answer that a client asks for, in bytes.
const maxPayload = 4 << 20

func payload(size int32) (*grpc_testing.Payload, error) {
	if size < 0 || size > maxPayload {
		return nil, status.Errorf(codes.InvalidArgument, "a payload of %d bytes", size)
	}
	return &grpc_testing.Payload{Body: make([]byte, size)}, nil
}

func asked(s *grpc_testing.EchoStatus) error {
	if s.GetCode() == 0 {
		return nil
	}
	return status.Error(codes.Code(s.GetCode()), s.GetMessage())
}

// EmptyCall implements the test service.
func (s *testService) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return &grpc_testing.Empty{}, nil
}

// UnaryCall implements the test service.
func (s *testService) UnaryCall(_ context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	if err := asked(in.GetResponseStatus()); err != nil {
		return nil, err
	}
	out := &grpc_testing.SimpleResponse{ServerId: s.hostname, Hostname: s.hostname}
	if in.GetResponseSize() == 0 {
		out.Payload = in.GetPayload()
		return out, nil
	}
	var err error
	out.Payload, err = payload(in.GetResponseSize())
	return out, err
}

// StreamingOutputCall implements the test service: an answer of each size, each after
// its interval.
func (s *testService) StreamingOutputCall(in *grpc_testing.StreamingOutputCallRequest, out grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	return answerAll(in, out)
}

func answerAll(in *grpc_testing.StreamingOutputCallRequest, out grpc.ServerStream) error {
	for _, p := range in.GetResponseParameters() {
		if !sleep(out.Context(), time.Duration(p.GetIntervalUs())*time.Microsecond) {
			return status.FromContextError(out.Context().Err()).Err()
		}
		body, err := payload(p.GetSize())
		if err != nil {
			return err
		}
		if err := out.SendMsg(&grpc_testing.StreamingOutputCallResponse{Payload: body}); err != nil {
			return err
		}
	}
	return asked(in.GetResponseStatus())
}

// StreamingInputCall implements the test service: the size of all payloads.
func (s *testService) StreamingInputCall(x grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	total := 0
	for {
		in, err := x.Recv()
		if errors.Is(err, io.EOF) {
			return x.SendAndClose(&grpc_testing.StreamingInputCallResponse{AggregatedPayloadSize: int32(total)})
		}
		if err != nil {
			return err
		}
		total += len(in.GetPayload().GetBody())
	}
}

// FullDuplexCall implements the test service: each request is answered when it comes.
func (s *testService) FullDuplexCall(x grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	for {
		in, err := x.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = answerAll(in, x)
		}
		if err != nil {
			return err
		}
	}
}

// HalfDuplexCall implements the test service: all are answered when the last has come.
func (s *testService) HalfDuplexCall(x grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	var all []*grpc_testing.StreamingOutputCallRequest
	for {
		in, err := x.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		all = append(all, in)
	}
	for _, in := range all {
		if err := answerAll(in, x); err != nil {
			return err
		}
	}
	return nil
}
