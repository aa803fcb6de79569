package engine

import (
	"context"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

func TestProxiesTellEachOtherTheirWorkloads(t *testing.T) {
	a := stats.Workload{Name: "a-v1", Namespace: "default", App: "a", Version: "v1", CanonicalService: "a", CanonicalRevision: "v1", Cluster: "Kubernetes"}
	b := stats.Workload{Name: "b-v2", Namespace: "other", App: "b", Version: "v2", CanonicalService: "b", CanonicalRevision: "v2"}
	for _, c := range []struct {
		name   string
		answer func() (*message.Response, error)
	}{
		{"an answer", func() (*message.Response, error) { return &message.Response{Status: 200}, nil }},
		{"the server's proxy's own answer", func() (*message.Response, error) { return nil, &reply.Reply{Status: 503} }},
	} {
		var seen, served filter.Exchange
		server := newPeers("b~id", b).filter(snapshot.PeerMetadata{Downstream: true})(func(_ context.Context, x *filter.Exchange) (*message.Response, error) {
			seen = *x
			return c.answer()
		})
		client := newPeers("a~id", a).filter(snapshot.PeerMetadata{})(func(ctx context.Context, x *filter.Exchange) (*message.Response, error) {
			served = filter.Exchange{Request: &message.Request{Header: x.Request.Header.Clone()}}
			p, err := server(ctx, &served)
			if r, ok := err.(*reply.Reply); ok { // on the wire it is an answer as any
				p, err = &message.Response{Status: r.Status, Header: r.Header}, nil
			}
			return p, err
		})
		x := &filter.Exchange{Request: &message.Request{}}
		p, err := client(context.Background(), x)
		if err != nil {
			t.Fatal(err)
		}
		if seen.Peer == nil || *seen.Peer != a || len(seen.Request.Header) != 0 {
			t.Errorf("%s: the server knows %+v and passes on %v", c.name, seen.Peer, seen.Request.Header)
		}
		if x.Peer == nil || *x.Peer != b || len(p.Header) != 0 {
			t.Errorf("%s: the client knows %+v and passes on %v", c.name, x.Peer, p.Header)
		}
	}
}

func TestWhatIsNoMetadataIsUnknown(t *testing.T) {
	server := newPeers("b~id", stats.Workload{Name: "b"}).filter(snapshot.PeerMetadata{Downstream: true})(
		func(context.Context, *filter.Exchange) (*message.Response, error) {
			return &message.Response{Status: 200}, nil
		})
	for value, answers := range map[string]int{"": 0, "!": 2, "AAAA": 2} {
		x := &filter.Exchange{Request: &message.Request{}}
		if value != "" {
			x.Request.Header.Add(peerHeader, value)
		}
		p, err := server(context.Background(), x)
		if err != nil || x.Peer != nil || len(x.Request.Header) != 0 || len(p.Header) != answers {
			t.Errorf("%q: peer %+v, request %v, answer %v, %v", value, x.Peer, x.Request.Header, p.Header, err)
		}
	}
}
