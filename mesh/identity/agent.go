package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	capb "istio.io/api/security/v1alpha1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// The SDS names of a workload's certificate and of the roots that it trusts.
const (
	WorkloadSecret = "default"
	RootSecret     = "ROOTCA"
)

// AgentOptions for NewAgent.
type AgentOptions struct {
	// Conn leads to the certificate service. The agent does not close it.
	Conn grpc.ClientConnInterface
	// ID is asked for, and checked in the answer; the zero value takes what comes.
	ID ID
	// Token returns the bearer token; it is called for every request, as tokens in
	// files are replaced. nil: none.
	Token func() (string, error)
	TTL   time.Duration // asked for; 0: 24 h
	Seed  seed.Seed     // of the jitter, and of the keys where Deterministic
	// KeyType and Deterministic are as in CAOptions.
	KeyType       KeyType
	Deterministic bool
	Logger        *slog.Logger // nil: silent
}

// Agent keeps a workload's certificate fresh. It implements secret.Source with the
// names WorkloadSecret and RootSecret.
type Agent struct {
	o      AgentOptions
	keys   keys
	client capb.IstioCertificateServiceClient

	mu       sync.Mutex
	workload *secret.Secret
	roots    *secret.Secret
	changed  chan struct{}

	open *request // that has no certificate yet; Run's own
}

// request is a key with the request for its certificate. It is made once, however often
// it has to be sent.
type request struct {
	key crypto.Signer
	pem string
}

var _ secret.Source = (*Agent)(nil)

// NewAgent makes an agent; Run makes it work.
func NewAgent(o AgentOptions) (*Agent, error) {
	if o.TTL == 0 {
		o.TTL = 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Agent{o: o, keys: keys{o.KeyType, o.Deterministic, o.Seed}, changed: make(chan struct{})}
	if o.Conn == nil {
		return nil, errors.New("identity agent: no connection to the certificate service")
	}
	if o.TTL < time.Second {
		return nil, fmt.Errorf("identity agent: lifetime %s: must be at least a second", o.TTL)
	}
	if err := a.keys.validate(); err != nil {
		return nil, fmt.Errorf("identity agent: %w", err)
	}
	if o.ID != (ID{}) {
		if err := o.ID.validate(); err != nil {
			return nil, fmt.Errorf("identity agent: %w", err)
		}
	}
	a.client = capb.NewIstioCertificateServiceClient(o.Conn)
	return a, nil
}

// Secret implements secret.Source.
func (a *Agent) Secret(name string) *secret.Secret {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch name {
	case WorkloadSecret:
		return a.workload
	case RootSecret:
		return a.roots
	}
	return nil
}

// Changed implements secret.Source.
func (a *Agent) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// WaitReady returns when there is a certificate.
func (a *Agent) WaitReady(ctx context.Context) error {
	for {
		changed := a.Changed()
		if a.Secret(WorkloadSecret) != nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the workload certificate: %w", context.Cause(ctx))
		}
	}
}

const (
	firstDelay     = 100 * time.Millisecond // before a second attempt, doubled each time
	longestDelay   = 30 * time.Second
	requestTimeout = 10 * time.Second
)

