package listen

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

func inline(t *testing.T, der []byte, key crypto.PrivateKey) *snapshot.InlineCertificate {
	t.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &snapshot.InlineCertificate{Chain: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})}
}

func rsaCertificate(t *testing.T, name string) *snapshot.InlineCertificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return inline(t, der, key)
}

// handshake gives the client's view of a handshake with a terminator.
func handshake(t *testing.T, s *snapshot.ServerTLS, c *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	end, err := newTerminator(&snapshot.FilterChain{TLS: s, TCP: &snapshot.TCPProxy{}, HandshakeTimeout: time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer near.Close()
	verdict := make(chan error, 1)
	go func() {
		_, _, err := end.handshake(t.Context(), far)
		if err != nil {
			_ = far.Close()
		}
		verdict <- err
	}()
	client := tls.Client(near, c)
	err = client.HandshakeContext(t.Context())
	if err != nil {
		_ = near.Close()
	}
	if refused := <-verdict; err == nil {
		err = refused
	}
	return client.ConnectionState(), err
}

func TestCertificateSelection(t *testing.T) {
	first := issue(t, "a.example.com", "spiffe://x", nil)
	curve := inline(t, first.Certificate[0], first.PrivateKey)
	s := &snapshot.ServerTLS{Inline: rsaCertificate(t, "a.example.com"), Others: []*snapshot.InlineCertificate{curve, rsaCertificate(t, "b.example.com")}}
	for _, c := range []struct {
		name, host string
		suites     []uint16
		max        uint16
		algorithm  x509.PublicKeyAlgorithm
		names      string
	}{
		{"a curve where the client can", "a.example.com", nil, tls.VersionTLS13, x509.ECDSA, "a.example.com"},
		{"RSA where it cannot", "a.example.com", []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, tls.VersionTLS12, x509.RSA, "a.example.com"},
		{"by name", "b.example.com", nil, tls.VersionTLS13, x509.RSA, "b.example.com"},
		{"the first for other names", "c.example.com", nil, tls.VersionTLS13, x509.RSA, "a.example.com"},
	} {
		state, err := handshake(t, s, &tls.Config{ServerName: c.host, CipherSuites: c.suites, MaxVersion: c.max, InsecureSkipVerify: true})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if leaf := state.PeerCertificates[0]; leaf.PublicKeyAlgorithm != c.algorithm || leaf.DNSNames[0] != c.names {
			t.Errorf("%s: got a %v certificate of %v", c.name, leaf.PublicKeyAlgorithm, leaf.DNSNames)
		}
	}
}

func TestVersionsAndPins(t *testing.T) {
	ca := issue(t, "ca", "spiffe://x", nil)
	own := issue(t, "server", "spiffe://x/server", ca)
	client, other := issue(t, "client", "spiffe://x/client", ca), issue(t, "other", "spiffe://x/other", ca)
	server := func(change func(*snapshot.ServerTLS)) *snapshot.ServerTLS {
		s := &snapshot.ServerTLS{Inline: inline(t, own.Certificate[0], own.PrivateKey), RequireClientCert: true,
			InlineRoots: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate[0]})}
		change(s)
		return s
	}
	byHash := server(func(s *snapshot.ServerTLS) { s.CertHashes = [][32]byte{sha256.Sum256(client.Leaf.Raw)} })
	byKey := server(func(s *snapshot.ServerTLS) {
		s.CertHashes, s.KeyHashes = [][32]byte{{}}, [][32]byte{sha256.Sum256(client.Leaf.RawSubjectPublicKeyInfo)}
	})
	old := server(func(s *snapshot.ServerTLS) { s.MinVersion, s.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 })
	for _, c := range []struct {
		name   string
		server *snapshot.ServerTLS
		client *tls.Certificate
		max    uint16
		ok     bool
	}{
		{"a certificate that is pinned", byHash, client, tls.VersionTLS12, true},
		{"one of the same authority that is not", byHash, other, tls.VersionTLS12, false},
		{"a key that is pinned", byKey, client, tls.VersionTLS12, true},
		{"a key that is not", byKey, other, tls.VersionTLS12, false},
		{"an old version that is asked for", old, client, tls.VersionTLS11, true},
		{"an old version that is not", byHash, client, tls.VersionTLS11, false},
	} {
		_, err := handshake(t, c.server, &tls.Config{ServerName: "server", Certificates: []tls.Certificate{*c.client},
			MinVersion: tls.VersionTLS10, MaxVersion: c.max, InsecureSkipVerify: true})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
