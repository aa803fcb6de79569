package filter

import (
	"context"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Resolver resolves the name of a request that goes to a cluster by name (upstream.Manager).
type Resolver interface {
	Resolve(ctx context.Context, cluster, cache, authority string) error
}

// HostForward is Envoy's dynamic_forward_proxy filter: a request for a cluster by name waits
// until its Host is resolved, and ends there where that has no address.
func HostForward(config snapshot.HostForward, resolver Resolver) Filter {
	return func(next Handler) Handler {
		return func(ctx context.Context, x *Exchange) (*message.Response, error) {
			if x.Cluster != nil {
				if err := resolver.Resolve(ctx, x.Cluster.Name, config.Cache, x.Request.Authority); err != nil {
					return nil, err
				}
			}
			return next(ctx, x)
		}
	}
}
