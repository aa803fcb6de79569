package serve_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/serve"
)

// ads is a server with a raw client.
type ads struct {
	t      *testing.T
	server *serve.Server
	conn   *grpc.ClientConn
	events []string
}

// bubble runs f in virtual time with a server on an in-memory connection.
func bubble(t *testing.T, f func(t *testing.T, a *ads)) {
	synctest.Test(t, func(t *testing.T) {
		a := &ads{t: t}
		a.server = serve.New(serve.Options{OnEvent: func(e serve.Event) {
			a.events = append(a.events, string(e.Kind)+" "+e.Type[strings.LastIndexByte(e.Type, '.')+1:])
		}})
		g := grpc.NewServer()
		a.server.Register(g)
		l := bufconn.Listen(1 << 20)
		go func() { _ = g.Serve(l) }()
		conn, err := grpc.NewClient("passthrough:///mesh", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		a.conn = conn
		f(t, a)
		_ = conn.Close()
		g.Stop()
	})
}

func edsCluster(name string, timeout time.Duration) *clusterpb.Cluster {
	return &clusterpb.Cluster{
		Name: name, ConnectTimeout: durationpb.New(timeout),
		ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_EDS},
		EdsClusterConfig: &clusterpb.Cluster_EdsClusterConfig{
			EdsConfig: &corepb.ConfigSource{ConfigSourceSpecifier: &corepb.ConfigSource_Ads{Ads: &corepb.AggregatedConfigSource{}}},
		},
	}
}

func assignment(name string, ports ...uint32) *endpointpb.ClusterLoadAssignment {
	group := &endpointpb.LocalityLbEndpoints{}
	for _, port := range ports {
		group.LbEndpoints = append(group.LbEndpoints, &endpointpb.LbEndpoint{HostIdentifier: &endpointpb.LbEndpoint_Endpoint{
			Endpoint: &endpointpb.Endpoint{Address: &corepb.Address{Address: &corepb.Address_SocketAddress{
				SocketAddress: &corepb.SocketAddress{Address: "10.0.0.1", PortSpecifier: &corepb.SocketAddress_PortValue{PortValue: port}}}}}}})
	}
	return &endpointpb.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointpb.LocalityLbEndpoints{group}}
}

func setOf(t *testing.T, messages ...proto.Message) resource.Set {
	t.Helper()
	set := resource.Set{}
	for _, m := range messages {
		r, err := resource.New(resource.NameOf(m), m)
		if err != nil {
			t.Fatal(err)
		}
		set.Put(r.Body.GetTypeUrl(), r)
	}
	return set
}

func (a *ads) update(revision string, messages ...proto.Message) {
	set := setOf(a.t, messages...)
	a.server.Update(serve.GeneratorFunc(func(serve.Node) (resource.Set, error) { return set, nil }), revision)
}

// sotw is a raw state-of-the-world stream.
type sotw struct {
	*ads
	s    discoverypb.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node *corepb.Node
	in   chan *discoverypb.DiscoveryResponse
}

