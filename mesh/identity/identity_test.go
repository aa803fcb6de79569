package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	capb "istio.io/api/security/v1alpha1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

var reviews = ID{"cluster.local", "default", "bookinfo-reviews"}

// conn calls the service in this process.
type conn struct {
	service *Service
	down    error
	calls   int
}

func (c *conn) Invoke(ctx context.Context, _ string, in, out any, _ ...grpc.CallOption) error {
	c.calls++
	if c.down != nil {
		return c.down
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	answer, err := c.service.CreateCertificate(metadata.NewIncomingContext(ctx, md), in.(*capb.IstioCertificateRequest))
	if err == nil {
		proto.Merge(out.(proto.Message), answer)
	}
	return err
}

func (c *conn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("the service has no streams")
}

func newCA(t *testing.T, o CAOptions) *CA {
	t.Helper()
	ca, err := NewCA(o)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newAgent(t *testing.T, o AgentOptions) *Agent {
	t.Helper()
	a, err := NewAgent(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func constant(token string) func() (string, error) {
	return func() (string, error) { return token, nil }
}

func deterministic() CAOptions {
	return CAOptions{KeyType: Ed25519, Deterministic: true, Seed: seed.New(1)}
}

// handshake lets two workloads meet over mutual TLS.
func handshake(client, server *Agent) error {
	verify := func(a *Agent) func([][]byte, [][]*x509.Certificate) error {
		return func(raw [][]byte, _ [][]*x509.Certificate) error {
			chain, err := x509.ParseCertificates(bytes.Join(raw, nil))
			if err != nil {
				return err
			}
			_, err = chain[0].Verify(x509.VerifyOptions{Roots: a.Secret(RootSecret).Roots, Intermediates: pool(chain[1:]),
				KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		}
	}
	c, s := net.Pipe()
	defer c.Close()
	defer s.Close()
	result := make(chan error, 1)
	go func() {
		server := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{*server.Secret(WorkloadSecret).Certificate},
			ClientAuth: tls.RequireAnyClientCert, VerifyPeerCertificate: verify(server)})
		_, err := server.Write([]byte("x"))
		result <- err
		s.Close()
	}()
	tlsClient := tls.Client(c, &tls.Config{Certificates: []tls.Certificate{*client.Secret(WorkloadSecret).Certificate},
		InsecureSkipVerify: true, VerifyPeerCertificate: verify(client)})
	_, err := io.ReadFull(tlsClient, make([]byte, 1))
	c.Close()
	return errors.Join(err, <-result)
}

func TestCertificatesAreRenewedBeforeTheyExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, deterministic())
		tokens := NewTokenIssuer(seed.New(1))
		token, err := tokens.Issue("default", "bookinfo-reviews", "reviews-v1-0")
		if err != nil {
			t.Fatal(err)
		}
		link := &conn{service: NewService(ca, tokens), down: status.Error(codes.Unavailable, "not up yet")}
		a := newAgent(t, AgentOptions{Conn: link, ID: reviews, Token: constant(token), Seed: seed.New(2), KeyType: Ed25519, Deterministic: true})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx) }()

		time.Sleep(10 * time.Second)
		if a.Secret(WorkloadSecret) != nil || link.calls < 5 || link.calls > 20 {
			t.Errorf("after 10 s without a service: %d calls", link.calls)
		}
		link.down, link.calls = nil, 0
		if err := a.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		var serials []string
		size := 0
		for range 48 * 60 {
			s := a.Secret(WorkloadSecret)
			leaf := s.Certificate.Leaf
			if left := time.Until(leaf.NotAfter); left < 11*time.Hour {
				t.Fatalf("a certificate with %s left", left)
			}
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: s.Roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
				t.Fatal(err)
			}
			if size == 0 {
				size = len(leaf.Raw)
			}
			if len(leaf.Raw) != size || leaf.URIs[0].String() != reviews.String() {
				t.Fatalf("certificate of %d bytes for %s, the first had %d", len(leaf.Raw), leaf.URIs, size)
			}
			if serial := leaf.SerialNumber.String(); !slices.Contains(serials, serial) {
				serials = append(serials, serial)
			}
			time.Sleep(time.Minute)
		}
		if len(serials) != 5 || link.calls != 5 {
			t.Errorf("%d certificates and %d calls in 48 h, want one in 12 h and the first", len(serials), link.calls)
		}
		last := a.Secret(WorkloadSecret)
		link.down = status.Error(codes.Unavailable, "gone")
		time.Sleep(30 * time.Hour)
		if a.Secret(WorkloadSecret) != last {
			t.Error("the last certificate has gone with the service")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDeterministicRunsAreEqual(t *testing.T) {
	run := func() []byte {
		var out []byte
		synctest.Test(t, func(t *testing.T) {
			ca := newCA(t, deterministic())
			if err := ca.Rotate(nil); err != nil {
				t.Fatal(err)
			}
			cert, err := ca.Issue(reviews)
			if err != nil {
				t.Fatal(err)
			}
			out = slices.Concat(ca.RootPEM(), bytes.Join(cert.Certificate, nil))
		})
		return out
	}
	if a, b := run(), run(); !bytes.Equal(a, b) {
		t.Error("two runs with one seed make different certificates")
	}
	if _, err := NewCA(CAOptions{Deterministic: true}); err == nil {
		t.Error("a deterministic ECDSA authority was made")
	}
}

func TestRootRotationDropsNobody(t *testing.T) {
	for _, o := range []CAOptions{deterministic(), {}} {
		synctest.Test(t, func(t *testing.T) {
			ca := newCA(t, o)
			tokens := NewTokenIssuer(seed.New(1))
			token, err := tokens.Issue("default", "bookinfo-reviews", "p")
			if err != nil {
				t.Fatal(err)
			}
			agent := func(label string) *Agent {
				return newAgent(t, AgentOptions{Conn: &conn{service: NewService(ca, tokens)}, Token: constant(token), Seed: seed.New(1).Sub(label)})
			}
			renew := func(a *Agent) {
				t.Helper()
				if _, err := a.renew(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
			}
			old, fresh := agent("old"), agent("fresh")
			renew(old)
			changed := ca.Changed()
			for range 2 { // twice: a bridge over a bridge
				if err := ca.Rotate(nil); err != nil {
					t.Fatal(err)
				}
				renew(fresh)
				if err := errors.Join(handshake(old, fresh), handshake(fresh, old)); err != nil {
					t.Fatalf("while the root is replaced: %v", err)
				}
			}
			<-changed
			renew(old)
			ca.RetireRoots()
			renew(fresh)
			if err := errors.Join(handshake(old, fresh), handshake(fresh, old)); err != nil {
				t.Errorf("after the old root has gone: %v", err)
			}
			if n := len(fresh.Secret(WorkloadSecret).Certificate.Certificate); n != 1 || bytes.Count(ca.RootPEM(), []byte("BEGIN")) != 1 {
				t.Errorf("after the old root has gone: chain of %d, roots\n%s", n, ca.RootPEM())
			}
			foreign := newAgent(t, AgentOptions{Conn: &conn{service: NewService(newCA(t, CAOptions{}), tokens)}, Token: constant(token)})
			renew(foreign)
			if handshake(foreign, fresh) == nil || handshake(fresh, foreign) == nil {
				t.Error("a certificate of another authority was accepted")
			}
		})
	}
}

func TestService(t *testing.T) {
	ca, tokens := newCA(t, CAOptions{}), NewTokenIssuer(seed.New(1))
	token, err := tokens.Issue("default", "bookinfo-reviews", "p")
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewTokenIssuer(seed.New(2)).Issue("default", "bookinfo-reviews", "p")
	if err != nil {
		t.Fatal(err)
	}
	service := NewService(ca, AnyOf(tokens, PeerAuthenticator{}))
	cert, err := ca.Issue(reviews)
	if err != nil {
		t.Fatal(err)
	}
	withPeer := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{
		State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert.Leaf}}}}})
	request := func(names x509.CertificateRequest) string {
		key, err := ca.keys.new("")
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(nil, &names, key)
		if err != nil {
			t.Fatal(err)
		}
		return string(encodePEM(requestBlock, der))
	}
	own := x509.CertificateRequest{}
	own.URIs = append(own.URIs, reviews.uri())
	ratings := x509.CertificateRequest{}
	ratings.URIs = append(ratings.URIs, ID{"cluster.local", "default", "ratings"}.uri())
	for _, c := range []struct {
		name    string
		ctx     context.Context
		auth    []string
		csr     string
		seconds int64
		want    codes.Code
	}{
		{"good token", t.Context(), []string{"Bearer " + token}, request(own), 3600, codes.OK},
		{"no name in the request", t.Context(), []string{"bearer " + token}, request(x509.CertificateRequest{}), 0, codes.OK},
		{"client certificate", withPeer, nil, request(own), 0, codes.OK},
		{"no credentials", t.Context(), nil, request(own), 0, codes.Unauthenticated},
		{"another issuer's token", t.Context(), []string{"Bearer " + other}, request(own), 0, codes.Unauthenticated},
		{"a bad token counts although there is a certificate", withPeer, []string{"Bearer x"}, request(own), 0, codes.Unauthenticated},
		{"no bearer", t.Context(), []string{"Basic eDp5"}, request(own), 0, codes.Unauthenticated},
		{"two tokens", t.Context(), []string{"Bearer " + token, "Bearer " + token}, request(own), 0, codes.Unauthenticated},
		{"somebody else's name", t.Context(), []string{"Bearer " + token}, request(ratings), 0, codes.PermissionDenied},
		{"a host name", t.Context(), []string{"Bearer " + token}, request(x509.CertificateRequest{DNSNames: []string{"a"}}), 0, codes.PermissionDenied},
		{"too long", t.Context(), []string{"Bearer " + token}, request(own), 91 * 24 * 3600, codes.InvalidArgument},
		{"longer than time", t.Context(), []string{"Bearer " + token}, request(own), 1 << 62, codes.InvalidArgument},
		{"no request", t.Context(), []string{"Bearer " + token}, "x", 0, codes.InvalidArgument},
	} {
		ctx := metadata.NewIncomingContext(c.ctx, metadata.MD{authorization: c.auth})
		answer, err := service.CreateCertificate(ctx, &capb.IstioCertificateRequest{Csr: c.csr, ValidityDuration: c.seconds})
		if status.Code(err) != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if err != nil {
			continue
		}
		chain, err := parseCertificates([]byte(strings.Join(answer.CertChain, "")))
		if err != nil || len(chain) != 2 || chain[0].URIs[0].String() != reviews.String() || chain[0].CheckSignatureFrom(chain[1]) != nil {
			t.Errorf("%s: chain %v, %v", c.name, answer.CertChain, err)
		}
	}
}

