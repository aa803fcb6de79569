package client

import (
	"context"
	"maps"
	"math"
	"slices"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// wire is one of the two protocols on an open stream.
type wire interface {
	receive() (*response, error)
	// subscribe asks for a type, or changes what is asked for. inForce is sent with
	// the first request of a type, so that nothing comes twice.
	subscribe(k *kind, added, dropped []string, first bool) error
	accept(k *kind, nonce string) error
	refuse(k *kind, nonce, text string) error
}

// open opens a stream. Sets of a large mesh exceed gRPC's default of 4 MiB.
func open(ctx context.Context, conn grpc.ClientConnInterface, node *corepb.Node, delta bool) (wire, error) {
	ads := discoverypb.NewAggregatedDiscoveryServiceClient(conn)
	size := grpc.MaxCallRecvMsgSize(math.MaxInt32)
	if delta {
		s, err := ads.DeltaAggregatedResources(ctx, size)
		return &deltaWire{stream: s, node: node}, err
	}
	s, err := ads.StreamAggregatedResources(ctx, size)
	return &sotwWire{stream: s, node: node}, err
}

func refusal(text string) *statuspb.Status {
	return &statuspb.Status{Code: int32(codes.InvalidArgument), Message: text}
}

type sotwWire struct {
	stream discoverypb.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node   *corepb.Node // until it was sent
}

func (w *sotwWire) receive() (*response, error) {
	m, err := w.stream.Recv()
	if err != nil {
		return nil, err
	}
	return readSotW(m), nil
}

func (w *sotwWire) send(k *kind, nonce, version string, refused *statuspb.Status) error {
	m := &discoverypb.DiscoveryRequest{Node: w.node, TypeUrl: k.typ, ResponseNonce: nonce, VersionInfo: version,
		ResourceNames: slices.Sorted(maps.Keys(k.names)), ErrorDetail: refused}
	w.node = nil
	k.asked = nonce
	return w.stream.Send(m)
}

func (w *sotwWire) subscribe(k *kind, _, _ []string, _ bool) error {
	return w.send(k, k.nonce, k.accepted, nil)
}

// accept answers for the last response only: it replaces those before it.
func (w *sotwWire) accept(k *kind, nonce string) error {
	if nonce != k.nonce {
		return nil
	}
	return w.send(k, nonce, k.version, nil)
}

func (w *sotwWire) refuse(k *kind, nonce, text string) error {
	if nonce != k.nonce {
		return nil
	}
	return w.send(k, nonce, k.accepted, refusal(text))
}

type deltaWire struct {
	stream discoverypb.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	node   *corepb.Node
}

func (w *deltaWire) receive() (*response, error) {
	m, err := w.stream.Recv()
	if err != nil {
		return nil, err
	}
	return readDelta(m), nil
}

func (w *deltaWire) send(m *discoverypb.DeltaDiscoveryRequest) error {
	m.Node, w.node = w.node, nil
	return w.stream.Send(m)
}

func (w *deltaWire) subscribe(k *kind, added, dropped []string, first bool) error {
	m := &discoverypb.DeltaDiscoveryRequest{TypeUrl: k.typ, ResourceNamesSubscribe: added, ResourceNamesUnsubscribe: dropped}
	if first && len(k.candidate) > 0 {
		m.InitialResourceVersions = make(map[string]string, len(k.candidate))
		for name, res := range k.candidate {
			m.InitialResourceVersions[name] = res.Version
		}
	}
	return w.send(m)
}

func (w *deltaWire) accept(k *kind, nonce string) error {
	return w.send(&discoverypb.DeltaDiscoveryRequest{TypeUrl: k.typ, ResponseNonce: nonce})
}

func (w *deltaWire) refuse(k *kind, nonce, text string) error {
	return w.send(&discoverypb.DeltaDiscoveryRequest{TypeUrl: k.typ, ResponseNonce: nonce, ErrorDetail: refusal(text)})
}