func (a *ads) sotw(agent string) *sotw {
	s, err := discoverypb.NewAggregatedDiscoveryServiceClient(a.conn).StreamAggregatedResources(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	c := &sotw{ads: a, s: s, node: &corepb.Node{Id: "sidecar~1", UserAgentName: agent}, in: make(chan *discoverypb.DiscoveryResponse, 100)}
	go func() {
		for {
			m, err := s.Recv()
			if err != nil {
				close(c.in)
				return
			}
			c.in <- m
		}
	}()
	return c
}

func (c *sotw) ask(typ string, last *discoverypb.DiscoveryResponse, refused string, names ...string) {
	c.t.Helper()
	m := &discoverypb.DiscoveryRequest{Node: c.node, TypeUrl: typ, ResourceNames: names, ResponseNonce: last.GetNonce(), VersionInfo: last.GetVersionInfo()}
	c.node = nil
	if refused != "" {
		m.VersionInfo, m.ErrorDetail = "", &statuspb.Status{Message: refused}
	}
	if err := c.s.Send(m); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next response, which must have these resources.
func (c *sotw) next(typ string, names ...string) *discoverypb.DiscoveryResponse {
	c.t.Helper()
	synctest.Wait()
	select {
	case m := <-c.in:
		var got []string
		for _, body := range m.GetResources() {
			inner, err := body.UnmarshalNew()
			if err != nil {
				c.t.Fatal(err)
			}
			got = append(got, resource.NameOf(inner))
		}
		if m.GetTypeUrl() != typ || strings.Join(got, " ") != strings.Join(names, " ") {
			c.t.Fatalf("got %s %v, want %s %v", m.GetTypeUrl(), got, typ, names)
		}
		return m
	default:
		c.t.Fatalf("no response, want %s %v", typ, names)
		return nil
	}
}

func (c *sotw) silent() {
	c.t.Helper()
	synctest.Wait()
	if len(c.in) > 0 {
		c.t.Fatalf("unexpected response: %v", <-c.in)
	}
}

func TestStateOfTheWorld(t *testing.T) {
	bubble(t, func(t *testing.T, a *ads) {
		a.update("1", edsCluster("b", 1), edsCluster("a", 1), assignment("a", 80), assignment("b", 80), assignment("other", 1))
		c := a.sotw("test")
		c.ask(resource.Cluster, nil, "")
		cds := c.next(resource.Cluster, "a", "b")
		c.ask(resource.Cluster, cds, "")
		c.silent()
		if a.server.Synced("1") {
			t.Error("synced although the proxy has not asked for its endpoints")
		}
		c.ask(resource.Endpoint, nil, "", "a", "unknown")
		eds := c.next(resource.Endpoint, "a")
		c.ask(resource.Endpoint, eds, "", "a", "unknown")
		c.silent()
		if a.server.Synced("1") {
			t.Error("synced although b's endpoints were not asked for")
		}
		c.ask(resource.Endpoint, eds, "", "a", "b", "unknown")
		eds = c.next(resource.Endpoint, "b")
		if c.silent(); a.server.Synced("1") {
			t.Error("synced before the last ACK")
		}
		c.ask(resource.Endpoint, eds, "", "a", "b")
		c.silent()
		if !a.server.Synced("1") || a.server.Synced("2") {
			t.Errorf("not synced: %+v", a.server.Status())
		}

		// Equal content is not sent again; one endpoint's change touches only its assignment.
		a.update("2", edsCluster("b", 1), edsCluster("a", 1), assignment("a", 80), assignment("b", 80))
		if c.silent(); !a.server.Synced("2") {
			t.Error("equal content does not count as synced")
		}
		a.update("3", edsCluster("b", 1), edsCluster("a", 1), assignment("a", 80), assignment("b", 81))
		eds2 := c.next(resource.Endpoint, "b")
		c.silent()
		// A stale nonce is no answer.
		c.ask(resource.Endpoint, eds, "", "a", "b")
		if c.silent(); a.server.Synced("3") {
			t.Error("a stale answer counts")
		}
		c.ask(resource.Endpoint, eds2, "bad port", "a", "b")
		c.silent()
		err := a.server.WaitSynced(t.Context(), "3")
		var rejected *serve.RejectedError
		if !errors.As(err, &rejected) || !strings.Contains(err.Error(), "sidecar~1 refused its ClusterLoadAssignment: bad port") {
			t.Errorf("WaitSynced: %v", err)
		}
	})
}

func TestRemovalsComeLast(t *testing.T) {
	bubble(t, func(t *testing.T, a *ads) {
		a.update("1", edsCluster("old", 1), assignment("old", 80))
		c := a.sotw("test")
		c.ask(resource.Cluster, nil, "")
		cds := c.next(resource.Cluster, "old")
		c.ask(resource.Endpoint, nil, "", "old")
		eds := c.next(resource.Endpoint, "old")
		c.ask(resource.Cluster, cds, "")
		c.ask(resource.Endpoint, eds, "", "old")
		c.silent()
		a.update("2", edsCluster("new", 1), assignment("new", 80))
		cds = c.next(resource.Cluster, "new", "old")
		c.ask(resource.Endpoint, eds, "", "new", "old")
		eds = c.next(resource.Endpoint, "new")
		c.ask(resource.Cluster, cds, "")
		c.silent()
		c.ask(resource.Endpoint, eds, "", "new", "old")
		cds = c.next(resource.Cluster, "new")
		if a.server.Synced("2") {
			t.Error("synced before the removal was taken")
		}
		c.ask(resource.Cluster, cds, "")
		c.ask(resource.Endpoint, eds, "", "new")
		if err := a.server.WaitSynced(t.Context(), "2"); err != nil {
			t.Error(err)
		}
	})
}

func TestEnvoyGetsEndpointsOfChangedClustersAgain(t *testing.T) {
	for agent, want := range map[string]bool{"envoy": true, "meshproxy": false} {
		bubble(t, func(t *testing.T, a *ads) {
			a.update("1", edsCluster("a", 1), assignment("a", 80))
			c := a.sotw(agent)
			c.ask(resource.Cluster, nil, "")
			c.ask(resource.Endpoint, nil, "", "a")
			c.next(resource.Cluster, "a")
			c.next(resource.Endpoint, "a")
			a.update("2", edsCluster("a", 2), assignment("a", 80))
			c.next(resource.Cluster, "a")
			if want {
				c.next(resource.Endpoint, "a")
			}
			c.silent()
		})
	}
}

func TestReconnectWithTheSameVersion(t *testing.T) {
	bubble(t, func(t *testing.T, a *ads) {
		a.update("1", edsCluster("a", 1))
		c := a.sotw("test")
		c.ask(resource.Cluster, nil, "")
		cds := c.next(resource.Cluster, "a")
		again := a.sotw("test")
		again.ask(resource.Cluster, &discoverypb.DiscoveryResponse{VersionInfo: cds.GetVersionInfo()}, "")
		again.silent()
	})
}

// keyed makes one set for all proxies and counts how often.
type keyed struct {
	set   resource.Set
	calls int
}

func (k *keyed) Key(serve.Node) string                     { return "all" }
func (k *keyed) Generate(serve.Node) (resource.Set, error) { k.calls++; return k.set, nil }

func TestSharedWork(t *testing.T) {
	bubble(t, func(t *testing.T, a *ads) {
		k := &keyed{set: setOf(t, edsCluster("a", 1))}
		a.server.Update(k, "1")
		for range 3 {
			c := a.sotw("test")
			c.ask(resource.Cluster, nil, "")
			c.next(resource.Cluster, "a")
		}
		if k.calls != 1 {
			t.Errorf("generated %d times for three proxies with one key", k.calls)
		}
	})
}

func TestNoResources(t *testing.T) {
	bubble(t, func(t *testing.T, a *ads) {
		a.server.Update(serve.GeneratorFunc(func(serve.Node) (resource.Set, error) { return nil, errors.New("no such workload") }), "1")
		c := a.sotw("test")
		c.ask(resource.Cluster, nil, "")
		c.silent()
		if err := a.server.WaitSynced(t.Context(), "1"); err == nil || err.Error() != "sidecar~1: no such workload" {
			t.Errorf("WaitSynced: %v", err)
		}
		if want := []string{"connect ", "error "}; strings.Join(a.events, ",") != strings.Join(want, ",") {
			t.Errorf("events %q", a.events)
		}
	})
}
