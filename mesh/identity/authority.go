package identity

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"time"
)

// Authority is a signing certificate that is brought from outside, in PEM, as in
// Istio's secret "cacerts".
type Authority struct {
	Cert, Key []byte
	// Chain has the certificates between Cert and the root; empty where Cert is a
	// root itself or its issuer is one.
	Chain []byte
	// Root has the root; empty where Cert is self-signed.
	Root []byte
}

// authority is what signs. It does not change.
type authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	root  *x509.Certificate
	chain []*x509.Certificate // what a peer needs between a leaf and the root, cert included unless it is the root
}

// selfSigned makes a new root; n numbers the roots of one CA.
func (c *CA) selfSigned(n int) (*authority, error) {
	key, err := c.keys.new("root/" + strconv.Itoa(n))
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	now := time.Now()
	// The number keeps the names of two roots apart; they have one length.
	subject := pkix.Name{Organization: []string{c.o.TrustDomain}, CommonName: fmt.Sprintf("root %04d", n)}
	template, err := c.template(key.Public(), now, now.Add(c.o.RootTTL))
	if err != nil {
		return nil, err
	}
	template.Subject = subject
	asAuthority(template)
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("root certificate: %w", err)
	}
	return &authority{cert: cert, key: key, root: cert}, nil
}

func asAuthority(t *x509.Certificate) {
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	t.ExtKeyUsage = nil
}

// load checks an authority that was brought.
func load(a *Authority) (*authority, error) {
	pair, key, err := keyPair(bytes.Join([][]byte{a.Cert, a.Chain}, []byte("\n")), a.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	auth := &authority{cert: pair.Leaf, key: key}
	chain, err := x509.ParseCertificates(bytes.Join(pair.Certificate, nil))
	if err != nil {
		return nil, fmt.Errorf("certificate authority: chain: %w", err)
	}
	if !auth.cert.IsCA || auth.cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("certificate authority: the certificate of %q may not sign certificates", auth.cert.Subject)
	}
	if len(a.Root) == 0 {
		if len(chain) > 1 || auth.cert.CheckSignatureFrom(auth.cert) != nil {
			return nil, errors.New("certificate authority: the certificate is not self-signed: a root is needed")
		}
		auth.root = auth.cert
		return auth, nil
	}
	roots, err := parseCertificates(a.Root)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: root: %w", err)
	}
	if len(roots) != 1 {
		return nil, fmt.Errorf("certificate authority: %d roots, want one; add the others with AddRoot", len(roots))
	}
	auth.root = roots[0]
	if !auth.cert.Equal(auth.root) {
		auth.chain = chain
	}
	_, err = auth.cert.Verify(x509.VerifyOptions{
		Roots: pool(roots), Intermediates: pool(chain[1:]), CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("certificate authority: its certificate does not lead to the root: %w", err)
	}
	return auth, nil
}

// crossSign certifies next's root by old: who trusts only old's root accepts what
// next signs, through this certificate. It is of no use longer than old itself.
func (c *CA) crossSign(old, next *authority) (*x509.Certificate, error) {
	if old.cert.MaxPathLenZero || old.cert.MaxPathLen > 0 {
		return nil, errors.New("the old authority's path length does not allow it to certify another root: " +
			"call AddRoot, wait until every proxy has renewed its certificate, then Rotate")
	}
	notAfter := next.root.NotAfter
	if old.cert.NotAfter.Before(notAfter) {
		notAfter = old.cert.NotAfter
	}
	template, err := c.template(next.root.PublicKey, time.Now(), notAfter)
	if err != nil {
		return nil, err
	}
	template.Subject, template.SubjectKeyId = next.root.Subject, next.root.SubjectKeyId
	asAuthority(template)
	return sign(template, old.cert, next.root.PublicKey, old.key)
}

// clockSkew is how far certificates reach back, for peers whose clock is behind.
const clockSkew = 2 * time.Minute

// template has what all certificates have: a serial number of a fixed size, times.
func (c *CA) template(public crypto.PublicKey, now, notAfter time.Time) (*x509.Certificate, error) {
	serial, err := c.serial(public, now)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     notAfter,
	}, nil
}

// serial draws 16 bytes of which the first is 0x40 to 0x7f, so that all serial
// numbers have one size. The deterministic one depends on key and time only: not on
// the order in which requests come in.
func (c *CA) serial(public crypto.PublicKey, now time.Time) (*big.Int, error) {
	var b [16]byte
	if c.o.Deterministic {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		sum := sha256.Sum256(der)
		c.o.Seed.Bytes("serial/"+hex.EncodeToString(sum[:])+"/"+strconv.FormatInt(now.UnixNano(), 10), b[:])
	} else if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
