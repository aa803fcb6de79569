package analyze

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// credential is a certificate that a server of a Gateway shows.
type credential struct {
	gateway *model.Gateway
	server  int
	name    string
	secret  *model.Secret // nil: it is not there, or nobody knows where to look
}

// certificates looks at the certificates of Gateways: those of no use, and those that two
// Gateways for the same Pods show. A browser uses one HTTP/2 connection for all names of a
// certificate (RFC 9113, 9.1.1), and a Gateway knows its own hosts only.
func (a *analysis) certificates() {
	var before []credential
	for _, g := range a.mesh.Gateways {
		for i, s := range g.Servers {
			if s.TLS == nil || s.TLS.Passthrough || s.TLS.Workload || s.Protocol != model.HTTPS && s.Protocol != model.TLS {
				continue
			}
			for _, name := range s.TLS.Credentials {
				c := credential{g, i, name, a.credentialOf(g, name)}
				a.badCertificate(c)
				if s.Protocol == model.HTTPS {
					a.sameCertificate(c, before)
					before = append(before, c)
				}
			}
		}
	}
}

// credentialOf finds a Secret beside the Gateway's Pods.
func (a *analysis) credentialOf(g *model.Gateway, name string) *model.Secret {
	for _, w := range a.workloads {
		if model.Selects(g.Selector, w.Labels) {
			return a.mesh.Secret(w.Namespace, name)
		}
	}
	return nil
}

func (a *analysis) badCertificate(c credential) {
	o := a.view.Get("Gateway", c.gateway.Namespace, c.gateway.Name)
	if o == nil || c.secret == nil || len(c.secret.Chain) == 0 || len(c.secret.Key) == 0 {
		return // what is not there package build has told
	}
	problem := ""
	block, _ := pem.Decode(c.secret.Chain)
	if block == nil {
		problem = "has no PEM certificate"
	} else if leaf, err := x509.ParseCertificate(block.Bytes); err != nil {
		problem = "has a certificate that cannot be read: " + err.Error()
	} else if now := time.Now(); now.After(leaf.NotAfter) {
		problem = "has a certificate that was good until " + leaf.NotAfter.UTC().Format(time.DateOnly)
	} else if now.Before(leaf.NotBefore) {
		problem = "has a certificate that is good from " + leaf.NotBefore.UTC().Format(time.DateOnly)
	} else if _, err := tls.X509KeyPair(c.secret.Chain, c.secret.Key); err != nil {
		problem = "has a key that does not fit its certificate: " + err.Error()
	}
	if problem != "" {
		a.report(o, config.Error, CodeBadCertificate, fmt.Sprintf("spec.servers[%d].tls.credentialName", c.server),
			fmt.Sprintf("secret %s/%s %s", c.secret.Namespace, c.secret.Name, problem), "")
	}
}

func (a *analysis) sameCertificate(c credential, before []credential) {
	o := a.view.Get("Gateway", c.gateway.Namespace, c.gateway.Name)
	for _, b := range before {
		if o == nil || b.gateway == c.gateway || !subset(b.gateway.Selector, c.gateway.Selector) && !subset(c.gateway.Selector, b.gateway.Selector) {
			continue
		}
		same := b.name == c.name
		if b.secret != nil && c.secret != nil {
			same = bytes.Equal(b.secret.Chain, c.secret.Chain)
		}
		if !same || c.gateway.Servers[c.server].Port != b.gateway.Servers[b.server].Port {
			continue
		}
		a.report(o, config.Warning, CodeSameCertificate, fmt.Sprintf("spec.servers[%d].tls.credentialName", c.server),
			fmt.Sprintf("Gateway %s shows the certificate %s on port %d of the same Pods: clients that use one HTTP/2 connection for both get 404 for hosts of the other",
				b.gateway.Ref(), c.name, c.gateway.Servers[c.server].Port), "put the hosts into one Gateway, or take two certificates")
		return
	}
}
