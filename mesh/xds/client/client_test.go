package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/client"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/serve"
)

// mesh is a server and one client, in virtual time.
type mesh struct {
	t      *testing.T
	server *serve.Server
	client *client.Client
	// updates are what OnUpdate got, events what the server saw.
	updates, events []string
	// refuse makes OnUpdate fail.
	refuse error
	static proto.Message
	names  bool // the client asks for the name table, too

	grpc *grpc.Server
	buf  *bufconn.Listener
}

func bothProtocols(t *testing.T, f func(t *testing.T, m *mesh)) {
	for _, delta := range []bool{false, true} {
		t.Run(fmt.Sprintf("delta=%t", delta), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { bubble(t, delta, &mesh{}, f) })
		})
	}
}

func bubble(t *testing.T, delta bool, m *mesh, f func(t *testing.T, m *mesh)) {
	m.t = t
	m.server = serve.New(serve.Options{OnEvent: func(e serve.Event) {
		if e.Kind != serve.Pushed {
			m.events = append(m.events, strings.TrimSpace(string(e.Kind)+" "+short(e.Type)+" "+e.Text))
			return
		}
		m.events = append(m.events, fmt.Sprintf("push %s +%d -%d", short(e.Type), e.Count, e.Removed))
	}})
	m.up()
	conn, err := grpc.NewClient("passthrough:///mesh", append(client.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return m.buf.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	inFile := resource.Set{}
	if m.static != nil {
		r, err := resource.New(resource.NameOf(m.static), m.static)
		if err != nil {
			t.Fatal(err)
		}
		inFile.Put(r.Body.GetTypeUrl(), r)
	}
	m.client, err = client.New(client.Options{Static: inFile, Names: m.names, Conn: conn, Delta: delta, Seed: seed.New(1), Node: &corepb.Node{Id: "sidecar~1"},
		OnUpdate: func(s resource.Set) error {
			m.updates = append(m.updates, describe(s))
			return m.refuse
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.client.Run(ctx) }()
	f(t, m)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
	_ = conn.Close()
	m.grpc.Stop()
}

// up starts the gRPC server, down breaks it with all streams.
func (m *mesh) up() {
	m.buf = bufconn.Listen(1 << 20)
	m.grpc = grpc.NewServer()
	m.server.Register(m.grpc)
	go func(g *grpc.Server, l net.Listener) { _ = g.Serve(l) }(m.grpc, m.buf)
}

func (m *mesh) down() { m.grpc.Stop(); synctest.Wait() }

func short(t string) string {
	if t = t[strings.LastIndexByte(t, '.')+1:]; t == "" {
		return t
	}
	return map[string]string{"Cluster": "CDS", "ClusterLoadAssignment": "EDS", "Listener": "LDS", "RouteConfiguration": "RDS", "NameTable": "NDS"}[t]
}

func describe(s resource.Set) string {
	var out []string
	for _, t := range resource.Types {
		if names := s.Names(t); len(names) > 0 {
			out = append(out, short(t)+" "+strings.Join(names, ","))
		}
	}
	return strings.Join(out, "; ")
}

func (m *mesh) update(revision string, messages ...proto.Message) {
	set := resource.Set{}
	for _, msg := range messages {
		r, err := resource.New(resource.NameOf(msg), msg)
		if err != nil {
			m.t.Fatal(err)
		}
		set.Put(r.Body.GetTypeUrl(), r)
	}
	m.server.Update(serve.GeneratorFunc(func(serve.Node) (resource.Set, error) { return set, nil }), revision)
}

func (m *mesh) synced(revision string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	if err := m.server.WaitSynced(ctx, revision); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mesh) inForce(want string) {
	m.t.Helper()
	if got := describe(m.client.Set()); got != want {
		m.t.Errorf("in force: %s\nwant:     %s", got, want)
	}
}

var fromADS = &corepb.ConfigSource{ConfigSourceSpecifier: &corepb.ConfigSource_Ads{Ads: &corepb.AggregatedConfigSource{}}}

func cluster(name string, seconds int64) *clusterpb.Cluster {
	return &clusterpb.Cluster{Name: name, ConnectTimeout: &durationpb.Duration{Seconds: seconds},
		ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_EDS},
		EdsClusterConfig:     &clusterpb.Cluster_EdsClusterConfig{EdsConfig: fromADS}}
}

func endpoints(name string, weight uint32) *endpointpb.ClusterLoadAssignment {
	return &endpointpb.ClusterLoadAssignment{ClusterName: name,
		Endpoints: []*endpointpb.LocalityLbEndpoints{{Priority: weight}}}
}

func listener(t *testing.T, name, routes string) *listenerpb.Listener {
	t.Helper()
	manager, err := anypb.New(&hcmpb.HttpConnectionManager{RouteSpecifier: &hcmpb.HttpConnectionManager_Rds{
		Rds: &hcmpb.Rds{RouteConfigName: routes, ConfigSource: fromADS}}})
	if err != nil {
		t.Fatal(err)
	}
	return &listenerpb.Listener{Name: name, FilterChains: []*listenerpb.FilterChain{{Filters: []*listenerpb.Filter{{
		Name: "http", ConfigType: &listenerpb.Filter_TypedConfig{TypedConfig: manager}}}}}}
}

func routes(name string) *routepb.RouteConfiguration { return &routepb.RouteConfiguration{Name: name} }

func TestConverge(t *testing.T) {
	bothProtocols(t, func(t *testing.T, m *mesh) {
		start := time.Now()
		m.update("1", cluster("a", 1), cluster("b", 1), endpoints("a", 0), endpoints("b", 0), listener(t, "l", "r"), routes("r"), routes("unused"))
		for len(m.updates) == 0 {
			time.Sleep(time.Millisecond)
		}
		m.synced("1")
		const all = "CDS a,b; EDS a,b; LDS l; RDS r"
		m.inForce(all)
		if len(m.updates) != 1 {
			t.Errorf("an incomplete set was offered: %q", m.updates)
		}
		if took := time.Since(start); took > 10*time.Millisecond {
			t.Errorf("converged in %v of virtual time", took)
		}

		// A change of one endpoint is one EDS response with one resource.
		m.events = nil
		m.update("2", cluster("a", 1), cluster("b", 1), endpoints("a", 1), endpoints("b", 0), listener(t, "l", "r"), routes("r"))
		m.synced("2")
		if got := strings.Join(m.events, ", "); got != "push EDS +1 -0, ack EDS" {
			t.Errorf("events %s", got)
		}

		// Clusters go after what replaced them, and their endpoints are let go of.
		m.update("3", cluster("c", 1), endpoints("c", 1), listener(t, "l", "r2"), routes("r2"))
		m.synced("3")
		time.Sleep(time.Millisecond) // what is let go of is said right after that
		m.inForce("CDS c; EDS c; LDS l; RDS r2")
		if st := m.server.Status()[0]; !st.Synced || st.Revision != "3" || st.Types[1].Names != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestRefusal(t *testing.T) {
	bothProtocols(t, func(t *testing.T, m *mesh) {
		m.update("1", cluster("a", 1), endpoints("a", 0), listener(t, "l", "r"), routes("r"))
		time.Sleep(time.Second)
		m.synced("1")
		good := m.client.Set()

		m.refuse = errors.New(`cluster "a": ring of cheese: not supported`)
		m.update("2", cluster("a", 2), endpoints("a", 0), listener(t, "l", "r"), routes("r"))
		err := m.server.WaitSynced(t.Context(), "2")
		var rejected *serve.RejectedError
		if !errors.As(err, &rejected) || len(rejected.Rejections) != 1 || rejected.Rejections[0].Text != m.refuse.Error() {
			t.Fatalf("WaitSynced: %v", err)
		}
		if fmt.Sprint(m.client.Set()) != fmt.Sprint(good) {
			t.Error("the last good set is not in force any more")
		}

		// With a repaired listener the refused cluster turns out well.
		m.refuse = nil
		m.update("3", cluster("a", 2), endpoints("a", 0), listener(t, "l2", "r"), routes("r"))
		m.synced("3")
		m.inForce("CDS a; EDS a; LDS l2; RDS r")
		if m.client.Set()[resource.Cluster]["a"].Version == good[resource.Cluster]["a"].Version {
			t.Error("the cluster did not change")
		}
	})
}

func TestReconnect(t *testing.T) {
	bothProtocols(t, func(t *testing.T, m *mesh) {
		m.update("1", cluster("a", 1), cluster("b", 1), endpoints("a", 0), endpoints("b", 0))
		time.Sleep(time.Second)
		m.synced("1")
		m.down()
		m.update("2", cluster("b", 1), endpoints("b", 7))
		time.Sleep(time.Minute)
		m.inForce("CDS a,b; EDS a,b")
		m.events, m.updates = nil, nil
		m.up()
		time.Sleep(time.Minute)
		m.synced("2")
		m.inForce("CDS b; EDS b")
		for _, e := range m.events {
			if strings.HasPrefix(e, "push EDS +2") || strings.HasPrefix(e, "push CDS +2") {
				t.Errorf("sent again: %q", m.events)
			}
		}
	})
}

func TestMissingEndpoints(t *testing.T) {
	bothProtocols(t, func(t *testing.T, m *mesh) {
		m.update("1", cluster("a", 1), endpoints("a", 0))
		time.Sleep(time.Second)
		m.synced("1")
		// b's endpoints do not exist yet: what is in force stays, for a while.
		m.update("2", cluster("a", 1), cluster("b", 1), endpoints("a", 0))
		time.Sleep(10 * time.Second)
		m.inForce("CDS a; EDS a")
		if m.server.Synced("2") {
			t.Error("synced although b waits for its endpoints")
		}
		time.Sleep(10 * time.Second)
		m.inForce("CDS a,b; EDS a")
		m.synced("2")
		// Endpoints that go away while their cluster stays are kept.
		m.update("3", cluster("a", 1), cluster("b", 1), endpoints("b", 0))
		m.synced("3")
		m.inForce("CDS a,b; EDS a,b")
	})
}

func TestStaticResources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bubble(t, true, &mesh{static: listener(t, "static", "r")}, func(t *testing.T, m *mesh) {
			m.update("1", cluster("a", 1), endpoints("a", 0), routes("r"))
			time.Sleep(time.Second)
			m.synced("1")
			m.inForce("CDS a; EDS a; LDS static; RDS r")
			m.down()
			m.up()
			time.Sleep(time.Minute)
			m.update("2", cluster("a", 2), endpoints("a", 0), routes("r"))
			m.synced("2")
			m.inForce("CDS a; EDS a; LDS static; RDS r")
		})
	})
}
