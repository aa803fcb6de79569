package proxy_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
	"github.com/windtunnel-mesh/windtunnel/sim/simnet"
)

// identity is one certificate that signs itself and is trusted.
type identity struct{ secret *secret.Secret }

func (s identity) Secret(string) *secret.Secret { return s.secret }
func (s identity) Changed() <-chan struct{}     { return nil }

func newIdentity(t *testing.T) identity {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	u, _ := url.Parse("spiffe://cluster.local/ns/default/sa/echo")
	template := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{u}, NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return identity{&secret.Secret{Certificate: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, Roots: roots}}
}

// echo is a gRPC service: Say answers, or fails for "fail"; Talk answers every message.
var echo = grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "there"))
		if in.Value == "fail" {
			return nil, status.Error(codes.FailedPrecondition, "as asked")
		}
		return in, nil
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Talk", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		for {
			in := new(wrapperspb.StringValue)
			if err := s.RecvMsg(in); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := s.SendMsg(in); err != nil {
				return err
			}
		}
	}}},
}

// hop is a proxy's configuration with one listener and one cluster.
func hop(listen, to string, down *snapshot.ServerTLS, up *snapshot.ClientTLS) *snapshot.Proxy {
	root := "/"
	c := &snapshot.Cluster{Name: "next", ConnectTimeout: time.Second, HTTP: snapshot.HTTPOptions{HTTP2: true, IdleTimeout: time.Hour},
		Endpoints: []*snapshot.Locality{{Endpoints: []*snapshot.Endpoint{{Address: netip.MustParseAddrPort(to), Weight: 1}}}}}
	if up != nil {
		c.Transports = []snapshot.Transport{{TLS: up}}
	}
	for i := range c.Breaker {
		c.Breaker[i] = snapshot.Breaker{MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3}
	}
	table := &snapshot.RouteConfig{Name: "all", VirtualHosts: []*snapshot.VirtualHost{{Name: "all", Domains: []string{"*"},
		Routes: []*snapshot.Route{{Name: "r", Match: snapshot.RouteMatch{Prefix: &root}, Forward: &snapshot.Forward{Clusters: []snapshot.WeightedCluster{{Name: "next", Weight: 1}}}}}}}}
	return &snapshot.Proxy{Version: "1", Routes: map[string]*snapshot.RouteConfig{"all": table}, Clusters: map[string]*snapshot.Cluster{"next": c},
		Listeners: []*snapshot.Listener{{Name: "in", Address: netip.MustParseAddrPort(listen), BindToPort: true, HTTPInspector: nil,
			Default: &snapshot.FilterChain{TLS: down, HandshakeTimeout: time.Second,
				HTTP: &snapshot.HTTPManager{StatPrefix: "in", RouteConfig: "all", GenerateRequestID: true, StreamIdleTimeout: 5 * time.Minute, Filters: []snapshot.Filter{snapshot.Router{}}}}}}}
}

// journal notes what happened when, in virtual time.
type journal struct {
	mu    sync.Mutex
	begin time.Time
	lines []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprint(time.Since(j.begin), " ")+fmt.Sprintf(format, args...))
}

// throughTwoProxies is client -> h2c -> proxy -> mTLS h2 -> proxy -> h2c -> server.
func throughTwoProxies(t *testing.T) string {
	j := &journal{}
	synctest.Test(t, func(t *testing.T) {
		j.begin = time.Now()
		world := simnet.New(simnet.Options{Seed: seed.New(1), Latency: time.Millisecond})
		network := func(name, addr string) netx.Network {
			h, err := world.AddHost(name, netip.MustParseAddr(addr))
			if err != nil {
				t.Fatal(err)
			}
			return h.Network(0, 0)
		}
		app, near, far, server := network("app", "10.0.0.1"), network("near", "10.0.0.2"), network("far", "10.0.0.3"), network("server", "10.0.0.4")
		l, err := server.Listen(t.Context(), "10.0.0.4:50051")
		if err != nil {
			t.Fatal(err)
		}
		service := grpc.NewServer()
		service.RegisterService(&echo, nil)
		go func() { _ = service.Serve(l) }()
		id := newIdentity(t)
		start := func(name string, n netx.Network, c *snapshot.Proxy) *proxy.Proxy {
			p := proxy.New(proxy.Options{Network: n, Seed: seed.New(1).Sub(name), Secrets: id, AccessLog: func(e accesslog.Entry) {
				j.note("%s %s", name, describe(e))
			}})
			if err := p.Apply(c); err != nil {
				t.Fatal(err)
			}
			return p
		}
		last := start("far", far, hop("10.0.0.3:15006", "10.0.0.4:50051", &snapshot.ServerTLS{Certificate: "default", ValidationContext: "ROOTCA", RequireClientCert: true, ALPN: []string{"h2", "http/1.1"}}, nil))
		first := start("near", near, hop("10.0.0.2:80", "10.0.0.3:15006", nil, &snapshot.ClientTLS{Certificate: "default", ValidationContext: "ROOTCA", ALPN: []string{"istio-h2", "istio", "h2"}}))
		conn, err := grpc.NewClient("passthrough:///10.0.0.2:80", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return app.Dial(ctx, addr) }))
		if err != nil {
			t.Fatal(err)
		}
		unary(t, j, conn)
		talk(t, j, conn)
		cancelled(t, j, conn)
		_ = conn.Close()
		time.Sleep(time.Second)
		for _, p := range []*proxy.Proxy{first, last} {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		service.Stop()
		_ = world.Close()
		time.Sleep(time.Minute) // the bubble ends only if all goroutines do
	})
	return strings.Join(j.lines, "\n")
}

