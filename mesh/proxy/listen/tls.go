package listen

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// terminator ends TLS for one filter chain. Certificates and roots are looked up at each
// handshake, so a rotation is seen by the next connection.
type terminator struct {
	c       *snapshot.ServerTLS
	secrets secret.Source
	inline  []*tls.Certificate
	roots   *x509.CertPool
	base    *tls.Config
	noALPN  *tls.Config // for clients with whom we share no protocol: no ALPN, as in Envoy, in place of an alert
	timeout time.Duration
}

func newTerminator(chain *snapshot.FilterChain, secrets secret.Source) (*terminator, error) {
	c := chain.TLS
	t := &terminator{c: c, secrets: secrets, timeout: chain.HandshakeTimeout}
	if c.Inline != nil {
		for _, pair := range append([]*snapshot.InlineCertificate{c.Inline}, c.Others...) {
			cert, err := tls.X509KeyPair(pair.Chain, pair.Key)
			if err != nil {
				return nil, fmt.Errorf("inline certificate: %w", err)
			}
			t.inline = append(t.inline, &cert)
		}
	} else if secrets == nil {
		return nil, fmt.Errorf("certificate %q: no source of secrets", c.Certificate)
	}
	if len(c.InlineRoots) > 0 {
		t.roots = x509.NewCertPool()
		if !t.roots.AppendCertsFromPEM(c.InlineRoots) {
			return nil, errors.New("inline roots: no certificate in them")
		}
	}
	t.base = &tls.Config{
		MinVersion:             cmp.Or(c.MinVersion, tls.VersionTLS12),
		MaxVersion:             c.MaxVersion,
		CipherSuites:           c.CipherSuites,
		CurvePreferences:       []tls.CurveID{tls.X25519},
		SessionTicketsDisabled: true, // every handshake is full: same size, fresh identity
		NextProtos:             advertised(chain),
		GetCertificate:         t.certificate,
		VerifyPeerCertificate:  t.verify,
		ClientAuth:             t.clientAuth(),
	}
	t.noALPN = t.base.Clone()
	t.noALPN.NextProtos = nil
	t.base.GetConfigForClient = t.configFor
	return t, nil
}

// advertised is the chain's ALPN, without HTTP/2 where the connection manager is told to
// speak HTTP/1 only: clients that can do both then do so.
func advertised(chain *snapshot.FilterChain) []string {
	if chain.HTTP == nil || chain.HTTP.Codec != snapshot.CodecHTTP1 {
		return chain.TLS.ALPN
	}
	return slices.DeleteFunc(slices.Clone(chain.TLS.ALPN), func(p string) bool { return p == "h2" || p == "istio-h2" })
}

func (t *terminator) configFor(h *tls.ClientHelloInfo) (*tls.Config, error) {
	for _, p := range h.SupportedProtos {
		if slices.Contains(t.base.NextProtos, p) {
			return nil, nil
		}
	}
	return t.noALPN, nil
}

func (t *terminator) clientAuth() tls.ClientAuthType {
	switch {
	case t.c.RequireClientCert:
		return tls.RequireAnyClientCert // verify does the rest
	case t.c.ValidationContext != "" || t.roots != nil:
		return tls.RequestClientCert
	}
	return tls.NoClientCert
}

// certificate picks one for a client: of those that suit its server name and its
// algorithms one with an elliptic curve, else the first that does, else the first
// (Envoy: certificate selection). hello is nil where only facts are wanted.
func (t *terminator) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(t.inline) == 1 || hello == nil && len(t.inline) > 0 {
		return t.inline[0], nil
	}
	if len(t.inline) > 0 {
		var suits *tls.Certificate
		for _, c := range t.inline {
			if hello.SupportsCertificate(c) != nil {
				continue
			}
			if leafOf(c).PublicKeyAlgorithm == x509.ECDSA {
				return c, nil
			}
			if suits == nil {
				suits = c
			}
		}
		return cmp.Or(suits, t.inline[0]), nil
	}
	if s := t.secrets.Secret(t.c.Certificate); s != nil && s.Certificate != nil {
		return s.Certificate, nil
	}
	return nil, fmt.Errorf("secret %q has not come yet", t.c.Certificate)
}