// Run asks for a certificate and renews it until ctx ends; it returns nil then.
// While the service does not answer, it tries again and the last certificate stays.
func (a *Agent) Run(ctx context.Context) error {
	failures := 0
	for n := 0; ; n++ {
		delay, err := a.renew(ctx, n)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			delay = a.backoff(failures, n)
			failures++
			a.o.Logger.Warn("certificate request failed", "error", err, "retry in", delay)
		default:
			failures = 0
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// backoff is half fixed, half drawn, so that the proxies of a mesh do not come back
// all at once.
func (a *Agent) backoff(failures, n int) time.Duration {
	d := longestDelay
	if failures < 9 {
		d = min(d, firstDelay<<failures)
	}
	return d/2 + a.o.Seed.Duration("backoff/"+strconv.Itoa(n), d/2)
}

// renew gets the n-th certificate and returns how long to wait for the next.
func (a *Agent) renew(ctx context.Context, n int) (time.Duration, error) {
	if a.open == nil {
		var err error
		if a.open, err = a.newRequest(n); err != nil {
			return 0, err
		}
	}
	answer, err := a.send(ctx, a.open)
	if err != nil {
		return 0, err
	}
	workload, roots, err := a.accept(answer, a.open.key)
	if err != nil {
		return 0, fmt.Errorf("certificate service's answer: %w", err)
	}
	a.open = nil
	a.mu.Lock()
	a.workload, a.roots = workload, roots
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
	return a.next(workload.Certificate.Leaf, n), nil
}

// next is when a certificate is renewed. Istio's agent does so when half of its
// lifetime is left (SECRET_GRACE_PERIOD_RATIO 0.5), give or take 1 %.
func (a *Agent) next(cert *x509.Certificate, n int) time.Duration {
	life := cert.NotAfter.Sub(cert.NotBefore)
	grace := 0.5 + 0.02*(a.o.Seed.Float64("grace/"+strconv.Itoa(n))-0.5)
	at := cert.NotAfter.Add(-time.Duration(grace * float64(life)))
	return max(time.Until(at), firstDelay)
}

func (a *Agent) newRequest(n int) (*request, error) {
	key, err := a.keys.new("workload/" + strconv.Itoa(n))
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	template := &x509.CertificateRequest{}
	if a.o.ID != (ID{}) {
		template.URIs = []*url.URL{a.o.ID.uri()}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return &request{key, string(encodePEM(requestBlock, der))}, nil
}

func (a *Agent) send(ctx context.Context, r *request) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if a.o.Token != nil {
		token, err := a.o.Token()
		if err != nil {
			return nil, fmt.Errorf("read the token: %w", err)
		}
		ctx = metadata.AppendToOutgoingContext(ctx, authorization, bearerPrefix+strings.TrimSpace(token))
	}
	answer, err := a.client.CreateCertificate(ctx, &capb.IstioCertificateRequest{
		Csr:              r.pem,
		ValidityDuration: int64(a.o.TTL / time.Second),
	})
	if err != nil {
		return nil, err
	}
	return answer.GetCertChain(), nil
}

// accept checks an answer: the certificate is for our key and our identity, and
// leads to the roots at its end.
func (a *Agent) accept(chain []string, key crypto.Signer) (workload, roots *secret.Secret, err error) {
	if len(chain) < 2 {
		return nil, nil, fmt.Errorf("%d certificates, want at least the workload's and a root", len(chain))
	}
	last := len(chain) - 1
	certs, err := parseCertificates([]byte(strings.Join(chain[:last], "\n")))
	if err != nil {
		return nil, nil, err
	}
	trusted, err := parseCertificates([]byte(chain[last]))
	if err != nil {
		return nil, nil, fmt.Errorf("roots: %w", err)
	}
	public, ok := certs[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, nil, errors.New("the certificate is for another key")
	}
	if len(certs[0].URIs) != 1 || a.o.ID != (ID{}) && certs[0].URIs[0].String() != a.o.ID.String() {
		return nil, nil, fmt.Errorf("the certificate is for %v", certs[0].URIs)
	}
	_, err = certs[0].Verify(x509.VerifyOptions{
		Roots: pool(trusted), Intermediates: pool(certs[1:]), CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, nil, err
	}
	pair := &tls.Certificate{PrivateKey: key, Leaf: certs[0]}
	for _, c := range certs {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	roots = rootsOf(trusted)
	return &secret.Secret{Certificate: pair, Roots: roots.Roots, RootsPEM: roots.RootsPEM}, roots, nil
}

func rootsOf(trusted []*x509.Certificate) *secret.Secret {
	var text bytes.Buffer
	for _, c := range trusted {
		text.Write(encodePEM(certificateBlock, c.Raw))
	}
	return &secret.Secret{Roots: pool(trusted), RootsPEM: slices.Clip(text.Bytes())}
}
