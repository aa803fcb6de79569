package filter

import (
	"context"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// CORS answers preflight requests and marks answers, by the route's policy, as
// Envoy's cors filter. Requests without an origin, or with one that the policy does
// not name, pass unmarked.
func CORS() Filter {
	return func(next Handler) Handler {
		return func(ctx context.Context, x *Exchange) (*message.Response, error) {
			origin := x.Request.Header.Get("origin")
			policy := corsPolicy(x)
			if origin == "" || policy == nil {
				return next(ctx, x)
			}
			allowed := originAllowed(policy, origin)
			if x.Request.Method == "OPTIONS" && x.Request.Header.Get("access-control-request-method") != "" {
				if allowed || !policy.ForwardUnmatched {
					x.Request.Stream.Details = "cors_response"
					return preflight(policy, origin, allowed), nil
				}
				return next(ctx, x)
			}
			resp, err := next(ctx, x)
			if err == nil && allowed {
				mark(&resp.Header, policy, origin)
				if policy.ExposeHeaders != "" {
					resp.Header.Set("access-control-expose-headers", policy.ExposeHeaders)
				}
			}
			return resp, err
		}
	}
}

func corsPolicy(x *Exchange) *snapshot.CORS {
	switch c := x.Config(snapshot.CORS{}.FilterName()).(type) {
	case snapshot.CORS:
		return &c
	case *snapshot.CORS:
		return c
	default:
		return nil
	}
}

func originAllowed(p *snapshot.CORS, origin string) bool {
	for i := range p.AllowOrigins {
		if m := &p.AllowOrigins[i]; route.MatchString(m, origin) || m.Exact != nil && *m.Exact == "*" {
			return true
		}
	}
	return false
}

func mark(h *message.Header, p *snapshot.CORS, origin string) {
	h.Set("access-control-allow-origin", origin)
	if p.AllowCredentials {
		h.Set("access-control-allow-credentials", "true")
	}
}

func preflight(p *snapshot.CORS, origin string, allowed bool) *message.Response {
	resp := &message.Response{Status: 200}
	if !allowed {
		return resp
	}
	mark(&resp.Header, p, origin)
	for _, f := range []message.Field{{Name: "access-control-allow-methods", Value: p.AllowMethods},
		{Name: "access-control-allow-headers", Value: p.AllowHeaders}, {Name: "access-control-max-age", Value: p.MaxAge}} {
		if f.Value != "" {
			resp.Header.Add(f.Name, f.Value)
		}
	}
	return resp
}
