package identity

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// TokenIssuer stands in for Kubernetes' service account tokens where there is no
// Kubernetes: it issues tokens that say "this is pod P of service account S in
// namespace N", sealed with a key that only it has, and believes them. They do not
// expire.
type TokenIssuer struct {
	trustDomain string // "": the CA's
	key         []byte
}

var _ Authenticator = (*TokenIssuer)(nil)

// NewTokenIssuer makes an issuer for a world in one process. Its key is as secret as
// the seed. Issuers of one seed accept each other's tokens.
func NewTokenIssuer(s seed.Seed) *TokenIssuer {
	t := &TokenIssuer{key: make([]byte, sha256.Size)}
	s.Bytes("token key", t.key)
	return t
}

// NewKeyedTokenIssuer makes an issuer with a key from a file, of 16 bytes at least,
// for a trust domain ("": that of the CA).
func NewKeyedTokenIssuer(trustDomain string, key []byte) (*TokenIssuer, error) {
	if len(key) < 16 {
		return nil, fmt.Errorf("token key of %d bytes: want 16 at least", len(key))
	}
	return &TokenIssuer{trustDomain, bytes.Clone(key)}, nil
}

// Issue makes a pod's token.
func (t *TokenIssuer) Issue(namespace, serviceAccount, pod string) (string, error) {
	if err := (ID{DefaultTrustDomain, namespace, serviceAccount}).validate(); err != nil {
		return "", err
	}
	if pod == "" || strings.Contains(pod, "/") {
		return "", errors.New("token: pod name " + pod + " is not valid")
	}
	subject := namespace + "/" + serviceAccount + "/" + pod
	return base64.RawURLEncoding.EncodeToString([]byte(subject)) + "." + base64.RawURLEncoding.EncodeToString(t.seal(subject)), nil
}

func (t *TokenIssuer) seal(subject string) []byte {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte(subject))
	return mac.Sum(nil)
}

var errToken = errors.New("token is not valid")

// Authenticate implements Authenticator.
func (t *TokenIssuer) Authenticate(_ context.Context, token string, _ []string) (ID, error) {
	if token == "" {
		return ID{}, ErrNoCredentials
	}
	head, tail, _ := strings.Cut(token, ".")
	subject, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return ID{}, errToken
	}
	seal, err := base64.RawURLEncoding.DecodeString(tail)
	if err != nil || !hmac.Equal(seal, t.seal(string(subject))) {
		return ID{}, errToken
	}
	parts := strings.Split(string(subject), "/")
	if len(parts) != 3 {
		return ID{}, errToken
	}
	return ID{TrustDomain: t.trustDomain, Namespace: parts[0], ServiceAccount: parts[1]}, nil
}
