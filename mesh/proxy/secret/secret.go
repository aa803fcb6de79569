// Package secret is where the data plane gets certificates and trusted roots.
// Identity agents and SDS clients implement Source.
package secret

import (
	"crypto/tls"
	"crypto/x509"
)

// Secret is a certificate, a set of trusted roots, or both. It does not change;
// a rotation makes a new one.
type Secret struct {
	Certificate *tls.Certificate
	Roots       *x509.CertPool
	RootsPEM    []byte
}

// Source gives secrets by their SDS name ("default", "ROOTCA", "kubernetes://cert").
type Source interface {
	// Secret returns the current secret, or nil where it has not come yet.
	Secret(name string) *Secret
	// Changed returns a channel that is closed at the next change of any secret.
	Changed() <-chan struct{}
}
