package identity

import (
	"context"
	"errors"
	"strings"
	"time"

	capb "istio.io/api/security/v1alpha1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Authenticator tells who calls.
type Authenticator interface {
	// Authenticate gets the bearer token, "" without one, and the URI names of the
	// client's verified certificate, if it showed one. An ID without a trust domain is
	// in the CA's own.
	Authenticate(ctx context.Context, token string, peer []string) (ID, error)
}

// ErrNoCredentials says that a caller showed nothing that an Authenticator looks at.
var ErrNoCredentials = errors.New("no credentials")

// AnyOf asks authenticators in order; one that sees no credentials of its kind
// passes on to the next.
func AnyOf(list ...Authenticator) Authenticator { return anyOf(list) }

type anyOf []Authenticator

func (a anyOf) Authenticate(ctx context.Context, token string, peer []string) (ID, error) {
	for _, one := range a {
		id, err := one.Authenticate(ctx, token, peer)
		if !errors.Is(err, ErrNoCredentials) {
			return id, err
		}
	}
	return ID{}, ErrNoCredentials
}

// PeerAuthenticator believes client certificates: who has one may renew it.
type PeerAuthenticator struct{}

// Authenticate implements Authenticator.
func (PeerAuthenticator) Authenticate(_ context.Context, _ string, peer []string) (ID, error) {
	if len(peer) == 0 {
		return ID{}, ErrNoCredentials
	}
	if len(peer) > 1 {
		return ID{}, errors.New("client certificate has several identities")
	}
	return ParseID(peer[0])
}

// Service is Istio's certificate service (istio.v1.auth.IstioCertificateService).
type Service struct {
	capb.UnimplementedIstioCertificateServiceServer
	ca   *CA
	auth Authenticator
}

var _ capb.IstioCertificateServiceServer = (*Service)(nil)

// NewService makes the service.
func NewService(ca *CA, auth Authenticator) *Service { return &Service{ca: ca, auth: auth} }

// Register adds the service to a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	capb.RegisterIstioCertificateServiceServer(r, s)
}

// CreateCertificate signs a request for the identity of who calls. Codes:
// Unauthenticated where that is not known, PermissionDenied where another identity is
// asked for, InvalidArgument for requests that cannot be signed.
func (s *Service) CreateCertificate(ctx context.Context, r *capb.IstioCertificateRequest) (*capb.IstioCertificateResponse, error) {
	token, err := bearer(ctx)
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	id, err := s.auth.Authenticate(ctx, token, peerURIs(ctx))
	if err != nil {
		return nil, status.Errorf(codes.Unauthenticated, "authenticate: %v", err)
	}
	if id.TrustDomain == "" {
		id.TrustDomain = s.ca.TrustDomain()
	}
	const most = int64(1<<63-1) / int64(time.Second)
	if r.GetValidityDuration() < 0 || r.GetValidityDuration() > most {
		return nil, status.Errorf(codes.InvalidArgument, "validity_duration %d s is out of range", r.GetValidityDuration())
	}
	chain, err := s.ca.Sign([]byte(r.GetCsr()), id, time.Duration(r.GetValidityDuration())*time.Second)
	switch {
	case errors.Is(err, ErrOtherIdentity):
		return nil, status.Error(codes.PermissionDenied, err.Error())
	case err != nil:
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	answer := &capb.IstioCertificateResponse{}
	for _, cert := range chain {
		answer.CertChain = append(answer.CertChain, string(cert))
	}
	return answer, nil
}

const authorization, bearerPrefix = "authorization", "Bearer "

// bearer returns the token of a call, "" where it has none.
func bearer(ctx context.Context) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, authorization)
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", errors.New("several authorization fields")
	}
	if len(values[0]) < len(bearerPrefix) || !strings.EqualFold(values[0][:len(bearerPrefix)], bearerPrefix) {
		return "", errors.New("authorization is no bearer token")
	}
	return values[0][len(bearerPrefix):], nil
}

// peerURIs returns the names of the client's certificate, of which the chain has
// been verified.
func peerURIs(ctx context.Context) []string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil
	}
	var uris []string
	for _, u := range info.State.VerifiedChains[0][0].URIs {
		uris = append(uris, u.String())
	}
	return uris
}
