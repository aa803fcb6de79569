package explain

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// chain is a certificate with these names, as PEM.
func chain(t *testing.T, uris []*url.URL, dns ...string) []byte {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotAfter: time.Now().Add(time.Hour), URIs: uris, DNSNames: dns}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestServersSeeTheCertificateThatIsShown(t *testing.T) {
	const own = "spiffe://cluster.local/ns/default/sa/a"
	other := &url.URL{Scheme: "spiffe", Host: "other", Path: "/ns/x/sa/y"}
	inline := func(chain []byte) *snapshot.ClientTLS {
		return &snapshot.ClientTLS{Inline: &snapshot.InlineCertificate{Chain: chain}}
	}
	for _, c := range []struct {
		tls  *snapshot.ClientTLS
		want string
		uris int
		peer bool
	}{
		{&snapshot.ClientTLS{Certificate: ownCertificate}, own, 1, true},
		{&snapshot.ClientTLS{Certificate: "file-cert:/c~/k"}, "unknown, in file-cert:/c~/k", 0, true},
		{inline(nil), "unknown, in files", 0, true},
		{inline(chain(t, []*url.URL{other}, "a.example.com")), other.String(), 1, true},
		{inline(chain(t, nil, "a.example.com")), "a.example.com", 0, true},
		{inline(chain(t, nil)), "CN=client", 0, true},
		{&snapshot.ClientTLS{}, "", 0, false},
	} {
		identity, leaf := shown(c.tls, own)
		f := peerOf(connection{tls: c.tls, identity: identity, leaf: leaf})
		if identity != c.want || len(f.PeerURIs) != c.uris || (len(f.Peer) > 0) != c.peer {
			t.Errorf("%+v: %q with %v, want %q", c.tls, identity, f.PeerURIs, c.want)
		}
	}
}