func TestTokens(t *testing.T) {
	key := []byte("0123456789abcdef")
	issuer, err := NewKeyedTokenIssuer("example.org", key)
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Issue("default", "ratings", "p")
	if err != nil {
		t.Fatal(err)
	}
	key[0] = 'x' // the issuer has its own copy
	if id, err := issuer.Authenticate(t.Context(), token, nil); err != nil || id != (ID{"example.org", "default", "ratings"}) {
		t.Errorf("%v, %v", id, err)
	}
	for _, bad := range []string{token + "A", token[:len(token)-2], "." + token, "A" + token, strings.ReplaceAll(token, ".", "")} {
		if id, err := issuer.Authenticate(t.Context(), bad, nil); err == nil {
			t.Errorf("token %q is %v", bad, id)
		}
	}
	if _, err := NewKeyedTokenIssuer("", nil); err == nil {
		t.Error("an empty key was taken")
	}
	if _, err := issuer.Issue("a/b", "c", "p"); err == nil {
		t.Error("a namespace with a slash was taken")
	}
}

func TestBroughtAuthority(t *testing.T) {
	outer := newCA(t, CAOptions{})
	keyOf := func(a *authority) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(a.key)
		if err != nil {
			t.Fatal(err)
		}
		return encodePEM("PRIVATE KEY", der)
	}
	key, err := outer.keys.new("")
	if err != nil {
		t.Fatal(err)
	}
	template, err := outer.template(key.Public(), time.Now(), time.Now().Add(2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	template.Subject = pkix.Name{CommonName: "between"}
	asAuthority(template)
	between, err := sign(template, outer.current.cert, key.Public(), outer.current.key)
	if err != nil {
		t.Fatal(err)
	}
	brought := &Authority{Cert: encodePEM(certificateBlock, between.Raw), Key: keyOf(&authority{key: key}), Root: outer.RootPEM()}
	ca := newCA(t, CAOptions{Authority: brought})
	cert, err := ca.Issue(reviews)
	if err != nil {
		t.Fatal(err)
	}
	if len(cert.Certificate) != 2 || !cert.Leaf.NotAfter.Equal(between.NotAfter) || !bytes.Equal(ca.RootPEM(), outer.RootPEM()) {
		t.Errorf("chain of %d, until %s", len(cert.Certificate), cert.Leaf.NotAfter)
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: ca.pool(), Intermediates: pool([]*x509.Certificate{between})}); err != nil {
		t.Error(err)
	}
	if err := ca.Rotate(&Authority{Cert: outer.RootPEM(), Key: keyOf(outer.current)}); err != nil {
		t.Errorf("rotate to the root itself: %v", err)
	}
	stranger := newCA(t, CAOptions{})
	for _, c := range []struct {
		a    Authority
		want string
	}{
		{Authority{Cert: brought.Cert, Key: brought.Key}, "a root is needed"},
		{Authority{Cert: brought.Cert, Key: brought.Key, Root: stranger.RootPEM()}, "does not lead to the root"},
		{Authority{Cert: brought.Cert, Key: keyOf(stranger.current), Root: outer.RootPEM()}, "does not match"},
		{Authority{Cert: encodePEM(certificateBlock, cert.Leaf.Raw), Key: keyOf(&authority{key: cert.PrivateKey.(crypto.Signer)}), Root: outer.RootPEM()}, "may not sign"},
	} {
		if _, err := NewCA(CAOptions{Authority: &c.a}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestServerCertificateIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, deterministic())
		server, err := ca.ServerConfig("istiod.istio-system.svc", "istiod")
		if err != nil {
			t.Fatal(err)
		}
		client, err := ClientConfig(ca.RootPEM(), "istiod.istio-system.svc")
		if err != nil {
			t.Fatal(err)
		}
		var serials []string
		connect := func() {
			t.Helper()
			c, s := net.Pipe()
			go tls.Server(s, server).Handshake()
			link := tls.Client(c, client)
			if err := link.Handshake(); err != nil {
				t.Fatal(err)
			}
			serials = append(serials, link.ConnectionState().PeerCertificates[0].SerialNumber.String())
			c.Close()
			s.Close()
		}
		for range 3 {
			connect()
			time.Sleep(11 * time.Hour)
		}
		if err := ca.Rotate(nil); err != nil {
			t.Fatal(err)
		}
		connect() // the client knows the old root only
		if serials[0] != serials[1] || len(slices.Compact(serials)) != 3 {
			t.Errorf("serial numbers %q, want a new one at 22 h and after the rotation", serials)
		}
		client.ServerName = "other"
		c, s := net.Pipe()
		go tls.Server(s, server).Handshake()
		if tls.Client(c, client).Handshake() == nil {
			t.Error("the certificate is good for any name")
		}
		c.Close()
		s.Close()
	})
}

