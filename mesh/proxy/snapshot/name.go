package snapshot

import "net/netip"

// Name is a host that the proxy answers DNS queries for.
type Name struct {
	Host      string       `json:"host"` // in lower case; "*.example.com" stands for all names below
	Addresses []netip.Addr `json:"addresses"`
	// Service and Namespace are those of a Kubernetes Service, which has short names; ""
	// otherwise.
	Service   string `json:"service,omitempty"`
	Namespace string `json:"namespace,omitempty"`
}
