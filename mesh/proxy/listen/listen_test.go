package listen

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

func TestMatchOrder(t *testing.T) {
	chains := map[string]snapshot.ChainMatch{
		"blackhole":  {DestinationPort: 15006},
		"mtls-http":  {TransportProtocol: "tls", ApplicationProtocols: []string{"istio-http/1.1", "istio-h2"}},
		"mtls-tcp":   {TransportProtocol: "tls", ApplicationProtocols: []string{"istio"}},
		"tls":        {TransportProtocol: "tls"},
		"plain-http": {TransportProtocol: "raw_buffer", ApplicationProtocols: []string{"http/1.1", "h2c"}},
		"plain":      {TransportProtocol: "raw_buffer"},
		"8080":       {DestinationPort: 8080, TransportProtocol: "raw_buffer"},
		"net16":      {DestinationPort: 80, DestinationPrefixes: prefixes("10.1.0.0/16")},
		"net24":      {DestinationPort: 80, DestinationPrefixes: prefixes("10.1.2.0/24", "10.1.3.0/24")},
		"exact":      {DestinationPort: 443, ServerNames: []string{"a.b.c"}},
		"wild-deep":  {DestinationPort: 443, ServerNames: []string{"*.b.c"}},
		"wild":       {DestinationPort: 443, ServerNames: []string{"*.c", "*.d"}},
		"from-net":   {DestinationPort: 443, ServerNames: []string{"s"}, SourcePrefixes: prefixes("10.9.0.0/16")},
		"from-port":  {DestinationPort: 443, ServerNames: []string{"s"}, SourcePrefixes: prefixes("10.9.9.0/24"), SourcePorts: []uint16{77}},
	}
	var m matcher[string]
	for name, c := range chains {
		if err := m.add(c, &name); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		dst, sni, transport, protocols, src string
		want                                string
	}{
		{"10.0.0.1:15006", "", "tls", "istio", "10.0.0.9:1", "blackhole"},
		{"10.0.0.1:9080", "", "tls", "istio-http/1.1,istio,http/1.1", "10.0.0.9:1", "mtls-http"},
		{"10.0.0.1:9080", "", "tls", "istio-peer-exchange,istio", "10.0.0.9:1", "mtls-tcp"},
		{"10.0.0.1:9080", "x.y", "tls", "h2", "10.0.0.9:1", "tls"},
		{"10.0.0.1:9080", "", "raw_buffer", "h2c", "10.0.0.9:1", "plain-http"},
		{"10.0.0.1:9080", "", "raw_buffer", "http/1.0", "10.0.0.9:1", "plain"},
		{"[fd00::1]:9080", "", "raw_buffer", "", "[fd00::9]:1", "plain"},
		{"10.0.0.1:8080", "", "raw_buffer", "http/1.1", "10.0.0.9:1", "8080"},
		{"10.0.0.1:8080", "", "tls", "", "10.0.0.9:1", ""}, // no way back to chains without a port
		{"10.1.2.3:80", "", "raw_buffer", "", "10.0.0.9:1", "net24"},
		{"10.1.9.3:80", "", "raw_buffer", "", "10.0.0.9:1", "net16"},
		{"10.2.0.1:80", "", "raw_buffer", "", "10.0.0.9:1", ""},
		{"10.0.0.1:443", "a.b.c", "tls", "", "10.0.0.9:1", "exact"},
		{"10.0.0.1:443", "x.y.b.c", "tls", "", "10.0.0.9:1", "wild-deep"},
		{"10.0.0.1:443", "b.c", "tls", "", "10.0.0.9:1", "wild"},
		{"10.0.0.1:443", "x.d", "tls", "", "10.0.0.9:1", "wild"},
		{"10.0.0.1:443", "c", "tls", "", "10.0.0.9:1", ""},
		{"10.0.0.1:443", "s", "tls", "", "10.9.1.1:77", "from-net"},
		{"10.0.0.1:443", "s", "tls", "", "10.9.9.1:77", "from-port"},
		{"10.0.0.1:443", "s", "tls", "", "10.9.9.1:78", ""},
	}
	for _, test := range tests {
		var protocols []string
		if test.protocols != "" {
			protocols = strings.Split(test.protocols, ",")
		}
		got := ""
		if found := m.find(subject{netip.MustParseAddrPort(test.dst), test.sni, test.transport, protocols, netip.MustParseAddrPort(test.src)}); found != nil {
			got = *found
		}
		if got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
	if err := m.add(chains["net24"], new(string)); err == nil {
		t.Error("two chains with one match were taken")
	}
}

// clientHello is what crypto/tls sends first.
func clientHello(t testing.TB, c *tls.Config) []byte {
	client, server := net.Pipe()
	go func() { _ = tls.Client(client, c).Handshake() }()
	buf := make([]byte, 16<<10)
	n, err := server.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	return buf[:n]
}

func TestInspect(t *testing.T) {
	hello := clientHello(t, &tls.Config{ServerName: "Reviews.default", NextProtos: []string{"istio-http/1.1", "istio"}})
	split := slices.Concat([]byte{22, 3, 1, 0, 40}, hello[5:45], []byte{22, 3, 1, byte((len(hello) - 45) >> 8), byte(len(hello) - 45)}, hello[45:])
	tests := map[string]struct {
		in        string
		transport string
		name      string
		protocols string
	}{
		"TLS":              {string(hello), "tls", "reviews.default", "istio-http/1.1,istio"},
		"in two records":   {string(split), "tls", "reviews.default", "istio-http/1.1,istio"},
		"HTTP/1.1":         {"GET / HTTP/1.1\r\n", "raw_buffer", "", "http/1.1"},
		"HTTP/1.0":         {"POST /x HTTP/1.0\n", "raw_buffer", "", "http/1.0"},
		"HTTP/2":           {preface, "raw_buffer", "", "h2c"},
		"SSH":              {"SSH-2.0-x\r\n", "raw_buffer", "", ""},
		"method-like":      {"GETX / HTTP/1.1\r\n", "raw_buffer", "", ""},
		"binary":           {"\x00\x01\x02", "raw_buffer", "", ""},
		"TLS, no hello":    {"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "raw_buffer", "", ""},
		"TLS, cut inside":  {"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03", "raw_buffer", "", ""},
		"TLS, empty frame": {"\x16\x03\x01\x00\x00", "raw_buffer", "", ""},
	}
	l := &snapshot.Listener{TLSInspector: new(snapshot.Inspector), HTTPInspector: &snapshot.Inspector{DisabledPorts: []snapshot.PortRange{{Start: 15006, End: 15007}}}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, src := range []io.Reader{strings.NewReader(test.in), iotest.OneByteReader(strings.NewReader(test.in))} {
				c := &peekConn{Conn: readConn{src}}
				got, err := inspect(c, l, 80)
				if err != nil || got.transport != test.transport || got.serverName != test.name || strings.Join(got.protocols, ",") != test.protocols {
					t.Fatalf("%+v, %v", got, err)
				}
				if all, _ := io.ReadAll(c); string(all) != test.in {
					t.Fatalf("bytes were lost: %q", all)
				}
			}
		})
	}
	if got, _ := inspect(&peekConn{Conn: readConn{strings.NewReader("GET / HTTP/1.1\r\n")}}, l, 15006); got.protocols != nil {
		t.Error("a disabled inspector looked")
	}
}

