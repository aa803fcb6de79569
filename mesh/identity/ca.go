package identity

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// CAOptions for NewCA. The zero value is a self-signed ECDSA authority with Istio's
// lifetimes.
type CAOptions struct {
	TrustDomain string        // cluster.local
	RootTTL     time.Duration // of self-signed roots: 10 years
	WorkloadTTL time.Duration // where a request names none: 24 h
	MaxTTL      time.Duration // requests for more are refused: 90 days
	KeyType     KeyType       // of self-signed roots and of Issue
	// Authority is used in place of a self-signed root.
	Authority *Authority
	Seed      seed.Seed
	// Deterministic draws keys and serial numbers from Seed, and makes certificates of
	// the same size on every run. For the simulator only; it needs Ed25519.
	Deterministic bool
}

func (o *CAOptions) setDefaults() {
	if o.TrustDomain == "" {
		o.TrustDomain = DefaultTrustDomain
	}
	for _, d := range []struct {
		value *time.Duration
		is    time.Duration
	}{{&o.RootTTL, 10 * 365 * 24 * time.Hour}, {&o.WorkloadTTL, 24 * time.Hour}, {&o.MaxTTL, 90 * 24 * time.Hour}} {
		if *d.value == 0 {
			*d.value = d.is
		}
	}
}

// CA is a certificate authority. Its methods may be called by several goroutines.
type CA struct {
	o    CAOptions
	keys keys

	mu      sync.Mutex
	current *authority
	roots   []*x509.Certificate // trusted, the current one first
	cross   []*x509.Certificate // the current root, certified by the one before, and so on
	made    int                 // self-signed roots so far
	issued  map[string]int      // keys made by Issue, by subject
	changed chan struct{}
}

// NewCA makes an authority.
func NewCA(o CAOptions) (*CA, error) {
	o.setDefaults()
	c := &CA{
		o:       o,
		keys:    keys{o.KeyType, o.Deterministic, o.Seed},
		issued:  make(map[string]int),
		changed: make(chan struct{}),
	}
	if err := errors.Join(c.keys.validate(), (ID{o.TrustDomain, "n", "s"}).validate()); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if o.RootTTL < 0 || o.WorkloadTTL < 0 || o.MaxTTL < o.WorkloadTTL {
		return nil, fmt.Errorf("certificate authority: lifetimes of root %s, workload %s, at most %s do not fit", o.RootTTL, o.WorkloadTTL, o.MaxTTL)
	}
	auth, err := c.next(o.Authority)
	if err != nil {
		return nil, err
	}
	c.current, c.roots = auth, []*x509.Certificate{auth.root}
	return c, nil
}

// next loads an authority, or makes the next self-signed one.
func (c *CA) next(a *Authority) (*authority, error) {
	if a != nil {
		return load(a)
	}
	c.mu.Lock()
	c.made++
	n := c.made
	c.mu.Unlock()
	return c.selfSigned(n)
}

// TrustDomain of all identities that the CA signs.
func (c *CA) TrustDomain() string { return c.o.TrustDomain }

// RootPEM returns every root that is trusted now, the signing one first.
func (c *CA) RootPEM() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rootPEM()
}

func (c *CA) rootPEM() []byte {
	var b bytes.Buffer
	for _, r := range c.roots {
		b.Write(encodePEM(certificateBlock, r.Raw))
	}
	return b.Bytes()
}

func (c *CA) pool() *x509.CertPool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return pool(c.roots)
}

// Changed returns a channel that is closed when the trusted roots change.
func (c *CA) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// notify is called with mu held.
func (c *CA) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// AddRoot trusts further roots (PEM), of another mesh or of the authority that will
// come; signing does not change.
func (c *CA) AddRoot(text []byte) error {
	certs, err := parseCertificates(text)
	if err != nil {
		return fmt.Errorf("add root: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cert := range certs {
		if !slices.ContainsFunc(c.roots, cert.Equal) {
			c.roots = append(c.roots, cert)
		}
	}
	c.notify()
	return nil
}

// Rotate signs with another authority from now on (nil: a new self-signed root) and
// trusts both. No connection is refused meanwhile: certificates of the new root come
// with a certificate of that root by the old one, which leads who has not heard of
// the new root yet to the old one. Call RetireRoots when the last certificate of the
// old root has expired. A root that was announced by AddRoot needs no such bridge.
func (c *CA) Rotate(a *Authority) error {
	next, err := c.next(a)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.roots, next.root.Equal) {
		c.cross = nil
	} else {
		cross, err := c.crossSign(c.current, next)
		if err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
		c.cross = slices.Concat([]*x509.Certificate{cross}, c.current.chain, c.cross)
	}
	c.current = next
	c.roots = slices.DeleteFunc(c.roots, next.root.Equal)
	c.roots = append([]*x509.Certificate{next.root}, c.roots...)
	c.notify()
	return nil
}

