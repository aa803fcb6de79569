package serve

import (
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// EventKind is what happened on a stream.
type EventKind string

// The events of a stream.
const (
	Connected    EventKind = "connect"
	Pushed       EventKind = "push"
	Acked        EventKind = "ack"
	Nacked       EventKind = "nack"
	Failed       EventKind = "error" // Generate failed; the proxy keeps what it has
	Disconnected EventKind = "disconnect"
)

// Event is for traces and metrics.
type Event struct {
	Kind     EventKind
	Node     string // node id
	Type     resource.Type
	Revision string // of the configuration that was pushed
	Version  string
	Nonce    string
	Count    int // resources sent
	Removed  int
	Bytes    int // of the resources sent
	// Total and TotalBytes are what the proxy has of the type after a push.
	Total, TotalBytes int
	Text              string // why: of a NACK or error
}

// ProxyStatus is what one connected proxy has.
type ProxyStatus struct {
	Node      Node
	Peer      string
	Delta     bool
	Connected time.Time
	// Revision is the last one that the proxy was told everything of.
	Revision string
	// Synced is set when the proxy has accepted everything of Revision.
	Synced bool
	// Err is why no resources could be made for this proxy.
	Err   string
	Types []TypeStatus // in the order of resource.Types; only those asked for
}

// TypeStatus is the state of one type on one stream.
type TypeStatus struct {
	Type     resource.Type
	Wildcard bool
	// Names is how many names are subscribed to, Resources how many were sent of them.
	Names, Resources int
	Sent, Acked      string // versions
	// Nack is the text of the refusal that is still standing.
	Nack string
	At   time.Time // of the last response or answer
}
