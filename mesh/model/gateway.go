package model

import "time"

// Gateway opens ports on the proxies that it selects.
type Gateway struct {
	Name, Namespace string
	Selector        map[string]string
	// Service, in place of a selector, is the host of the Service in front of the proxies.
	Service string
	Servers []*Server
	Created time.Time
	Source  Source
}

// Ref is "namespace/name", as VirtualServices name it.
func (g *Gateway) Ref() string { return g.Namespace + "/" + g.Name }

// Server is one port with its hosts.
type Server struct {
	Port     uint32
	Protocol Protocol
	Name     string
	Bind     string // "" is every address
	Hosts    []ServerHost
	TLS      *ServerTLS
	Source   Source
}

// ServerHost is a host, and the namespace whose VirtualServices may claim it.
type ServerHost struct {
	Namespace string // "*": any; resolved from "."
	Host      string
}

// ServerTLS terminates TLS, forwards it as it is, or redirects to where it is.
type ServerTLS struct {
	Auto          bool // TLS goes where its server name says, which is that of a cluster
	HTTPSRedirect bool
	// Passthrough leaves TLS to who is behind the gateway.
	Passthrough bool
	// Workload terminates with the proxy's own certificate, for clients with one of the mesh.
	Workload bool
	// Invalid servers are left out: the build has reported why.
	Invalid  bool
	Mutual   bool
	Optional bool
	// Credentials name the Secrets of the certificates, one as a rule.
	Credentials []string
	// CredentialNamespace is the Secrets' where it is not the proxy's.
	CredentialNamespace string
	// Authority names the Secret of the roots that clients are checked with; "": the first
	// credential. A Secret with "-cacert" after that name is taken instead where it is there.
	Authority       string
	SubjectAltNames []string
	// Hashes and KeyHashes are SHA-256 of client certificates (hex) and of their keys
	// (base64); where there are any, one has to match.
	Hashes, KeyHashes []string
	MinVersion        uint8 // 0 default (1.2), else 10, 11, 12, 13
	MaxVersion        uint8
	CipherSuites      []string
}

// Admits reports whether a VirtualService of a namespace may claim a host on the
// server, and the narrower of the two hosts.
func (s *Server) Admits(namespace, host string) (string, bool) {
	for _, h := range s.Hosts {
		if h.Namespace != "*" && h.Namespace != namespace {
			continue
		}
		if MatchesWildcard(h.Host, host) {
			return host, true
		}
		if MatchesWildcard(host, h.Host) {
			return h.Host, true
		}
	}
	return "", false
}
