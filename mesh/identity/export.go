package identity

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// Authority returns what signs now, with its private key, so that it can be kept
// where the next process of the control plane finds it.
func (c *CA) Authority() (*Authority, error) {
	auth := c.signer()
	der, err := x509.MarshalPKCS8PrivateKey(auth.key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: key: %w", err)
	}
	a := &Authority{
		Cert: encodePEM(certificateBlock, auth.cert.Raw),
		Key:  encodePEM("PRIVATE KEY", der),
		Root: encodePEM(certificateBlock, auth.root.Raw),
	}
	for _, cert := range auth.chain {
		if !cert.Equal(auth.cert) {
			a.Chain = append(a.Chain, encodePEM(certificateBlock, cert.Raw)...)
		}
	}
	return a, nil
}

// Without returns the certificates of a PEM text that are in none of the others, in
// their order.
func Without(text []byte, others ...[]byte) []byte {
	known := make(map[string]bool)
	for _, other := range others {
		for block, rest := pem.Decode(other); block != nil; block, rest = pem.Decode(rest) {
			known[string(block.Bytes)] = true
		}
	}
	var left []byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if !known[string(block.Bytes)] {
			left = append(left, pem.EncodeToMemory(block)...)
		}
	}
	return left
}
