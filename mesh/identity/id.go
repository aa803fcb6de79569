// Package identity gives workloads their identity: a certificate authority that
// issues SPIFFE certificates, Istio's certificate service over gRPC, and the agent
// beside each proxy that asks for its certificate and renews it in time.
//
// In come seeds, PEM and requests to sign; out go certificates, and on the proxy's
// side secret.Source. It must not import model, config, store, xds or anything of
// the data plane but mesh/proxy/secret.
package identity

import (
	"fmt"
	"net/url"
	"strings"
)

// DefaultTrustDomain is Istio's default.
const DefaultTrustDomain = "cluster.local"

// ID is a workload's identity: its service account, in Kubernetes' terms.
type ID struct{ TrustDomain, Namespace, ServiceAccount string }

// ParseID reads spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT, the only
// form that Istio issues.
func ParseID(s string) (ID, error) {
	rest, ok := strings.CutPrefix(s, "spiffe://")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 5 || parts[1] != "ns" || parts[3] != "sa" {
		return ID{}, fmt.Errorf("identity %q: want spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT", s)
	}
	id := ID{TrustDomain: parts[0], Namespace: parts[2], ServiceAccount: parts[4]}
	return id, id.validate()
}

// String is the SPIFFE id.
func (id ID) String() string {
	return "spiffe://" + id.TrustDomain + "/ns/" + id.Namespace + "/sa/" + id.ServiceAccount
}

func (id ID) uri() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: id.TrustDomain, Path: "/ns/" + id.Namespace + "/sa/" + id.ServiceAccount}
}

// validate holds every part to SPIFFE's characters: letters, digits, ".", "-" and
// "_", capitals not in a trust domain.
func (id ID) validate() error {
	for _, part := range []struct{ name, value string }{
		{"trust domain", id.TrustDomain}, {"namespace", id.Namespace}, {"service account", id.ServiceAccount},
	} {
		bad := func(r rune) bool {
			switch {
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
				return false
			}
			return r < 'A' || r > 'Z' || part.name == "trust domain"
		}
		if part.value == "" || part.value == "." || part.value == ".." || strings.ContainsFunc(part.value, bad) {
			return fmt.Errorf("identity %s: %s %q is not valid", id, part.name, part.value)
		}
	}
	return nil
}
