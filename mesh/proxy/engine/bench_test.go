package engine

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// answers serves the same small answer to whatever comes in one piece.
func answers(b *testing.B) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				buf := make([]byte, 4096)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello")); err != nil {
						return
					}
				}
			}()
		}
	}()
	return netx.AddrPort(l.Addr())
}

// BenchmarkForward is router, cluster and pool without a downstream: one call at a
// time over one keep-alive connection on loopback.
func BenchmarkForward(b *testing.B) {
	e := New(Options{Network: netx.System{}, Seed: seed.New(1)})
	defer func() { _ = e.Close() }()
	breaker := snapshot.Breaker{MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3}
	cluster := &snapshot.Cluster{Name: "web", ConnectTimeout: time.Second, Breaker: [2]snapshot.Breaker{breaker, breaker}, Balancer: snapshot.LeastRequest,
		Endpoints: []*snapshot.Locality{{Endpoints: []*snapshot.Endpoint{{Address: answers(b), Weight: 1}}}}}
	if err := e.UpdateClusters(map[string]*snapshot.Cluster{"web": cluster}); err != nil {
		b.Fatal(err)
	}
	root := "/"
	routes := &snapshot.RouteConfig{VirtualHosts: []*snapshot.VirtualHost{{Domains: []string{"*"}, Routes: []*snapshot.Route{{
		Match: snapshot.RouteMatch{Prefix: &root}, Forward: &snapshot.Forward{Clusters: []snapshot.WeightedCluster{{Name: "web"}},
			Retry: &snapshot.Retry{On: []string{"connect-failure", "refused-stream"}, Attempts: 2}}}}}}}
	h, err := e.Handler(&snapshot.HTTPManager{StatPrefix: "b", Routes: routes, Filters: []snapshot.Filter{snapshot.Router{}}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	header := message.Header{{Name: "user-agent", Value: "bench"}, {Name: "x-request-id", Value: "0b6e6a84-36a2-4a3c-9e1c-8a3f0a6f4f10"}, {Name: "accept", Value: "*/*"}}
	conn, buf := &message.Conn{}, make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		r := &message.Request{Method: "GET", Authority: "web", Path: "/", Header: header, Stream: &message.Stream{Conn: conn, Start: time.Now()}}
		p, err := h.Serve(context.Background(), r)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = p.Body.Read(buf)
		}
		_ = p.Body.Close()
	}
}