// RetireRoots trusts nothing but the root that signs now.
func (c *CA) RetireRoots() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roots, c.cross = []*x509.Certificate{c.current.root}, nil
	c.notify()
}

// Sign signs a request (PEM) for an identity. A ttl of 0 is WorkloadTTL; more than
// MaxTTL is refused; no certificate outlives the authority. Names in the request have
// to be that identity's; everything else in it but the public key is ignored.
//
// The answer is what Istio's service sends: the certificate, what is between it and
// the root, and last all trusted roots as one text.
func (c *CA) Sign(csrPEM []byte, id ID, ttl time.Duration) ([][]byte, error) {
	public, err := requestedKey(csrPEM, id)
	if err != nil {
		return nil, err
	}
	if err := c.mayIssue(id); err != nil {
		return nil, err
	}
	chain, roots, err := c.leaf(public, ttl, func(t *x509.Certificate) { t.URIs = append(t.URIs, id.uri()) })
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", id, err)
	}
	var answer [][]byte
	for _, cert := range chain {
		answer = append(answer, encodePEM(certificateBlock, cert.Raw))
	}
	return append(answer, roots), nil
}

func (c *CA) mayIssue(id ID) error {
	if id.TrustDomain != c.o.TrustDomain {
		return fmt.Errorf("sign %s: this authority is for the trust domain %s", id, c.o.TrustDomain)
	}
	return id.validate()
}

// requestedKey checks a signing request and returns its public key.
func requestedKey(csrPEM []byte, id ID) (crypto.PublicKey, error) {
	block, rest := pem.Decode(csrPEM)
	if block == nil || block.Type != requestBlock || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("certificate request: want one PEM block " + requestBlock)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if len(csr.DNSNames)+len(csr.IPAddresses)+len(csr.EmailAddresses) > 0 {
		return nil, fmt.Errorf("certificate request: %w: only a SPIFFE id may be asked for", ErrOtherIdentity)
	}
	for _, uri := range csr.URIs {
		if uri.String() != id.String() {
			return nil, fmt.Errorf("certificate request: %w: %s asks for %s", ErrOtherIdentity, id, uri)
		}
	}
	return csr.PublicKey, nil
}

// ErrOtherIdentity says that a request asks for a name that is not the caller's.
var ErrOtherIdentity = errors.New("not the caller's identity")

// leaf signs an end-entity certificate. It returns it with what is between it and
// the roots, and the roots as PEM.
func (c *CA) leaf(public crypto.PublicKey, ttl time.Duration, names func(*x509.Certificate)) ([]*x509.Certificate, []byte, error) {
	switch {
	case ttl == 0:
		ttl = c.o.WorkloadTTL
	case ttl < 0 || ttl > c.o.MaxTTL:
		return nil, nil, fmt.Errorf("lifetime %s: must be at most %s", ttl, c.o.MaxTTL)
	}
	c.mu.Lock()
	auth, cross, roots := c.current, c.cross, c.rootPEM()
	c.mu.Unlock()
	now := time.Now()
	notAfter := now.Add(ttl)
	if notAfter.After(auth.cert.NotAfter) {
		notAfter = auth.cert.NotAfter
	}
	if !notAfter.After(now) {
		return nil, nil, fmt.Errorf("the authority's certificate expired at %s", auth.cert.NotAfter.Format(time.RFC3339))
	}
	template, err := c.template(public, now, notAfter)
	if err != nil {
		return nil, nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.BasicConstraintsValid = true
	names(template)
	cert, err := sign(template, auth.cert, public, auth.key)
	if err != nil {
		return nil, nil, err
	}
	return slices.Concat([]*x509.Certificate{cert}, auth.chain, cross), roots, nil
}

// Issue makes a key and a certificate for a workload in this process.
func (c *CA) Issue(id ID) (*tls.Certificate, error) {
	if err := c.mayIssue(id); err != nil {
		return nil, err
	}
	return c.issue(id.String(), func(t *x509.Certificate) { t.URIs = append(t.URIs, id.uri()) })
}

func (c *CA) issue(subject string, names func(*x509.Certificate)) (*tls.Certificate, error) {
	c.mu.Lock()
	c.issued[subject]++
	n := c.issued[subject]
	c.mu.Unlock()
	key, err := c.keys.new("issue/" + subject + "/" + strconv.Itoa(n))
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", subject, err)
	}
	chain, _, err := c.leaf(key.Public(), 0, names)
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", subject, err)
	}
	cert := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, link := range chain {
		cert.Certificate = append(cert.Certificate, link.Raw)
	}
	return cert, nil
}
