package incluster

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// The Secrets that an authority is kept in: the one that users bring, and the one
// that the control plane makes. Names and keys are Istio's.
const (
	BroughtAuthority = "cacerts"
	OwnAuthority     = "istio-ca-secret"

	authorityType = "istio.io/ca-root"

	certKey, keyKey, chainKey, rootKey = "ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"
)

// authority makes the CA: of the Secret cacerts, where there is one; else of
// istio-ca-secret, which is made where it is not there. Several control planes that
// start at the same time agree: the first one's Secret counts.
func authority(ctx context.Context, c *kube.Client, namespace, trustDomain string) (*identity.CA, error) {
	secrets := kube.Resource("v1", "Secret")
	for _, name := range []string{BroughtAuthority, OwnAuthority} {
		found, err := c.Get(ctx, secrets, namespace, name)
		if err != nil {
			return nil, err
		}
		if found != nil {
			return loadAuthority(found, trustDomain)
		}
	}
	ca, err := identity.NewCA(identity.CAOptions{TrustDomain: trustDomain})
	if err != nil {
		return nil, err
	}
	kept, err := ca.Authority()
	if err != nil {
		return nil, err
	}
	made, err := c.Create(ctx, authoritySecret(namespace, kept))
	if err != nil {
		return nil, fmt.Errorf("keep the certificate authority: %w", err)
	}
	if made {
		return ca, nil
	}
	found, err := c.Get(ctx, secrets, namespace, OwnAuthority)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, errors.New("the Secret " + OwnAuthority + " was made by another and is gone again")
	}
	return loadAuthority(found, trustDomain)
}

func authoritySecret(namespace string, a *identity.Authority) *unstructured.Unstructured {
	text := base64.StdEncoding.EncodeToString
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": authorityType,
		"metadata": map[string]any{"name": OwnAuthority, "namespace": namespace,
			"labels": map[string]any{kube.OwnerLabel: kube.OwnerValue}},
		"data": map[string]any{certKey: text(a.Cert), keyKey: text(a.Key), rootKey: text(a.Root)},
	}}
}

func loadAuthority(u *unstructured.Unstructured, trustDomain string) (*identity.CA, error) {
	var secret corev1.Secret
	if err := kube.Into(u, &secret); err != nil {
		return nil, err
	}
	for _, key := range []string{certKey, keyKey} {
		if len(secret.Data[key]) == 0 {
			return nil, fmt.Errorf("the Secret %s/%s has no %s", secret.Namespace, secret.Name, key)
		}
	}
	ca, err := identity.NewCA(identity.CAOptions{TrustDomain: trustDomain, Authority: &identity.Authority{
		Cert: secret.Data[certKey], Key: secret.Data[keyKey], Chain: intermediates(secret.Data), Root: secret.Data[rootKey]}})
	if err != nil {
		return nil, fmt.Errorf("the Secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return ca, nil
}

// intermediates are the certificates of cert-chain.pem behind the first: Istio's chain
// begins with the signing certificate itself.
func intermediates(data map[string][]byte) []byte {
	return identity.Without(data[chainKey], data[certKey], data[rootKey])
}
