package build

import (
	"fmt"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// gateways reads Gateways, and the Secrets that their servers name.
func (b *builder) gateways() {
	for _, o := range b.view.Of("Secret") {
		if s, ok := o.Value.(*corev1.Secret); ok {
			if m := credential(o, s); m != nil {
				b.parts.Secrets = append(b.parts.Secrets, m)
			}
		}
	}
	for _, o := range oldestFirst(b.view.Of("Gateway")) {
		g, ok := o.Value.(*networkingv1.Gateway)
		if !ok {
			continue
		}
		m := &model.Gateway{Name: o.Name, Namespace: o.Namespace, Selector: g.Spec.GetSelector(), Created: o.Created, Source: sourceAt(o, "")}
		for i, s := range g.Spec.GetServers() {
			m.Servers = append(m.Servers, b.server(o, s, fmt.Sprintf("spec.servers[%d]", i), g.Spec.GetSelector()))
		}
		b.parts.Gateways = append(b.parts.Gateways, m)
		b.origin.gateways[m.Ref()] = o
	}
}

func (b *builder) server(o *config.Object, s *networkingpb.Server, path string, selector map[string]string) *model.Server {
	m := &model.Server{
		Port: s.GetPort().GetNumber(), Protocol: declaredProtocol(s.GetPort().GetProtocol()), Name: s.GetPort().GetName(),
		Bind: s.GetBind(), Source: sourceAt(o, path),
	}
	for _, h := range s.GetHosts() {
		host := model.ServerHost{Namespace: "*", Host: strings.ToLower(h)}
		if ns, name, ok := strings.Cut(h, "/"); ok {
			host = model.ServerHost{Namespace: ns, Host: strings.ToLower(name)}
			if ns == "." {
				host.Namespace = o.Namespace
			}
		}
		m.Hosts = append(m.Hosts, host)
	}
	t := s.GetTls()
	if t == nil {
		return m
	}
	m.TLS = b.serverTLS(o, t, m, path, selector)
	return m
}

// credential reads both layouts that Istio takes: kubernetes.io/tls, and generic.
func credential(o *config.Object, s *corev1.Secret) *model.Secret {
	m := &model.Secret{Namespace: o.Namespace, Name: o.Name, Source: sourceAt(o, "")}
	m.Chain = secretData(s, corev1.TLSCertKey, "cert")
	m.Key = secretData(s, corev1.TLSPrivateKeyKey, "key")
	m.Authority = secretData(s, "ca.crt", "cacert")
	if m.Chain == nil && m.Authority == nil {
		return nil
	}
	return m
}

func secretData(s *corev1.Secret, keys ...string) []byte {
	for _, k := range keys {
		if v := s.Data[k]; len(v) > 0 {
			return v
		}
		if v := s.StringData[k]; v != "" {
			return []byte(v)
		}
	}
	return nil
}
