package world

import (
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/accesslog"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
)

// Watcher is told what happens in a world when it happens. Its methods are called from
// many goroutines, and must not block.
type Watcher interface {
	// Exchange is one that a proxy has finished. The entry has the request's header.
	Exchange(seen run.Seen, e accesslog.Entry)
	// Event is something that happened to the mesh.
	Event(e run.Event)
}

// Keep has the world's log forget what is older than about so many entries, so that a
// world that has no end does not grow; 0 keeps all, as the steps of a scenario need it.
func (w *World) Keep(entries int) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	w.log.keep = entries
}
