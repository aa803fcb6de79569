package filter

import (
	"context"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// ConnectionAuthorizer asks a service about connections that are not HTTP, as Envoy's
// network filter ext_authz.
type ConnectionAuthorizer struct {
	config *snapshot.ExtAuthz
	caller Caller
	count  func(string)
}

// NewConnectionAuthorizer returns one. Count is told what happened: ok, denied, error,
// failure_mode_allowed, disabled.
func NewConnectionAuthorizer(config *snapshot.ExtAuthz, caller Caller, count func(string)) *ConnectionAuthorizer {
	return &ConnectionAuthorizer{config, caller, count}
}

// Ask returns why a connection is to be closed, in Envoy's words, or "". The service
// learns the addresses and the names in the certificates of both ends. key is what the
// draws about the question are made from.
func (a *ConnectionAuthorizer) Ask(ctx context.Context, c *message.Conn, metadata map[string]map[string]any, key uint64) (details string) {
	if a.config.Enabled != nil && !route.MatchMetadata(a.config.Enabled, metadata) {
		a.count("disabled")
		return ""
	}
	a.count("total")
	attributes := putMessage(nil, 1, peerOf(c, c.Remote, false))
	attributes = putMessage(attributes, 2, peerOf(c, c.Local, true))
	answer, err := callGRPC(ctx, a.caller, a.config.GRPC, checkMethod, putMessage(nil, 1, attributes), key, a.config.Timeout)
	allowed := &permission{}
	if err == nil {
		allowed, err = readCheck(answer)
	}
	switch {
	case err != nil && a.config.FailOpen:
		a.count("error")
		a.count("failure_mode_allowed")
		return ""
	case err != nil:
		a.count("error")
		return "ext_authz_error"
	case !allowed.allowed:
		a.count("denied")
		return "ext_authz_denied"
	}
	a.count("ok")
	return ""
}