func TestIDs(t *testing.T) {
	if id, err := ParseID(reviews.String()); err != nil || id != reviews {
		t.Errorf("%v, %v", id, err)
	}
	for _, s := range []string{"", "https://a/ns/b/sa/c", "spiffe://a/ns/b", "spiffe://a/ns//sa/c", "spiffe://A/ns/b/sa/c",
		"spiffe://a/ns/b/sa/c/d", "spiffe://a/sa/b/ns/c", "spiffe://a/ns/../sa/c", "spiffe://a/ns/b%2f/sa/c"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("%q is %v", s, id)
		}
	}
}

func TestStaticSource(t *testing.T) {
	ca := newCA(t, CAOptions{})
	cert, err := ca.Issue(reviews)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	text := encodePEM(certificateBlock, cert.Leaf.Raw)
	s, err := NewStaticSource(map[string]PEM{"a": {Cert: text, Key: key}, "ROOTCA": {Roots: ca.RootPEM()}})
	if err != nil {
		t.Fatal(err)
	}
	if s.Secret("a").Certificate.Leaf == nil || s.Secret("a").Roots != nil || s.Secret("ROOTCA").Roots == nil || s.Secret("b") != nil {
		t.Errorf("secrets are %v", s)
	}
	_, err = NewStaticSource(map[string]PEM{"x": {Cert: text}, "y": {}})
	if err == nil || !strings.Contains(err.Error(), `"x"`) || !strings.Contains(err.Error(), `"y"`) {
		t.Errorf("error %v", err)
	}
}
