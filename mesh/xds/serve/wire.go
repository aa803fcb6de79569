package serve

import (
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
)

// wire is one of the two protocols on a stream.
type wire interface {
	// receive returns the node where the request names it.
	receive() (*request, *corepb.Node, error)
	send(*response) error
}

type stateOfTheWorld struct {
	discoverypb.AggregatedDiscoveryService_StreamAggregatedResourcesServer
	identifier string
}

func (w stateOfTheWorld) receive() (*request, *corepb.Node, error) {
	m, err := w.Recv()
	if err != nil {
		return nil, nil, err
	}
	r := &request{typ: m.GetTypeUrl(), nonce: m.GetResponseNonce(), names: m.GetResourceNames(), version: m.GetVersionInfo()}
	r.refuse(m.GetErrorDetail())
	return r, m.GetNode(), nil
}

func (w stateOfTheWorld) send(r *response) error {
	m := &discoverypb.DiscoveryResponse{
		VersionInfo:  r.version,
		TypeUrl:      r.typ,
		Nonce:        r.nonce,
		Resources:    make([]*anypb.Any, len(r.resources)),
		ControlPlane: &corepb.ControlPlane{Identifier: w.identifier},
	}
	for i, res := range r.resources {
		m.Resources[i] = res.Body
	}
	return w.Send(m)
}

type incremental struct {
	discoverypb.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	identifier string
}

func (w incremental) receive() (*request, *corepb.Node, error) {
	m, err := w.Recv()
	if err != nil {
		return nil, nil, err
	}
	r := &request{typ: m.GetTypeUrl(), nonce: m.GetResponseNonce(), subscribe: m.GetResourceNamesSubscribe(),
		unsubscribe: m.GetResourceNamesUnsubscribe(), initial: m.GetInitialResourceVersions()}
	r.refuse(m.GetErrorDetail())
	return r, m.GetNode(), nil
}

func (w incremental) send(r *response) error {
	m := &discoverypb.DeltaDiscoveryResponse{
		SystemVersionInfo: r.version,
		TypeUrl:           r.typ,
		Nonce:             r.nonce,
		RemovedResources:  r.removed,
		Resources:         make([]*discoverypb.Resource, len(r.resources)),
		ControlPlane:      &corepb.ControlPlane{Identifier: w.identifier},
	}
	for i, res := range r.resources {
		m.Resources[i] = &discoverypb.Resource{Name: res.Name, Version: res.Version, Resource: res.Body}
	}
	return w.Send(m)
}

// refuse notes an error_detail. One without a text is a refusal all the same.
func (r *request) refuse(s *statuspb.Status) {
	if s == nil {
		return
	}
	r.failed = true
	if r.refused = s.GetMessage(); r.refused == "" {
		r.refused = codes.Code(s.GetCode()).String()
	}
}
