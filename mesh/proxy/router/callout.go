package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// Caller sends the proxy's own requests, as filters do that ask a service. They pass
// no filters and no routes, and are not tried again.
type Caller struct{ router *Router }

var _ filter.Caller = (*Caller)(nil)

// NewCaller returns a caller.
func NewCaller(o Options) *Caller {
	o.SuppressEnvoyHeaders, o.Decorate = true, false
	return &Caller{&Router{options: o}}
}

// Call implements filter.Caller. HTTP/2 goes to clusters that speak it, or follow who calls.
func (k *Caller) Call(ctx context.Context, cluster string, r *message.Request, key uint64, timeout time.Duration) (*message.Response, error) {
	c := k.router.options.Upstream.Cluster(cluster)
	if c == nil {
		return nil, fmt.Errorf("there is no cluster %q", cluster)
	}
	if r.Protocol == message.HTTP2 && c.Protocol(r.Protocol) != message.HTTP2 {
		return nil, fmt.Errorf("cluster %q does not speak HTTP/2", cluster)
	}
	now := time.Now()
	r.Stream = &message.Stream{Start: now, Cluster: cluster}
	own := &call{rt: k.router, x: &filter.Exchange{Request: r, Key: key, VirtualHost: &route.VirtualHost{VirtualHost: &snapshot.VirtualHost{}}},
		r: r, action: &action{}, forward: &snapshot.Forward{}, cluster: c, limits: timeouts{global: timeout}, start: now,
		sel: upstream.Selection{Key: key}}
	own.body.inHand = true
	if r.Body != nil {
		body, ok := r.Body.(*message.Bytes)
		if !ok {
			return nil, errors.New("the body of the proxy's own request has to be in memory")
		}
		own.body.whole = body.Rest()
	}
	answer, err := own.run(ctx)
	if err != nil { // a reply to the proxy, not to its client
		return nil, fmt.Errorf("cluster %q: %v", cluster, err)
	}
	return answer, nil
}
