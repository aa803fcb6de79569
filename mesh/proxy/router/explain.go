package router

import (
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Policy is what holds for one request, its own x-envoy-* headers included.
type Policy struct {
	Timeout       time.Duration // 0: none, as are all below
	PerTryTimeout time.Duration
	IdleTimeout   time.Duration
	Retry         *snapshot.Retry // the route's or the virtual host's; nil: none
	Retries       int             // that the request may have
}

// Explain tells what a rule does with a request before a host is chosen, and does it
// to the request: header changes, rewrites. c may be nil.
func Explain(config *snapshot.RouteConfig, vh *route.VirtualHost, rule *route.Rule, c *snapshot.WeightedCluster, r *message.Request) (Policy, error) {
	a, err := compile(config, vh, rule)
	if err != nil || rule.Forward == nil {
		return Policy{}, err
	}
	var p Policy
	if a.retry != nil {
		p.Retry = a.retry.Retry
	}
	limits := takeTimeouts(rule.Forward, p.Retry, r)
	p.Timeout, p.PerTryTimeout, p.IdleTimeout = limits.global, limits.perTry, limits.idle
	if left := takeRetries(new(retries), a.retry, r); left != nil {
		p.Retries = left.left
	}
	if ops := a.clusters[c]; ops != nil {
		applyRequest(ops.request, r)
	}
	applyRequest(a.request, r)
	rewriteHost(rule.Forward, c, r)
	rewritePath(rule, r)
	return p, nil
}

// Location is where a rule that redirects sends a request to.
func Location(rule *route.Rule, r *message.Request) string { return location(rule, r) }
