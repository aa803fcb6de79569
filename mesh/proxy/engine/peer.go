package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

// The header fields in which Istio's proxies tell each other who they are: a
// google.protobuf.Struct in base64, and the id of the proxy.
const (
	peerHeader   = "x-envoy-peer-metadata"
	peerIDHeader = "x-envoy-peer-metadata-id"
)

// peersKept bounds the workloads that are remembered by what their proxies said.
const peersKept = 500

// peers makes and reads metadata about workloads.
type peers struct {
	id, self string // what is said of this proxy
	mu       sync.Mutex
	known    map[string]*stats.Workload // by the header's value
}

func newPeers(id string, self stats.Workload) *peers {
	return &peers{id: id, self: encodePeer(self), known: map[string]*stats.Workload{}}
}

// Labels of Kubernetes and of Istio that metrics tell.
const (
	labelApp               = "app"
	labelVersion           = "version"
	labelCanonicalName     = "service.istio.io/canonical-name"
	labelCanonicalRevision = "service.istio.io/canonical-revision"
)

func encodePeer(w stats.Workload) string {
	fields := func(pairs ...string) *structpb.Struct {
		s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] != "" {
				s.Fields[pairs[i]] = structpb.NewStringValue(pairs[i+1])
			}
		}
		return s
	}
	s := fields("WORKLOAD_NAME", w.Name, "NAMESPACE", w.Namespace, "CLUSTER_ID", w.Cluster)
	s.Fields["LABELS"] = structpb.NewStructValue(fields(labelApp, w.App, labelVersion, w.Version,
		labelCanonicalName, w.CanonicalService, labelCanonicalRevision, w.CanonicalRevision))
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil {
		return "" // a label that is no UTF-8: this proxy stays unknown
	}
	return base64.StdEncoding.EncodeToString(data)
}

// decode reads a header's value; nil where it is none.
func (p *peers) decode(value string) *stats.Workload {
	if value == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w, ok := p.known[value]; ok {
		return w
	}
	if len(p.known) >= peersKept {
		clear(p.known)
	}
	w := decodePeer(value)
	p.known[value] = w
	return w
}

func decodePeer(value string) *stats.Workload {
	data, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return nil
	}
	var s structpb.Struct
	if proto.Unmarshal(data, &s) != nil {
		return nil
	}
	text := func(name string) string { return s.Fields[name].GetStringValue() }
	labels := s.Fields["LABELS"].GetStructValue().GetFields()
	label := func(name string) string { return labels[name].GetStringValue() }
	return &stats.Workload{Name: text("WORKLOAD_NAME"), Namespace: text("NAMESPACE"), Cluster: text("CLUSTER_ID"),
		App: label(labelApp), Version: label(labelVersion),
		CanonicalService: label(labelCanonicalName), CanonicalRevision: label(labelCanonicalRevision)}
}

// filter is Istio's metadata exchange. The client's proxy introduces itself in the
// request, the server's in the answer to a request that did; each takes the other's
// words away, so that applications see none of them.
func (p *peers) filter(c snapshot.PeerMetadata) filter.Filter {
	if c.Downstream {
		return p.server
	}
	return p.client
}

func (p *peers) client(next filter.Handler) filter.Handler {
	return func(ctx context.Context, x *filter.Exchange) (*message.Response, error) {
		p.introduce(&x.Request.Header)
		resp, err := next(ctx, x)
		if err == nil {
			x.Peer, _ = p.take(&resp.Header)
		}
		return resp, err
	}
}

func (p *peers) server(next filter.Handler) filter.Handler {
	return func(ctx context.Context, x *filter.Exchange) (*message.Response, error) {
		var introduced bool
		x.Peer, introduced = p.take(&x.Request.Header)
		resp, err := next(ctx, x)
		if !introduced {
			return resp, err
		}
		var local *reply.Reply
		switch {
		case err == nil:
			p.introduce(&resp.Header)
		case errors.As(err, &local):
			answer := *local
			answer.Header = local.Header.Clone()
			p.introduce(&answer.Header)
			err = &answer
		}
		return resp, err
	}
}

func (p *peers) introduce(h *message.Header) {
	h.Set(peerHeader, p.self)
	h.Set(peerIDHeader, p.id)
}

// take removes what a peer said, and tells whether it said anything.
func (p *peers) take(h *message.Header) (*stats.Workload, bool) {
	if !h.Has(peerHeader) && !h.Has(peerIDHeader) {
		return nil, false
	}
	w := p.decode(h.Get(peerHeader))
	h.Del(peerHeader)
	h.Del(peerIDHeader)
	return w, true
}
