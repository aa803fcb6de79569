package model

// TCPRule forwards connections whose content nobody looks into.
type TCPRule struct {
	Matches []*ConnectionMatch // any of them; none: always
	Routes  []*Destination
	Source  Source
}

// TLSRule forwards TLS connections as they are, by the server name that the client asks for.
type TLSRule struct {
	Matches []*TLSMatch // any of them; never empty
	Routes  []*Destination
	Source  Source
}

// TLSMatch is a conjunction: one of the server names, and all of the rest.
type TLSMatch struct {
	ServerNames []string // lower case; exact, "*.example.com" or "*"
	ConnectionMatch
	Source Source
}

// ConnectionMatch is a conjunction; zero fields match anything.
type ConnectionMatch struct {
	// Subnets are those of the destination address: addresses and prefixes. A gateway's
	// connections all go to the gateway itself: there Istio does not look at them.
	Subnets []string
	Port    uint32
	// SourceLabels and SourceNamespace are a sidecar's; gateways do not look at them.
	SourceLabels    map[string]string
	SourceNamespace string
	Gateways        []string // empty: the VirtualService's own
}
