package images

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// securing has a behaviour's server end TLS on its ports.
type securing struct {
	ports  []int // empty: all
	config *tls.Config
}

// newSecuring has every handshake full and of one size, as the proxies have.
func newSecuring(t *spec.ServerTLS, grpc bool) (*securing, error) {
	pair, err := tls.X509KeyPair([]byte(t.Cert), []byte(t.Key))
	if err != nil {
		return nil, fmt.Errorf("behaviour: tls: %w", err)
	}
	s := &securing{ports: t.Ports, config: &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, Time: time.Now, NextProtos: []string{"http/1.1"},
		CurvePreferences: []tls.CurveID{tls.X25519}, SessionTicketsDisabled: true,
	}}
	if grpc {
		s.config.NextProtos = []string{"h2"}
	}
	if t.CA != "" {
		s.config.ClientCAs, s.config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !s.config.ClientCAs.AppendCertsFromPEM([]byte(t.CA)) {
			return nil, errors.New("behaviour: tls: the ca has no certificate")
		}
	}
	return s, nil
}

// listener is l, with TLS where the port has it.
func (s *securing) listener(l net.Listener, port int) net.Listener {
	if s == nil || len(s.ports) > 0 && !slices.Contains(s.ports, port) {
		return l
	}
	return tls.NewListener(l, s.config)
}
