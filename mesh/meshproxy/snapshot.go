package meshproxy

import "github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"

// Snapshot is the configuration in force; nil before the first.
func (p *Proxy) Snapshot() *snapshot.Proxy { return p.proxy.Snapshot() }
