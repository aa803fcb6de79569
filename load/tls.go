package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	h2 "github.com/windtunnel-mesh/windtunnel/mesh/proxy/http2"
)

// TLS is what a client of an https:// URL does. Texts are PEM.
type TLS struct {
	SNI      string // "" is the URL's host; the server's certificate must be for it
	CA       string // whom the server's certificate must be from
	Cert     string // the client's own certificate, "" for none
	Key      string
	Insecure bool // take any certificate
}

// Session is a TLS session as the client saw it.
type Session struct {
	Version string // "TLSv1.3", as Envoy writes it
	Peer    string // the server's certificate: its first DNS name or URI, else its common name
}

// secure makes the client's configuration. Keys are exchanged with X25519: hellos
// have one size then.
func (t *TLS) secure(host string) (*tls.Config, error) {
	c := &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS12, Time: time.Now,
		CurvePreferences: []tls.CurveID{tls.X25519}, InsecureSkipVerify: t.Insecure,
	}
	if t.SNI != "" {
		c.ServerName = t.SNI
	}
	if !t.Insecure {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(t.CA)) {
			return nil, errors.New("load: tls: the CA has no certificate")
		}
	}
	if t.Cert != "" {
		pair, err := tls.X509KeyPair([]byte(t.Cert), []byte(t.Key))
		if err != nil {
			return nil, fmt.Errorf("load: tls: the client's certificate: %w", err)
		}
		// Also where the server does not name the client's authority: it is told that
		// the certificate is wrong then, not that there is none.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return c, nil
}

// secured makes a request's connections TLS where its URL asks for it.
func (r *request) secured(u *url.URL, secure bool) error {
	t := r.target.TLS
	if !secure {
		if t != nil {
			return errors.New("load: tls needs an https:// URL")
		}
		return nil
	}
	if t == nil {
		return errors.New("load: " + u.Scheme + " needs a CA, or to be told that any certificate will do")
	}
	var err error
	if r.tls, err = t.secure(u.Hostname()); err != nil {
		return err
	}
	switch r.target.Protocol {
	case "http2", "grpc":
		r.tls.NextProtos = []string{h2.Protocol}
	case "tcp":
	default:
		r.tls.NextProtos = []string{"http/1.1"}
	}
	return nil
}

// errTLS is the error of a handshake.
var errTLS = errors.New("tls")

// connect dials, and shakes hands where the URL is https.
func (c *caller) connect(ctx context.Context) (net.Conn, *Session, error) {
	raw, err := c.request.target.Dial(ctx, "tcp", c.request.addr)
	if err != nil || c.request.tls == nil {
		return raw, nil, err
	}
	// Closing works on every kind of connection, deadlines do not.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	conn := tls.Client(raw, c.request.tls)
	if err := conn.Handshake(); err != nil {
		raw.Close()
		return nil, nil, fmt.Errorf("%w: %w", errTLS, err)
	}
	if s := conn.ConnectionState(); len(c.request.tls.NextProtos) == 1 && c.request.tls.NextProtos[0] == h2.Protocol && s.NegotiatedProtocol != h2.Protocol {
		conn.Close()
		return nil, nil, fmt.Errorf("%w: the server does not speak h2 (ALPN %q)", errTLS, s.NegotiatedProtocol)
	}
	return conn, session(conn.ConnectionState()), nil
}

func session(s tls.ConnectionState) *Session {
	found := &Session{Version: map[uint16]string{tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3"}[s.Version]}
	if len(s.PeerCertificates) > 0 {
		switch leaf := s.PeerCertificates[0]; {
		case len(leaf.DNSNames) > 0:
			found.Peer = leaf.DNSNames[0]
		case len(leaf.URIs) > 0:
			found.Peer = leaf.URIs[0].String()
		default:
			found.Peer = leaf.Subject.CommonName
		}
	}
	return found
}
