package router

import (
	"context"
	"io"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// Send sends a request of the proxy's own to a cluster, once, and reads the answer away;
// what stays of it are status, header and trailer. key is what its draws are made from.
func Send(ctx context.Context, o Options, cluster string, r *message.Request, timeout time.Duration, key uint64) (*message.Response, error) {
	c := o.Upstream.Cluster(cluster)
	if c == nil {
		return nil, &reply.Reply{Status: 503, Flag: message.NoClusterFound, Details: "cluster_not_found"}
	}
	x := &filter.Exchange{Request: r, Key: key,
		VirtualHost: &route.VirtualHost{VirtualHost: &snapshot.VirtualHost{}}, Rule: &route.Rule{Route: &snapshot.Route{}}}
	own := &call{rt: &Router{options: o}, x: x, r: r, action: &action{}, forward: &snapshot.Forward{}, cluster: c,
		limits: timeouts{global: timeout}, sel: upstream.Selection{Key: key}}
	if err := own.body.read(r, false); err != nil {
		return nil, err
	}
	own.start = time.Now()
	p, err := own.run(ctx)
	if err != nil || p.Body == nil {
		return p, err
	}
	defer p.Body.Close()
	if _, err := io.Copy(io.Discard, p.Body); err != nil {
		return nil, err
	}
	p.Header = append(p.Header, p.Body.Trailer()...)
	return p, nil
}
