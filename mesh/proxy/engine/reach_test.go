package engine

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/sim/fabric"
)

// secrets is a fixed secret.Source.
type secrets map[string]*secret.Secret

func (s secrets) Secret(name string) *secret.Secret { return s[name] }
func (secrets) Changed() <-chan struct{}            { return nil }

// issue makes a certificate for a SPIFFE id, signed by itself.
func issue(t *testing.T, id string) *secret.Secret {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	uri, _ := url.Parse(id)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{uri}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(nil, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &secret.Secret{Certificate: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, Roots: roots}
}

// mutual answers every request with what the handshake said; net/http would not
// serve Istio's protocol names.
func mutual(l net.Listener) {
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
				s := c.(*tls.Conn).ConnectionState()
				text := fmt.Sprint(s.ServerName, " ", s.NegotiatedProtocol, " ", s.PeerCertificates[0].URIs[0])
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s", len(text), text)
			}
		}()
	}
}

func TestMutualTLSWhereTheEndpointHasIt(t *testing.T) {
	bubble(t, func(w *world) {
		own := issue(t, "spiffe://cluster.local/ns/default/sa/web")
		_ = w.engine.Close()
		w.engine = New(Options{Network: w.proxy.Network(1337, 1337), Secrets: secrets{"default": own, "ROOTCA": own}})
		w.serve(func(rw http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(rw, "plain") })
		l, err := w.host("tls", "10.0.0.12").Network(0, 0).Listen(context.Background(), "10.0.0.12:80")
		if err != nil {
			t.Fatal(err)
		}
		go mutual(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*own.Certificate}, ClientAuth: tls.RequireAnyClientCert,
			NextProtos: []string{"istio-http/1.1", "istio"}}))
		w.endpoint("10.0.0.12")
		w.cluster.Endpoints[0].Endpoints[1].TransportMatch = map[string]string{"tlsMode": "istio"}
		want := "spiffe://cluster.local/ns/default/sa/web"
		client := &snapshot.ClientTLS{Certificate: "default", ValidationContext: "ROOTCA", MatchSANs: []snapshot.StringMatch{{Exact: &want}},
			SNI: "outbound_.80_._.web", ALPN: []string{"istio-peer-exchange", "istio"}}
		w.cluster.Transports = []snapshot.Transport{{Match: map[string]string{"tlsMode": "istio"}, TLS: client}, {}}
		w.build(snapshot.ALPN{HTTP11: []string{"istio-http/1.1", "istio", "http/1.1"}})
		bodies := w.get().body + "|" + w.get().body
		for _, part := range []string{"plain", "outbound_.80_._.web istio-http/1.1 " + want} {
			if !strings.Contains(bodies, part) {
				t.Errorf("bodies are %q, want %q among them", bodies, part)
			}
		}
		other := "spiffe://cluster.local/ns/default/sa/other"
		wrong := *client
		wrong.MatchSANs = []snapshot.StringMatch{{Exact: &other}}
		w.cluster.Transports = []snapshot.Transport{{Match: map[string]string{"tlsMode": "istio"}, TLS: &wrong}, {}}
		w.build()
		details := ""
		for range 2 {
			details += w.get().stream.Details
		}
		if !strings.Contains(details, "SAN_matcher") {
			t.Errorf("a server with another identity was taken: %s", details)
		}
	})
}

func TestNamesAndOriginalDestinations(t *testing.T) {
	bubble(t, func(w *world) {
		w.serve(func(rw http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(rw, "one") })
		w.serve(func(rw http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(rw, "two") })
		var address atomic.Value
		address.Store("10.0.0.11")
		w.net.SetResolver(func(fabric.Process, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr(address.Load().(string))}, nil
		})
		w.cluster.Discovery, w.cluster.DNSRefresh = snapshot.StrictDNS, 5*time.Second
		w.cluster.Endpoints = []*snapshot.Locality{{Endpoints: []*snapshot.Endpoint{{Hostname: "web.example", Address: netip.MustParseAddrPort("0.0.0.0:80"), Weight: 1}}}}
		w.build()
		if r := w.get(); r.body != "one" {
			t.Errorf("by name got %+v", r)
		}
		address.Store("10.0.0.12")
		time.Sleep(6 * time.Second)
		if r := w.get(); r.body != "two" {
			t.Errorf("after the name moved got %+v", r)
		}
		w.cluster.Discovery, w.cluster.Balancer, w.cluster.Endpoints = snapshot.OriginalDst, snapshot.ClusterProvided, nil
		w.build()
		for _, c := range []struct{ dst, want string }{{"10.0.0.11:80", "one"}, {"10.0.0.12:80", "two"}} {
			r := w.request()
			r.Stream.Conn = &message.Conn{Local: netip.MustParseAddrPort(c.dst), Restored: true}
			if got := w.do(context.Background(), r); got.body != c.want {
				t.Errorf("original destination %s got %+v", c.dst, got)
			}
		}
		r := w.request()
		r.Stream.Conn = &message.Conn{Local: netip.MustParseAddrPort("10.0.0.11:80")}
		if got := w.do(context.Background(), r); got.status != 503 || r.Stream.Flags != message.NoHealthyUpstream {
			t.Errorf("without an original destination got %+v, flags %v", got, r.Stream.Flags)
		}
	})
}
