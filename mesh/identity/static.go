package identity

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/secret"
)

// PEM is a secret as text: a certificate (with its chain) and its key, trusted
// roots, or both.
type PEM struct{ Cert, Key, Roots []byte }

// StaticSource is a secret.Source that does not change.
type StaticSource map[string]*secret.Secret

var _ secret.Source = StaticSource(nil)

// NewStaticSource reads secrets by name and reports everything that is wrong.
func NewStaticSource(secrets map[string]PEM) (StaticSource, error) {
	s := make(StaticSource, len(secrets))
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		sec, err := secrets[name].secret()
		if err != nil {
			errs = append(errs, fmt.Errorf("secret %q: %w", name, err))
		}
		s[name] = sec
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func (p PEM) secret() (*secret.Secret, error) {
	s := &secret.Secret{}
	if len(p.Roots) > 0 {
		trusted, err := parseCertificates(p.Roots)
		if err != nil {
			return nil, fmt.Errorf("roots: %w", err)
		}
		s = rootsOf(trusted)
	}
	switch {
	case len(p.Cert) > 0 || len(p.Key) > 0:
		pair, _, err := keyPair(p.Cert, p.Key)
		if err != nil {
			return nil, err
		}
		s.Certificate = pair
	case len(p.Roots) == 0:
		return nil, errors.New("neither a certificate nor roots")
	}
	return s, nil
}

// Secret implements secret.Source.
func (s StaticSource) Secret(name string) *secret.Secret { return s[name] }

// Changed implements secret.Source: nothing ever changes, so the channel is nil.
func (StaticSource) Changed() <-chan struct{} { return nil }
