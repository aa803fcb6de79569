package manager

import (
	"encoding/pem"
	"net/url"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

const clientCert = "x-forwarded-client-cert"

// setClientCert treats x-forwarded-client-cert by its mode. A connection without a
// verified peer has nothing to say and no right to pass on what others said.
func (s *session) setClientCert(m *Manager, q *message.Request) {
	tls := s.c.Facts.TLS
	mutual := tls != nil && tls.PeerHash != ""
	mode := m.config.ForwardClientCert
	switch {
	case mode == snapshot.Sanitize || !mutual:
		q.Header.Del(clientCert)
	case mode == snapshot.ForwardOnly:
	default:
		if s.xfccBy != m {
			s.xfcc, s.xfccBy = certDetails(tls, m.config.SetCurrentCertDetails), m
		}
		value := s.xfcc
		if before, ok := q.Header.Lookup(clientCert); ok && mode == snapshot.AppendForward && before != "" {
			value = before + "," + value
		}
		q.Header.Set(clientCert, value)
	}
}

// certDetails is this hop's element, its parts in Envoy's order. By and Hash are always
// there; Subject and URI are named even where they are empty.
func certDetails(t *message.TLS, want snapshot.CertDetails) string {
	var parts []string
	if len(t.LocalURIs) > 0 {
		parts = append(parts, "By="+t.LocalURIs[0])
	}
	parts = append(parts, "Hash="+t.PeerHash)
	if want.Cert && len(t.Peer) > 0 {
		parts = append(parts, `Cert="`+escapedPEM(t, 1)+`"`)
	}
	if want.Chain && len(t.Peer) > 0 {
		parts = append(parts, `Chain="`+escapedPEM(t, len(t.Peer))+`"`)
	}
	if want.Subject {
		parts = append(parts, `Subject="`+t.PeerSubject+`"`)
	}
	if want.URI {
		uri := ""
		if len(t.PeerURIs) > 0 {
			uri = t.PeerURIs[0]
		}
		parts = append(parts, "URI="+uri)
	}
	if want.DNS {
		for _, name := range t.PeerDNS {
			parts = append(parts, "DNS="+name)
		}
	}
	return strings.Join(parts, ";")
}

// escapedPEM is the PEM of the first n certificates, URL-encoded.
func escapedPEM(t *message.TLS, n int) string {
	var b strings.Builder
	for _, c := range t.Peer[:n] {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return strings.ReplaceAll(url.QueryEscape(b.String()), "+", "%20")
}
