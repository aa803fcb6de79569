package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// KeyType is the kind of a private key.
type KeyType int

// The kinds. ECDSA is the default because every real Envoy takes it; Ed25519 keys
// and signatures have one size each, which a deterministic run needs.
const (
	ECDSAP256 KeyType = iota
	Ed25519
)

// String implements fmt.Stringer.
func (k KeyType) String() string {
	switch k {
	case ECDSAP256:
		return "ECDSA P-256"
	case Ed25519:
		return "Ed25519"
	}
	return fmt.Sprintf("KeyType(%d)", int(k))
}

// keys makes private keys. Deterministic keys are as secret as a seed of 64 bits:
// for the simulator, never for a mesh that carries real traffic.
type keys struct {
	kind          KeyType
	deterministic bool
	seed          seed.Seed
}

func (k keys) validate() error {
	switch {
	case k.kind != ECDSAP256 && k.kind != Ed25519:
		return fmt.Errorf("key type %s is not supported", k.kind)
	case k.deterministic && k.kind != Ed25519:
		return fmt.Errorf("key type %s: deterministic keys have to be Ed25519, whose signatures have one size", k.kind)
	}
	return nil
}

// new makes the key that belongs to label; without determinism, any new key.
func (k keys) new(label string) (crypto.Signer, error) {
	switch {
	case k.deterministic:
		var b [ed25519.SeedSize]byte
		k.seed.Bytes("key/"+label, b[:])
		return ed25519.NewKeyFromSeed(b[:]), nil
	case k.kind == Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

const (
	certificateBlock = "CERTIFICATE"
	requestBlock     = "CERTIFICATE REQUEST"
)

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// parseCertificates reads every certificate of a PEM text; other blocks are refused.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != certificateBlock {
			return nil, fmt.Errorf("PEM block %q: want %q", block.Type, certificateBlock)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no PEM certificate found")
	}
	return certs, nil
}

// keyPair reads a certificate with its chain and key.
func keyPair(certPEM, keyPEM []byte) (*tls.Certificate, crypto.Signer, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, nil, err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, errors.New("the private key cannot sign")
	}
	return &pair, signer, nil
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}