func unary(t *testing.T, j *journal, conn *grpc.ClientConn) {
	for _, word := range []string{"hello", "fail", "again"} {
		var trailer metadata.MD
		out := new(wrapperspb.StringValue)
		err := conn.Invoke(t.Context(), "/test.Echo/Say", wrapperspb.String(word), out, grpc.Trailer(&trailer))
		j.note("%s: %q %v %v", word, out.Value, status.Code(err), trailer["x-trailer"])
		if want := map[string]codes.Code{"fail": codes.FailedPrecondition}[word]; status.Code(err) != want || len(trailer["x-trailer"]) != 1 || want == 0 && out.Value != word {
			t.Errorf("%s: %v %v %v", word, out, err, trailer)
		}
	}
}

// talk sends more than all windows together hold while nobody reads the answers, and
// both ways in turn.
func talk(t *testing.T, j *journal, conn *grpc.ClientConn) {
	s, err := conn.NewStream(t.Context(), &echo.Streams[0], "/test.Echo/Talk")
	if err != nil {
		t.Fatal(err)
	}
	in := new(wrapperspb.StringValue)
	for i := range 3 {
		if err := s.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(in); err != nil || in.Value != fmt.Sprint(i) {
			t.Fatalf("%v %v", in, err)
		}
		j.note("talk %d", i)
	}
	const pieces = 200
	sent := make(chan error, 1)
	go func() {
		piece := wrapperspb.String(strings.Repeat("x", 64<<10))
		for range pieces {
			if err := s.SendMsg(piece); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.CloseSend()
	}()
	time.Sleep(time.Second)
	select {
	case <-sent:
		t.Error("nothing held the sender back")
	default:
	}
	got := 0
	for {
		if err := s.RecvMsg(in); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got += len(in.Value)
	}
	if err := <-sent; err != nil || got != pieces*64<<10 {
		t.Errorf("got %d bytes, %v", got, err)
	}
	j.note("talked %d", got)
}

// cancelled goes away in the middle; the server hears of it.
func cancelled(t *testing.T, j *journal, conn *grpc.ClientConn) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := conn.NewStream(ctx, &echo.Streams[0], "/test.Echo/Talk")
	if err != nil {
		t.Fatal(err)
	}
	in := new(wrapperspb.StringValue)
	if err := s.SendMsg(wrapperspb.String("one")); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(in); err != nil {
		t.Fatal(err)
	}
	cancel()
	err = s.RecvMsg(in)
	j.note("cancelled: %v", status.Code(err))
	time.Sleep(100 * time.Millisecond)
}

func describe(e accesslog.Entry) string {
	return fmt.Sprint(e.Path, " ", e.Protocol, " ", e.Status, " ", e.Flags, " ", e.Details, " ", e.BytesReceived, "/", e.BytesSent, " in ", e.Duration, " ", e.MutualTLS, " ", e.RequestID)
}

func TestGRPCThroughTwoProxies(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as worlds run
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	first := throughTwoProxies(t)
	t.Log("\n" + first)
	for range 9 {
		if next := throughTwoProxies(t); untimed(next) != untimed(first) {
			t.Fatalf("another run went otherwise:\n%s\n\nthan:\n%s", next, first)
		}
	}
}

// untimed is a journal without the times that follow the large stream: how grpc-go cuts
// megabytes into writes depends on when the Go scheduler takes the processor from it,
// which a busy machine decides. What happens, in which order, does not.
func untimed(journal string) string {
	before, after, _ := strings.Cut(journal, "talk 2")
	return before + times.ReplaceAllString(after, "")
}

var times = regexp.MustCompile(`(?m)^[0-9a-zµ.]+ | in [0-9a-zµ.]+`)
