package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/http2"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// plaintext is the transport of clusters that configure none.
var plaintext = &snapshot.Transport{Name: "envoy.transport_sockets.raw_buffer"}

func (c *Cluster) transport(h *Host) *snapshot.Transport {
	return Transport(c.config(), h.endpoint.Load().TransportMatch)
}

// Transport returns the first transport socket whose match is part of the endpoint's metadata.
func Transport(config *snapshot.Cluster, metadata map[string]string) *snapshot.Transport {
	for i := range config.Transports {
		t := &config.Transports[i]
		if matches(t.Match, metadata) {
			return t
		}
	}
	return plaintext
}

func matches(want, have map[string]string) bool {
	for name, value := range want {
		if v, ok := have[name]; !ok || v != value {
			return false
		}
	}
	return true
}

// key tells connections apart that one host's pool must not mix.
func (w Want) key(t *snapshot.Transport) string {
	key := ""
	if t == nil {
		return key
	}
	if t.ProxyProtocol > 0 && w.Told.known() {
		key = w.Told.Source.String() + ">" + w.Told.Destination.String() + "|"
	}
	if t.TLS == nil {
		return key
	}
	if len(w.ALPN) > 0 {
		key += w.ALPN[0]
	}
	if t.TLS.AutoSNI {
		key += "|" + w.SNI
	}
	return key
}

// begin does what a new connection begins with: the header of the PROXY protocol, then TLS.
// It closes raw where it fails.
func (c *Cluster) begin(ctx context.Context, raw net.Conn, t *snapshot.Transport, w Want, http bool) (net.Conn, error) {
	if t == nil {
		return raw, nil
	}
	if t.ProxyProtocol > 0 {
		if err := tell(raw, t.ProxyProtocol, w.Told); err != nil {
			_ = raw.Close()
			return nil, err
		}
	}
	if t.TLS == nil {
		return raw, nil
	}
	return c.handshake(ctx, raw, t.TLS, w, http)
}

// tlsError marks what went wrong in a handshake.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// handshake originates TLS with the certificates and roots of this moment. It closes
// raw where it fails.
func (c *Cluster) handshake(ctx context.Context, raw net.Conn, t *snapshot.ClientTLS, w Want, http bool) (net.Conn, error) {
	config, err := c.tlsConfig(t, w, http)
	if err != nil {
		_ = raw.Close()
		return nil, &tlsError{err}
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &tlsError{err}
	}
	return &securedConn{conn, firstURI(leafOf(config))}, nil
}

// securedConn is a TLS connection that knows who this proxy was on it.
type securedConn struct {
	*tls.Conn
	local string
}

// Identities are the first URI SANs of a connection's certificates, empty where there
// are none.
type Identities struct{ Local, Peer string }

func identitiesOf(c net.Conn) Identities {
	t, ok := c.(*securedConn)
	if !ok {
		return Identities{}
	}
	i := Identities{Local: t.local}
	if certs := t.ConnectionState().PeerCertificates; len(certs) > 0 {
		i.Peer = firstURI(certs[0])
	}
	return i
}

func firstURI(c *x509.Certificate) string {
	if c == nil || len(c.URIs) == 0 {
		return ""
	}
	return c.URIs[0].String()
}

