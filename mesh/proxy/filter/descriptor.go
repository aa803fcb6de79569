package filter

import (
	"net/url"
	"slices"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// descriptor is what rate limits know of a request.
type descriptor []snapshot.DescriptorEntry

// descriptors are those of a request: by the filter's own limits where it has some,
// else by the route's, with the virtual host's as its option says.
func descriptors(x *Exchange, own []snapshot.RateLimit, stage uint32, option snapshot.VirtualHostLimits) []descriptor {
	if own != nil {
		return described(x, own, stage)
	}
	if x.Rule == nil || x.Rule.Forward == nil {
		return nil
	}
	limits := x.Rule.Forward.RateLimits
	list := described(x, limits, stage)
	if option == snapshot.LimitsInclude || x.Rule.Forward.IncludeHostLimits || option == snapshot.LimitsOverride && len(limits) == 0 {
		list = append(list, described(x, x.VirtualHost.RateLimits, stage)...)
	}
	return list
}

// described leaves out a limit one of whose actions yields nothing, as Envoy does.
func described(x *Exchange, limits []snapshot.RateLimit, stage uint32) []descriptor {
	var list []descriptor
	for i := range limits {
		if limits[i].Stage != stage {
			continue
		}
		if d := describe(x, limits[i].Actions); len(d) > 0 {
			list = append(list, d)
		}
	}
	return list
}

func describe(x *Exchange, actions []snapshot.RateLimitAction) descriptor {
	var d descriptor
	for i := range actions {
		a := &actions[i]
		value, ok := entry(x, a)
		switch {
		case ok:
			d = append(d, snapshot.DescriptorEntry{Key: a.Key, Value: value})
		case !a.SkipAbsent:
			return nil
		}
	}
	return d
}

// entry is the value that an action yields, and whether it does.
func entry(x *Exchange, a *snapshot.RateLimitAction) (string, bool) {
	switch {
	case a.Generic:
		return a.Value, true
	case a.RemoteAddress:
		ip := x.Request.Stream.Remote.Addr()
		return ip.Unmap().String(), ip.IsValid()
	case a.DestinationCluster:
		if x.Cluster == nil {
			return "", false
		}
		return x.Cluster.Name, true
	case a.Header != "":
		return route.Field(x.Request, a.Header)
	case a.Query != "":
		return parameter(x.Request.Path, a.Query)
	default:
		all := !slices.ContainsFunc(a.Headers, func(m snapshot.HeaderMatch) bool { return !route.MatchHeader(&m, x.Request) })
		return a.Value, all == a.ExpectMatch
	}
}

// parameter is the first value of a query parameter.
func parameter(path, name string) (string, bool) {
	_, query, _ := strings.Cut(path, "?")
	values, err := url.ParseQuery(query)
	if err != nil || !values.Has(name) {
		return "", false
	}
	return values.Get(name), true
}
