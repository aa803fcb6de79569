package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ServerConfig is the TLS of the control plane itself: a certificate for its host
// names (istiod.istio-system.svc), made by the CA and renewed at half its life.
// Client certificates are verified where a client shows one; none is demanded.
func (c *CA) ServerConfig(hosts ...string) (*tls.Config, error) {
	if len(hosts) == 0 {
		return nil, errors.New("server certificate: no host name")
	}
	s := &server{ca: c, hosts: hosts}
	if _, err := s.certificate(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: s.config,
		// Servers that look before the handshake (gRPC) want to see a certificate.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate() },
		NextProtos:     []string{"h2"},
	}, nil
}

type server struct {
	ca    *CA
	hosts []string

	mu     sync.Mutex
	cert   *tls.Certificate
	signer *authority // that signed when cert was made
}

// config is asked per handshake, so that changes of certificate and roots count at once.
func (s *server) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	cert, err := s.certificate()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		Certificates:           []tls.Certificate{*cert},
		ClientAuth:             tls.VerifyClientCertIfGiven,
		ClientCAs:              s.ca.pool(),
		NextProtos:             []string{"h2"},
		SessionTicketsDisabled: true, // a resumed session would outlive a change of roots
	}, nil
}

func (s *server) certificate() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	signer := s.ca.signer()
	if s.cert != nil && s.signer == signer {
		life := s.cert.Leaf.NotAfter.Sub(s.cert.Leaf.NotBefore)
		if time.Now().Before(s.cert.Leaf.NotBefore.Add(life / 2)) {
			return s.cert, nil
		}
	}
	cert, err := s.ca.issue(s.hosts[0], func(t *x509.Certificate) { t.DNSNames = s.hosts })
	if err != nil {
		return nil, err
	}
	s.cert, s.signer = cert, signer
	return cert, nil
}

func (c *CA) signer() *authority {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// ClientConfig is the TLS of who calls the control plane: it trusts the roots in
// PEM and expects the server's certificate to be for serverName.
func ClientConfig(rootsPEM []byte, serverName string) (*tls.Config, error) {
	roots, err := parseCertificates(rootsPEM)
	if err != nil {
		return nil, fmt.Errorf("roots of the control plane: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    pool(roots),
		ServerName: serverName,
		NextProtos: []string{"h2"},
	}, nil
}