func (t *terminator) trusted() (*x509.CertPool, error) {
	if t.roots != nil {
		return t.roots, nil
	}
	if s := t.secrets.Secret(t.c.ValidationContext); s != nil && s.Roots != nil {
		return s.Roots, nil
	}
	return nil, fmt.Errorf("roots %q have not come yet", t.c.ValidationContext)
}

// verify checks the client's chain against the roots of this moment, then its names.
func (t *terminator) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 || t.c.ValidationContext == "" && t.roots == nil {
		return nil
	}
	roots, err := t.trusted()
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return err
	}
	intermediates := x509.NewCertPool()
	for _, der := range raw[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return err
	}
	if !t.pinned(leaf) {
		return errors.New("the client's certificate is none of those whose hashes are allowed")
	}
	if len(t.c.MatchSANs) > 0 && !slices.ContainsFunc(names(leaf), t.wanted) {
		return fmt.Errorf("none of the client's names %v is allowed", names(leaf))
	}
	return nil
}

// pinned tells whether a certificate, or its key, is one of those that are listed, if any are.
func (t *terminator) pinned(c *x509.Certificate) bool {
	return len(t.c.CertHashes)+len(t.c.KeyHashes) == 0 || slices.Contains(t.c.CertHashes, sha256.Sum256(c.Raw)) ||
		slices.Contains(t.c.KeyHashes, sha256.Sum256(c.RawSubjectPublicKeyInfo))
}

func (t *terminator) wanted(name string) bool {
	return slices.ContainsFunc(t.c.MatchSANs, func(m snapshot.StringMatch) bool { return matches(m, name) })
}

// names are the subject alternative names of a certificate.
func names(c *x509.Certificate) []string {
	all := append(uris(c.URIs), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return append(all, c.EmailAddresses...)
}

func uris(list []*url.URL) (texts []string) {
	for _, u := range list {
		texts = append(texts, u.String())
	}
	return texts
}

func matches(m snapshot.StringMatch, s string) bool {
	fold := func(p string) (string, string) {
		if m.IgnoreCase {
			return strings.ToLower(s), strings.ToLower(p)
		}
		return s, p
	}
	test := func(f func(s, p string) bool, p string) bool { return f(fold(p)) }
	switch {
	case m.Exact != nil:
		return test(func(s, p string) bool { return s == p }, *m.Exact)
	case m.Prefix != nil:
		return test(strings.HasPrefix, *m.Prefix)
	case m.Suffix != nil:
		return test(strings.HasSuffix, *m.Suffix)
	case m.Contains != nil:
		return test(strings.Contains, *m.Contains)
	case m.Regex != nil:
		at := m.Regex.FindStringIndex(s)
		return at != nil && at[0] == 0 && at[1] == len(s)
	}
	return false
}

// handshake makes the connection a TLS one and gives the facts of it.
func (t *terminator) handshake(ctx context.Context, c net.Conn) (net.Conn, *message.TLS, error) {
	if t.timeout > 0 {
		_ = c.SetDeadline(time.Now().Add(t.timeout))
	}
	secured := tls.Server(c, t.base)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	if t.timeout > 0 {
		_ = c.SetDeadline(time.Time{})
	}
	return secured, t.facts(secured.ConnectionState()), nil
}

func (t *terminator) facts(s tls.ConnectionState) *message.TLS {
	facts := &message.TLS{Version: s.Version, Cipher: s.CipherSuite, ServerName: s.ServerName, ALPN: s.NegotiatedProtocol}
	if own, err := t.certificate(nil); err == nil {
		facts.LocalURIs = uris(leafOf(own).URIs)
	}
	if len(s.PeerCertificates) > 0 && (t.c.ValidationContext != "" || t.roots != nil) {
		peer := s.PeerCertificates[0]
		sum := sha256.Sum256(peer.Raw)
		facts.PeerHash = hex.EncodeToString(sum[:])
		facts.PeerURIs, facts.PeerDNS = uris(peer.URIs), peer.DNSNames
		facts.PeerSubject = peer.Subject.String()
		facts.Peer = s.PeerCertificates
	}
	return facts
}

func leafOf(c *tls.Certificate) *x509.Certificate {
	if c.Leaf != nil {
		return c.Leaf
	}
	if leaf, err := x509.ParseCertificate(c.Certificate[0]); err == nil {
		return leaf
	}
	return new(x509.Certificate)
}
