//go:build ignore

// Issues certificates that hold from 1999 to 2099, so in virtual time (which begins in
// 2000) and today; keys are Ed25519, whose signatures have one size.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"strings"
	"time"
)

type pair struct {
	certificate *x509.Certificate
	key         ed25519.PrivateKey
	pem, keyPEM []byte
}

var serial int64

func issue(name string, by *pair, hosts ...string) *pair {
	serial++
	public, key, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	t := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: hosts,
		NotBefore:             time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true, IsCA: by == nil, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := t, key
	if by == nil {
		t.KeyUsage |= x509.KeyUsageCertSign
	} else {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, public, signer)
	check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	certificate, err := x509.ParseCertificate(der)
	check(err)
	return &pair{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func secret(namespace, name, kind string, data ...any) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s}\ntype: %s\ndata:\n", name, namespace, kind)
	for i := 0; i < len(data); i += 2 {
		fmt.Fprintf(&b, "  %s: %s\n", data[i], base64.StdEncoding.EncodeToString(data[i+1].([]byte)))
	}
	return b.String()
}
