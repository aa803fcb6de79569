package filter

import (
	"slices"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// LocalBuckets are the buckets that a request has to take a token from, for those who
// explain: of the configuration that holds for it, which is returned, those of its
// descriptors, the slowest first, then the default one, which has no entries.
func LocalBuckets(config *snapshot.LocalRateLimit, x *Exchange) (*snapshot.LocalRateLimit, []snapshot.LocalDescriptor) {
	c := config
	if own, ok := x.Config(config.FilterName()).(*snapshot.LocalRateLimit); ok {
		c = own
	}
	if c.Enabled <= 0 {
		return c, nil
	}
	list := descriptors(x, c.Limits, c.Stage, c.VirtualHost)
	var found []snapshot.LocalDescriptor
	for _, d := range c.Descriptors {
		if slices.ContainsFunc(list, func(asked descriptor) bool { return slices.Equal(asked, d.Entries) }) {
			found = append(found, d)
		}
	}
	slices.SortStableFunc(found, func(a, b snapshot.LocalDescriptor) int {
		return compareRates(a.Bucket, b.Bucket)
	})
	if c.Bucket != nil && (len(found) == 0 || !c.Spare) {
		found = append(found, snapshot.LocalDescriptor{Bucket: *c.Bucket})
	}
	return c, found
}

func compareRates(a, b snapshot.TokenBucket) int {
	x, y := float64(a.PerFill)/a.Interval.Seconds(), float64(b.PerFill)/b.Interval.Seconds()
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// GlobalDescriptors are what a rate limit service is asked about a request, for those who
// explain; none: it is not asked.
func GlobalDescriptors(config *snapshot.GlobalRateLimit, x *Exchange) (domain string, list [][]snapshot.DescriptorEntry) {
	all := *config
	if all.Enabled > 0 { // a share of requests: this may be one
		all.Enabled = 100
	}
	for _, d := range asked(&all, x) {
		list = append(list, d)
	}
	domain = config.Domain
	if own, ok := x.Config(config.FilterName()).(*snapshot.GlobalRateLimitRoute); ok && own.Domain != "" {
		domain = own.Domain
	}
	return domain, list
}

// AsksAbout tells whether an authorization service is asked about a request, by what
// shadow rules before it have noted: they are how CUSTOM policies choose requests.
func AsksAbout(config *snapshot.ExtAuthz, x *Exchange) bool {
	return config.Enabled == nil || route.MatchMetadata(config.Enabled, x.Metadata)
}

// NoteShadow has the shadow rules of a filter, if any, note what they would do.
func NoteShadow(config *snapshot.RBAC, x *Exchange) {
	if config.Shadow != nil {
		s := subject{conn: x.Request.Stream.Conn, remote: x.Request.Stream.Remote.Addr(), request: x.Request, metadata: x.Metadata}
		shadow(x, &s, config, func(string) {})
	}
}
