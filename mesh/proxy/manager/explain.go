package manager

import (
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Prepare does to a request, for those who explain, what a connection manager does
// before the route is looked up: the path, x-forwarded-*, x-envoy-*, x-request-id. The
// error is the *reply.Reply that the client would get.
func Prepare(config *snapshot.HTTPManager, facts *message.Conn, q *message.Request) error {
	s := &session{c: Connection{Facts: facts}, remoteIP: facts.Remote.Addr().String()}
	return s.prepare(New(Options{Config: config}), q)
}
