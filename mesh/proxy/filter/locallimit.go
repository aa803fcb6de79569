package filter

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/stats"
)

// Purposes of the draws that limits make for a rule.
const (
	drawLimitEnabled  = 4
	drawLimitEnforced = 5
)

// LocalLimits has the buckets of all local rate limits of one proxy. They last as
// long as the configuration that they belong to. The zero value is ready to use.
type LocalLimits struct {
	mu    sync.Mutex
	state map[weak.Pointer[snapshot.LocalRateLimit]]*localState
}

// localState is the state of one configuration.
type localState struct {
	own         *bucket // nil: none
	descriptors []*bucket
	order       []int // of the descriptors: those that fill slowest first
	enabled     *stats.Counter
	ok          *stats.Counter
	limited     *stats.Counter
	enforced    *stats.Counter
}

// LocalRateLimit turns away with 429 what is over the limits of the proxy's own
// buckets, as Envoy's local_ratelimit filter.
func LocalRateLimit(config *snapshot.LocalRateLimit, limits *LocalLimits, registry *stats.Registry) Filter {
	return func(next Handler) Handler {
		return func(ctx context.Context, x *Exchange) (*message.Response, error) {
			c := config
			if own, ok := x.Config(config.FilterName()).(*snapshot.LocalRateLimit); ok {
				c = own
			}
			if !draw(x, drawLimitEnabled, c.Enabled) {
				return next(ctx, x)
			}
			s := limits.of(c, registry)
			s.enabled.Inc()
			allowed, asked := s.allow(descriptors(x, c.Limits, c.Stage, c.VirtualHost), c)
			var q *quota
			if c.TellQuota && asked != nil {
				q = asked.quota()
			}
			if allowed {
				s.ok.Inc()
				return q.tell(next(ctx, x))
			}
			s.limited.Inc()
			if !draw(x, drawLimitEnforced, c.Enforced) {
				setLiteral(&x.Request.Header, c.RequestHeaders)
				return q.tell(next(ctx, x))
			}
			s.enforced.Inc()
			r := &reply.Reply{Status: c.Status, Flag: message.RateLimited, Details: "local_rate_limited", Body: "local_rate_limited"}
			setLiteral(&r.Header, c.ResponseHeaders)
			if c.ResourceExhausted {
				r.Header.Set("grpc-status", "8")
			}
			return q.tell(nil, r)
		}
	}
}

// of returns the state of a configuration, made at its first request. That of
// configurations that nobody has any more is dropped then.
func (l *LocalLimits) of(c *snapshot.LocalRateLimit, registry *stats.Registry) *localState {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := weak.Make(c)
	if s := l.state[key]; s != nil {
		return s
	}
	if l.state == nil {
		l.state = map[weak.Pointer[snapshot.LocalRateLimit]]*localState{}
	}
	for old := range l.state {
		if old.Value() == nil {
			delete(l.state, old)
		}
	}
	s := newLocalState(c, registry)
	l.state[key] = s
	return s
}

func newLocalState(c *snapshot.LocalRateLimit, registry *stats.Registry) *localState {
	now := time.Now()
	s := &localState{}
	counter := func(name string) *stats.Counter {
		return registry.Counter(c.StatPrefix+".http_local_rate_limit."+name, "envoy_http_local_rate_limit_"+name,
			stats.Label{Name: "envoy_local_http_ratelimit_prefix", Value: c.StatPrefix})
	}
	s.enabled, s.ok, s.limited, s.enforced = counter("enabled"), counter("ok"), counter("rate_limited"), counter("enforced")
	if c.Bucket != nil {
		s.own = newBucket(*c.Bucket, now)
	}
	for i, d := range c.Descriptors {
		s.descriptors = append(s.descriptors, newBucket(d.Bucket, now))
		s.order = append(s.order, i)
	}
	slices.SortStableFunc(s.order, func(a, b int) int { return cmp.Compare(s.descriptors[a].rate, s.descriptors[b].rate) })
	return s
}

// allow takes a token from the bucket of each descriptor that is configured, those
// that fill slowest first, then from the default one. The bucket that it returns is the
// one that has none, or else the first that was asked.
func (s *localState) allow(list []descriptor, c *snapshot.LocalRateLimit) (bool, *bucket) {
	now := time.Now()
	var first *bucket
	for _, i := range s.order {
		if !slices.ContainsFunc(list, func(d descriptor) bool { return slices.Equal(d, c.Descriptors[i].Entries) }) {
			continue
		}
		first = cmp.Or(first, s.descriptors[i])
		if !s.descriptors[i].take(now) {
			return false, s.descriptors[i]
		}
	}
	if s.own != nil && !(first != nil && c.Spare) && !s.own.take(now) {
		return false, s.own
	}
	return true, cmp.Or(first, s.own)
}

// bucket fills steadily, as Envoy's buckets do since they need no timer: a token is
// there again after interval/per_fill, not only when the interval ends.
type bucket struct {
	mu     sync.Mutex
	rate   float64 // tokens per second
	max    float64
	tokens float64
	at     time.Time
}

func newBucket(c snapshot.TokenBucket, now time.Time) *bucket {
	return &bucket{rate: float64(c.PerFill) / c.Interval.Seconds(), max: float64(c.Max), tokens: float64(c.Max), at: now}
}

// rounding is how much less than a token still is one.
const rounding = 1e-9

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.max, b.tokens+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
	if b.tokens < 1-rounding {
		return false
	}
	b.tokens = max(0, b.tokens-1)
	return true
}

// setLiteral applies changes whose values are literal.
func setLiteral(h *message.Header, ops snapshot.HeaderOps) {
	for _, name := range ops.Remove {
		h.Del(name)
	}
	for _, op := range ops.Set {
		switch {
		case op.Action == snapshot.AppendOrAdd:
			h.Add(op.Name, op.Value)
		case op.Action == snapshot.AddIfAbsent && h.Has(op.Name), op.Action == snapshot.OverwriteIfExists && !h.Has(op.Name):
		default:
			h.Set(op.Name, op.Value)
		}
	}
}
