package identity

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/test/bufconn"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// TestOverTheWire is the way that a proxy's identity goes: gRPC over the control
// plane's TLS, a token at first, the certificate afterwards.
func TestOverTheWire(t *testing.T) {
	const host = "istiod.istio-system.svc"
	ca, tokens := newCA(t, CAOptions{}), NewTokenIssuer(seed.New(1))
	conf, err := ca.ServerConfig(host)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(conf)))
	NewService(ca, AnyOf(tokens, PeerAuthenticator{})).Register(server)
	l := bufconn.Listen(1 << 16)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	defer func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	dial := func(from *Agent) *grpc.ClientConn {
		t.Helper()
		client, err := ClientConfig(ca.RootPEM(), host)
		if err != nil {
			t.Fatal(err)
		}
		if from != nil {
			client.Certificates = append(client.Certificates, *from.Secret(WorkloadSecret).Certificate)
		}
		conn, err := grpc.NewClient("passthrough:///control-plane", grpc.WithTransportCredentials(credentials.NewTLS(client)),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	run := func(o AgentOptions) (*Agent, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a := newAgent(t, o)
		_, err := a.renew(ctx, 0)
		return a, err
	}
	token, err := tokens.Issue("default", "bookinfo-reviews", "p")
	if err != nil {
		t.Fatal(err)
	}
	first, err := run(AgentOptions{Conn: dial(nil), ID: reviews, Token: constant(token + "\n")})
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Rotate(nil); err != nil {
		t.Fatal(err)
	}
	second, err := run(AgentOptions{Conn: dial(first), KeyType: Ed25519})
	if err != nil {
		t.Fatal(err)
	}
	if got := second.Secret(WorkloadSecret).Certificate.Leaf.URIs[0].String(); got != reviews.String() {
		t.Errorf("renewed for %s", got)
	}
	if _, err := run(AgentOptions{Conn: dial(nil), ID: reviews, Token: constant("wrong")}); err == nil {
		t.Error("a wrong token was taken")
	}
}
