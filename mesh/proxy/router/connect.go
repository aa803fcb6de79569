package router

import (
	"context"
	"errors"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
)

// terminate ends a CONNECT here (connect_config): what the client sends behind it goes to
// an endpoint of the cluster as bytes of its own, and so back.
func (rt *Router) terminate(ctx context.Context, x *filter.Exchange, a *action, cluster string) (*message.Response, error) {
	s, begin := x.Request.Stream, time.Now()
	conn, host, err := rt.options.Upstream.Connect(ctx, s.Conn, cluster)
	s.UpstreamHost, s.Attempts = host, 1
	if err != nil {
		return nil, answerable(err)
	}
	s.UpstreamDuration, s.Details = time.Since(begin), "via_upstream"
	p := &message.Response{Status: 200, Upgraded: conn, UpgradedIdle: x.Rule.Forward.IdleTimeout}
	applyResponse(a.response, x.Request, p)
	return p, nil
}

// answerable makes the failure of a connection, which a TCP proxy tells by closing its
// own, one that a response tells.
func answerable(err error) error {
	var r *reply.Reply
	if !errors.As(err, &r) {
		return err
	}
	told := *r
	told.Reset = false
	if r.Flag == message.UpstreamConnectionFailure {
		told.Details, told.Body = "upstream_reset_before_response_started{remote_connection_failure}", "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
	}
	return &told
}
