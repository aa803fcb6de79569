// Package filter has the HTTP filters that stand before the router.
//
// In: exchanges whose route is known, as far as headers tell it. Out: responses, or *reply.Reply as the error
// of those that a filter ends. A filter is a function from handler to handler,
// built once per configuration; what must outlive it is given to its constructor.
package filter

import (
	"context"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

// Exchange is one request on its way through the filters, with its route.
type Exchange struct {
	Request *message.Request
	// Table is where the route is looked for.
	Table       *route.Table
	VirtualHost *route.VirtualHost
	// Rule is nil where no route matched.
	Rule *route.Rule
	// Cluster is the weighted destination, nil where the rule names none.
	Cluster *snapshot.WeightedCluster
	// Key is what all draws about this request are made from.
	Key uint64
	// ALPN replaces the upstream's protocols in TLS handshakes; nil: they stay.
	ALPN []string
	// ALPN2 is ALPN where the request goes on as HTTP/2.
	ALPN2 []string
	// Metadata is what filters found out, by the filter's name.
	Metadata map[string]map[string]any
	// Peer is the workload at the other end, as its proxy says; nil where it said nothing.
	Peer *stats.Workload
}

// Route looks for the route, with what filters have found out by now, and notes it in the
// stream's facts.
func (x *Exchange) Route() {
	x.VirtualHost, x.Rule = x.Table.Match(x.Request, x.Key, x.Metadata)
	x.Cluster = nil
	s := x.Request.Stream
	s.VirtualHost, s.RouteName, s.Source = "", "", ""
	if x.VirtualHost != nil {
		s.VirtualHost = x.VirtualHost.Name
	}
	if x.Rule == nil {
		return
	}
	s.RouteName, s.Source = x.Rule.Name, x.Rule.Source
	if x.Rule.Forward != nil {
		x.Cluster = x.Rule.Cluster(x.Key)
	}
}

// Handler answers exchanges.
type Handler func(ctx context.Context, x *Exchange) (*message.Response, error)

// Filter puts a layer before a handler.
type Filter func(next Handler) Handler

// Config returns the configuration of a filter that is nearest to the request: the
// weighted cluster's, the route's, the virtual host's; nil where there is none.
func (x *Exchange) Config(name string) snapshot.Filter {
	if x.Rule == nil {
		return nil
	}
	if x.Cluster != nil && x.Cluster.PerFilter != nil {
		if f, ok := x.Cluster.PerFilter[name]; ok {
			return f
		}
	}
	if f, ok := x.Rule.PerFilter[name]; ok {
		return f
	}
	return x.VirtualHost.PerFilter[name]
}

// ALPN is Istio's filter that tells the server's sidecar which HTTP comes inside of
// mutual TLS. Which one it is the router knows.
func ALPN(config snapshot.ALPN) Filter {
	return func(next Handler) Handler {
		return func(ctx context.Context, x *Exchange) (*message.Response, error) {
			x.ALPN, x.ALPN2 = config.HTTP11, config.HTTP2
			return next(ctx, x)
		}
	}
}