// leafOf is the certificate that a client shows, nil without one.
func leafOf(config *tls.Config) *x509.Certificate {
	if len(config.Certificates) == 0 {
		return nil
	}
	c := config.Certificates[0]
	if c.Leaf != nil || len(c.Certificate) == 0 {
		return c.Leaf
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// errNoSecret has Envoy's words for a secret that has not come yet.
var errNoSecret = secretError{}

type secretError struct{}

func (secretError) Error() string { return "Secret is not supplied by SDS" }

func (c *Cluster) tlsConfig(t *snapshot.ClientTLS, w Want, http bool) (*tls.Config, error) {
	config := &tls.Config{ServerName: t.SNI, MinVersion: t.MinVersion, MaxVersion: t.MaxVersion, NextProtos: t.ALPN,
		CurvePreferences: []tls.CurveID{tls.X25519}, Time: time.Now,
		InsecureSkipVerify: true} // VerifyConnection does it: names are SANs by matcher, not the SNI
	if http && len(w.ALPN) > 0 {
		config.NextProtos = w.ALPN
	}
	switch {
	case http && w.Protocol != message.HTTP2:
		config.NextProtos = withoutH2(config.NextProtos)
	case http && len(config.NextProtos) == 0:
		config.NextProtos = []string{http2.Protocol} // as Envoy's ALPN for an explicit HTTP/2
	}
	if t.AutoSNI && w.SNI != "" {
		config.ServerName = w.SNI
	}
	certificate, err := c.certificate(t)
	if err != nil {
		return nil, err
	}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	roots, err := c.roots(t)
	if err != nil {
		return nil, err
	}
	sans := t.MatchSANs
	if len(sans) == 0 && c.config().HTTP.AutoSANValidation {
		sans = []snapshot.StringMatch{{Exact: &config.ServerName}}
	}
	config.VerifyConnection = func(s tls.ConnectionState) error { return verify(s, t, roots, sans) }
	return config, nil
}

func withoutH2(protocols []string) []string {
	var kept []string
	for _, p := range protocols {
		if p != "h2" && p != "istio-h2" {
			kept = append(kept, p)
		}
	}
	return kept
}

func (c *Cluster) secret(name string) (*secret.Secret, error) {
	if c.secrets == nil {
		return nil, errNoSecret
	}
	s := c.secrets.Secret(name)
	if s == nil {
		return nil, errNoSecret
	}
	return s, nil
}

func (c *Cluster) certificate(t *snapshot.ClientTLS) (*tls.Certificate, error) {
	switch {
	case t.Certificate != "":
		s, err := c.secret(t.Certificate)
		if err != nil {
			return nil, err
		}
		if s.Certificate == nil {
			return nil, errNoSecret
		}
		return s.Certificate, nil
	case t.Inline != nil:
		pair, err := tls.X509KeyPair(t.Inline.Chain, t.Inline.Key)
		return &pair, err
	default:
		return nil, nil
	}
}

// roots returns the trusted roots; nil means that the peer is not verified.
func (c *Cluster) roots(t *snapshot.ClientTLS) (*x509.CertPool, error) {
	switch {
	case t.ValidationContext != "":
		s, err := c.secret(t.ValidationContext)
		if err != nil {
			return nil, err
		}
		if s.Roots == nil {
			return nil, errNoSecret
		}
		return s.Roots, nil
	case len(t.InlineRoots) > 0:
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(t.InlineRoots) {
			return nil, errors.New("trusted_ca has no certificate")
		}
		return pool, nil
	case t.SystemRoots:
		return x509.SystemCertPool()
	default:
		return nil, nil
	}
}

// verify checks the peer's chain against the roots, and its SANs against the matchers.
func verify(s tls.ConnectionState, t *snapshot.ClientTLS, roots *x509.CertPool, sans []snapshot.StringMatch) error {
	if t.InsecureSkipVerify || roots == nil && len(sans) == 0 {
		return nil
	}
	leaf := s.PeerCertificates[0]
	if roots != nil {
		intermediates := x509.NewCertPool()
		for _, cert := range s.PeerCertificates[1:] {
			intermediates.AddCert(cert)
		}
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: time.Now()})
		if err != nil {
			return fmt.Errorf("CERTIFICATE_VERIFY_FAILED: %w", err)
		}
	}
	names := append([]string(nil), leaf.DNSNames...)
	for _, uri := range leaf.URIs {
		names = append(names, uri.String())
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	for i := range sans {
		for _, name := range names {
			if route.MatchString(&sans[i], name) || sans[i].Exact != nil && wildcard(name, *sans[i].Exact) {
				return nil
			}
		}
	}
	if len(sans) == 0 {
		return nil
	}
	return fmt.Errorf("CERTIFICATE_VERIFY_FAILED: verify cert failed: SAN matcher, certificate SANs are %v", names)
}

// wildcard tells whether a DNS SAN such as "*.example.com" covers a name.
func wildcard(san, name string) bool {
	suffix, ok := strings.CutPrefix(san, "*")
	return ok && strings.HasPrefix(suffix, ".") && strings.HasSuffix(name, suffix) &&
		!strings.Contains(strings.TrimSuffix(name, suffix), ".") && len(name) > len(suffix)
}

// sameTransport tells whether connections made under one configuration are good under the other.
func sameTransport(a, b *snapshot.Cluster) bool {
	if len(a.Transports) != len(b.Transports) || a.BindSource != b.BindSource || !slices.Equal(a.BindExtra, b.BindExtra) {
		return false
	}
	for i := range a.Transports {
		x, y := &a.Transports[i], &b.Transports[i]
		if !maps.Equal(x.Match, y.Match) || x.ProxyProtocol != y.ProxyProtocol || !sameTLS(x.TLS, y.TLS) {
			return false
		}
	}
	return true
}

func sameTLS(a, b *snapshot.ClientTLS) bool {
	if a == nil || b == nil || a == b {
		return a == b
	}
	return fmt.Sprintf("%+v", describeTLS(a)) == fmt.Sprintf("%+v", describeTLS(b))
}

// describeTLS is a copy in which nothing is a pointer.
func describeTLS(t *snapshot.ClientTLS) any {
	plain := *t
	plain.MatchSANs, plain.Inline = nil, nil
	var inline snapshot.InlineCertificate
	if t.Inline != nil {
		inline = *t.Inline
	}
	var sans []string
	for i := range t.MatchSANs {
		sans = append(sans, route.DescribeString(&t.MatchSANs[i]))
	}
	return []any{plain, inline, sans}
}
