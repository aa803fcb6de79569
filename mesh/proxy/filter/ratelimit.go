package filter

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

// shouldRateLimit is the method of envoy/service/ratelimit/v3/rls.proto, whose
// messages are written and read here field by field.
const shouldRateLimit = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"

// Codes of a RateLimitResponse.
const (
	codeOK        = 1
	codeOverLimit = 2
)

// verdict is what a rate limit service answers.
type verdict struct {
	code              uint64
	response, request message.Header // to add
	body              []byte
	statuses          []descriptorStatus
}

// GlobalRateLimit asks a rate limit service about each request that has a
// descriptor, as Envoy's ratelimit filter. What is over the limit gets 429; where the
// service cannot be asked, requests pass unless the filter says that they do not.
func GlobalRateLimit(config *snapshot.GlobalRateLimit, caller Caller, registry *stats.Registry) Filter {
	return func(next Handler) Handler {
		return func(ctx context.Context, x *Exchange) (*message.Response, error) {
			list := asked(config, x)
			if len(list) == 0 {
				return next(ctx, x)
			}
			domain := config.Domain
			if own, ok := x.Config(config.FilterName()).(*snapshot.GlobalRateLimitRoute); ok && own.Domain != "" {
				domain = own.Domain
			}
			count := counterOf(config, x, registry)
			v, err := askLimit(ctx, config, caller, domain, list, x.Key)
			switch {
			case ctx.Err() != nil:
				return nil, &reply.Reply{Flag: message.DownstreamConnectionTermination, Details: "downstream_remote_disconnect", Reset: true}
			case err != nil && config.Deny:
				count("error")
				return nil, &reply.Reply{Status: config.StatusOnError, Flag: message.RateLimitServiceError, Details: "rate_limiter_error"}
			case err != nil:
				count("error")
				count("failure_mode_allowed")
				return next(ctx, x)
			}
			var q *quota
			if config.TellQuota {
				q = quotaOf(v.statuses)
			}
			if v.code == codeOK {
				count("ok")
			} else {
				count("over_limit")
				if draw(x, drawLimitEnforced, config.Enforce) {
					return q.tell(nil, overLimit(config, v))
				}
			}
			x.Request.Header = append(x.Request.Header, v.request...)
			p, err := next(ctx, x)
			if p != nil {
				p.Header = append(p.Header, v.response...)
			}
			return q.tell(p, err)
		}
	}
}

// asked are the descriptors of a request that the service is to judge.
func asked(config *snapshot.GlobalRateLimit, x *Exchange) []descriptor {
	internal := x.Request.Header.Get("x-envoy-internal") == "true"
	if config.RequestType == "internal" && !internal || config.RequestType == "external" && internal {
		return nil
	}
	if !draw(x, drawLimitEnabled, config.Enabled) {
		return nil
	}
	option := snapshot.LimitsOverride
	if own, ok := x.Config(config.FilterName()).(*snapshot.GlobalRateLimitRoute); ok {
		option = own.VirtualHost
	}
	return descriptors(x, config.Limits, config.Stage, option)
}

// counterOf counts where Envoy does: at the cluster that the request is for.
func counterOf(config *snapshot.GlobalRateLimit, x *Exchange, registry *stats.Registry) func(string) {
	prefix := "ratelimit."
	if config.StatPrefix != "" {
		prefix += config.StatPrefix + "."
	}
	return func(what string) {
		if x.Cluster != nil {
			registry.Cluster(x.Cluster.Name).Counter(prefix + what).Inc()
		}
	}
}

func overLimit(config *snapshot.GlobalRateLimit, v *verdict) error {
	r := &reply.Reply{Status: config.Status, Flag: message.RateLimited, Details: "request_rate_limited", Body: string(v.body), Header: v.response}
	if !config.NoHeader {
		r.Header.Set("x-envoy-ratelimited", "true")
	}
	setLiteral(&r.Header, config.ResponseHeaders)
	if config.Exhausted {
		r.Header.Set("grpc-status", "8")
	}
	return r
}

func askLimit(ctx context.Context, config *snapshot.GlobalRateLimit, caller Caller, domain string, list []descriptor, key uint64) (*verdict, error) {
	question := putString(nil, 1, domain)
	for _, d := range list {
		var m []byte
		for _, e := range d {
			m = putMessage(m, 1, putString(putString(nil, 1, e.Key), 2, e.Value))
		}
		question = putMessage(question, 2, m)
	}
	answer, err := callGRPC(ctx, caller, &config.Service, shouldRateLimit, question, key, config.Timeout)
	if err != nil {
		return nil, err
	}
	v := &verdict{}
	err = eachField(answer, func(n protowire.Number, bytes []byte, number uint64) error {
		var err error
		switch n {
		case 1:
			v.code = number
		case 2:
			var s descriptorStatus
			s, err = readStatus(bytes)
			v.statuses = append(v.statuses, s)
		case 3:
			err = addHeader(&v.response, bytes)
		case 4:
			err = addHeader(&v.request, bytes)
		case 5:
			v.body = bytes
		}
		return err
	})
	if err == nil && v.code != codeOK && v.code != codeOverLimit {
		err = fmt.Errorf("%s: code %d", shouldRateLimit, v.code)
	}
	return v, err
}

// addHeader reads an envoy.config.core.v3.HeaderValue.
func addHeader(h *message.Header, m []byte) error {
	var f message.Field
	err := eachField(m, func(n protowire.Number, bytes []byte, _ uint64) error {
		switch n {
		case 1:
			f.Name = strings.ToLower(string(bytes))
		case 2, 3: // value, raw_value
			f.Value = string(bytes)
		}
		return nil
	})
	h.Add(f.Name, f.Value)
	return err
}