// readConn is only read from.
type readConn struct{ io.Reader }

func (c readConn) Read(p []byte) (int, error)       { return c.Reader.Read(p) }
func (readConn) Write([]byte) (int, error)          { return 0, io.ErrClosedPipe }
func (readConn) Close() error                       { return nil }
func (readConn) LocalAddr() net.Addr                { return nil }
func (readConn) RemoteAddr() net.Addr               { return nil }
func (readConn) SetDeadline(time.Time) error        { return nil }
func (readConn) SetReadDeadline(t time.Time) error  { return nil }
func (readConn) SetWriteDeadline(t time.Time) error { return nil }

func FuzzClientHello(f *testing.F) {
	f.Add(clientHello(f, &tls.Config{ServerName: "a.b", NextProtos: []string{"h2"}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := parseClientHello(in)
		for i := range in { // no beginning may decide otherwise than the whole
			part, partErr := parseClientHello(in[:i])
			if partErr != errUndecided && (partErr != err || part.serverName != whole.serverName) {
				t.Fatalf("%d bytes: %v %v, all: %v %v", i, part, partErr, whole, err)
			}
		}
	})
}

// TestHandshakeCutAtEveryByte: a client that goes away at any point of its ClientHello, or
// behind it, by an end or by a reset, costs nobody anything.
func TestHandshakeCutAtEveryByte(t *testing.T) {
	ca := issue(t, "ca", "spiffe://td", nil)
	source, server := new(secrets), tell{make(chan *message.Conn, 1)}
	source.Store(&secret.Secret{Certificate: issue(t, "server", "spiffe://td/ns/n/sa/one", ca)})
	l, err := New(Options{Logger: slog.New(slog.DiscardHandler), NextID: func() uint64 { return 1 }, Secrets: source,
		Servers: func(*snapshot.FilterChain) (Server, error) { return server, nil },
		Config: &snapshot.Listener{Name: "in", TLSInspector: new(snapshot.Inspector), Chains: []*snapshot.FilterChain{{HTTP: new(snapshot.HTTPManager),
			Match: snapshot.ChainMatch{TransportProtocol: "tls"}, TLS: &snapshot.ServerTLS{Certificate: "default"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := Open(t.Context(), netx.System{}, netip.MustParseAddrPort("127.0.0.1:0"), l.o.Logger)
	if err != nil {
		t.Fatal(err)
	}
	socket.Start(l)
	hello := clientHello(t, &tls.Config{ServerName: "a.b"})
	for cut := range len(hello) + 1 {
		for _, reset := range []bool{false, true} {
			c, err := net.Dial("tcp", socket.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write(hello[:cut])
			if reset {
				_ = c.(*net.TCPConn).SetLinger(0)
			}
			_ = c.Close()
		}
	}
	c, err := tls.Dial("tcp", socket.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("a good client after all the others: %v", err)
	}
	_, _ = c.Write([]byte("x"))
	if facts := <-server.facts; facts.TLS == nil {
		t.Errorf("a handshake that was cut got through: %+v", facts)
	}
	_ = c.Close()
	l.Close()
	socket.Close()
	select {
	case facts := <-server.facts:
		t.Errorf("a second connection was served: %+v", facts)
	default:
	}
}

// secrets can be exchanged while in use.
type secrets struct{ atomic.Pointer[secret.Secret] }

func (s *secrets) Secret(string) *secret.Secret { return s.Load() }
func (s *secrets) Changed() <-chan struct{}     { return nil }

func issue(t *testing.T, name, uri string, parent *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(uri)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, URIs: []*url.URL{u}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: parent == nil, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	signer, above := any(key), template
	if parent != nil {
		signer, above = parent.PrivateKey, parent.Leaf
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// tell is a server that reports the facts and echoes.
type tell struct{ facts chan *message.Conn }

func (s tell) Serve(_ context.Context, c net.Conn, facts *message.Conn, _ *atomic.Bool) {
	s.facts <- facts
	_, _ = io.Copy(c, c)
	_ = c.Close()
}

func TestTLS(t *testing.T) {
	ca, other := issue(t, "ca", "spiffe://td", nil), issue(t, "other", "spiffe://td", nil)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	source := new(secrets)
	suffix := "/sa/client"
	server := tell{make(chan *message.Conn, 1)}
	l, err := New(Options{Logger: slog.New(slog.DiscardHandler), NextID: func() uint64 { return 1 }, Secrets: source,
		Servers: func(*snapshot.FilterChain) (Server, error) { return server, nil },
		Config: &snapshot.Listener{Name: "in", TLSInspector: new(snapshot.Inspector), Chains: []*snapshot.FilterChain{{HTTP: new(snapshot.HTTPManager),
			Match: snapshot.ChainMatch{TransportProtocol: "tls"}, HandshakeTimeout: time.Minute,
			TLS: &snapshot.ServerTLS{Certificate: "default", ValidationContext: "ROOTCA", RequireClientCert: true, ALPN: []string{"h2", "http/1.1"},
				MatchSANs: []snapshot.StringMatch{{Suffix: &suffix}}},
		}}}})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := Open(t.Context(), netx.System{}, netip.MustParseAddrPort("127.0.0.1:0"), l.o.Logger)
	if err != nil {
		t.Fatal(err)
	}
	socket.Start(l)
	defer l.Close()
	defer socket.Close()
	dial := func(cert *tls.Certificate, protocols ...string) (*tls.Conn, error) {
		c, err := tls.Dial("tcp", socket.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "server", Certificates: []tls.Certificate{*cert}, NextProtos: protocols})
		if err != nil {
			return nil, err
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err = c.Write([]byte("x")); err == nil {
			_, err = c.Read(make([]byte, 1)) // TLS 1.3 shows the server's verdict at the first read
		}
		_ = c.Close()
		return c, err
	}
	client := issue(t, "client", "spiffe://td/ns/n/sa/client", ca)
	if _, err := dial(client); err == nil {
		t.Fatal("a handshake without a certificate of our own")
	}
	source.Store(&secret.Secret{Certificate: issue(t, "server", "spiffe://td/ns/n/sa/one", ca), Roots: roots})
	c, err := dial(client, "h2", "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	facts := <-server.facts
	if f := facts.TLS; f.ServerName != "server" || f.ALPN != "h2" || f.PeerURIs[0] != "spiffe://td/ns/n/sa/client" || len(f.PeerHash) != 64 ||
		f.PeerSubject != "CN=client" || f.LocalURIs[0] != "spiffe://td/ns/n/sa/one" || facts.RequestedServerName != "server" || c.ConnectionState().DidResume {
		t.Fatalf("%+v", f)
	}
	if _, err := dial(client, "istio"); err != nil {
		t.Fatalf("no common protocol: %v", err)
	}
	<-server.facts
	source.Store(&secret.Secret{Certificate: issue(t, "server", "spiffe://td/ns/n/sa/two", ca), Roots: roots})
	if _, err := dial(client); err != nil || (<-server.facts).TLS.LocalURIs[0] != "spiffe://td/ns/n/sa/two" {
		t.Fatalf("rotation was not seen: %v", err)
	}
	for name, cert := range map[string]*tls.Certificate{"name": issue(t, "client", "spiffe://td/ns/n/sa/else", ca), "issuer": issue(t, "client", "spiffe://td/ns/n/sa/client", other)} {
		if _, err := dial(cert); err == nil {
			t.Errorf("a client of the wrong %s was let in", name)
		}
	}
}

func TestUseOriginalDst(t *testing.T) {
	build := func(name string, find func(netip.AddrPort) *Listener) (*Listener, tell) {
		s := tell{make(chan *message.Conn, 1)}
		l, err := New(Options{Logger: slog.New(slog.DiscardHandler), NextID: func() uint64 { return 1 }, Find: find,
			Servers: func(*snapshot.FilterChain) (Server, error) { return s, nil },
			Config:  &snapshot.Listener{Name: name, UseOriginalDst: find != nil, Default: &snapshot.FilterChain{}}})
		if err != nil {
			t.Fatal(err)
		}
		return l, s
	}
	service, toService := build("10.1.1.1_80", nil)
	catchAll, toCatchAll := build("virtualOutbound", func(dst netip.AddrPort) *Listener {
		if dst.Port() == 80 {
			return service
		}
		return nil
	})
	for dst, want := range map[string]tell{"10.1.1.1:80": toService, "10.1.1.1:81": toCatchAll} {
		client, server := net.Pipe()
		go catchAll.serve(redirected{server, netip.MustParseAddrPort(dst)})
		if facts := <-want.facts; facts.Local.String() != dst {
			t.Errorf("%s came as %v", dst, facts.Local)
		}
		_ = client.Close()
	}
	catchAll.Close()
	service.Close()
}

type redirected struct {
	net.Conn
	dst netip.AddrPort
}

func (r redirected) OriginalDst() (netip.AddrPort, bool) { return r.dst, true }
