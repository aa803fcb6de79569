// Package router forwards requests to clusters: timeouts, retries, rewrites, header
// changes, mirrors, redirects and direct responses, all as Envoy documents them.
//
// In: exchanges whose route is known. Out: the upstream's response, whose body
// streams after the router returned, or a *reply.Reply as error with Envoy's response
// flag and details. The goroutine of the request itself writes the request and reads
// the answer; another one is started only for a request body that has to stream. It
// must not import codecs' or listeners' packages above it.
package router

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// Tasks are the mirrored requests of one proxy. They end with their context.
type Tasks struct {
	Context context.Context
	group   sync.WaitGroup
}

// Wait returns when all have ended.
func (t *Tasks) Wait() { t.group.Wait() }

// Options are what a Router works with.
type Options struct {
	Upstream *upstream.Manager
	Tasks    *Tasks
	Logger   *slog.Logger
	// SuppressEnvoyHeaders leaves x-envoy-* out of requests and responses.
	SuppressEnvoyHeaders bool
	// Decorate passes the names of operations on in x-envoy-decorator-operation.
	Decorate bool
}

// Router forwards by one route table. It is immutable.
type Router struct {
	options Options
	actions map[*route.Rule]*action
}

// action is a rule with everything compiled that a request needs.
type action struct {
	request, response []headerOps // route, virtual host, configuration
	clusters          map[*snapshot.WeightedCluster]*clusterOps
	retry             *compiledRetry
}

type clusterOps struct{ request, response []headerOps }

// New compiles what the routes of a table do. An error names what a route has wrong.
func New(t *route.Table, o Options) (*Router, error) {
	rt := &Router{options: o, actions: map[*route.Rule]*action{}}
	for _, vh := range t.VirtualHosts() {
		for _, rule := range vh.Rules {
			a, err := compile(t.Config, vh, rule)
			if err != nil {
				return nil, err
			}
			rt.actions[rule] = a
		}
	}
	return rt, nil
}

// notFound is the answer where no route matched.
func notFound() error {
	return &reply.Reply{Status: 404, Flag: message.NoRouteFound, Details: "route_not_found"}
}

// Serve is the filter.Handler at the end of the chain.
func (rt *Router) Serve(ctx context.Context, x *filter.Exchange) (*message.Response, error) {
	rule := x.Rule
	if rule == nil {
		return nil, notFound()
	}
	a := rt.actions[rule]
	switch {
	case rule.Direct != nil:
		return rt.direct(x, a)
	case rule.Redirect != nil:
		return rt.redirect(x, a)
	default:
		return rt.forward(ctx, x, a)
	}
}

func (rt *Router) direct(x *filter.Exchange, a *action) (*message.Response, error) {
	d := x.Rule.Direct
	p := &message.Response{Status: d.Status}
	if d.Body != "" {
		p.Header.Add("content-type", "text/plain")
		p.Body, p.ContentLength = message.NewBytes([]byte(d.Body), nil), int64(len(d.Body))
	}
	applyResponse(a.response, x.Request, p)
	x.Request.Stream.Details = "direct_response"
	return p, nil
}

func (rt *Router) redirect(x *filter.Exchange, a *action) (*message.Response, error) {
	p := &message.Response{Status: x.Rule.Redirect.Status}
	if p.Status == 0 {
		p.Status = 301
	}
	p.Header.Add("location", location(x.Rule, x.Request))
	applyResponse(a.response, x.Request, p)
	x.Request.Stream.Details = "direct_response"
	return p, nil
}

// call is one request that is being forwarded, over all its tries. All that nearly
// every request needs is inside, so that it costs one allocation.
type call struct {
	rt      *Router
	x       *filter.Exchange
	r       *message.Request
	action  *action
	forward *snapshot.Forward
	cluster *upstream.Cluster
	limits  timeouts
	retries *retries // nil: none
	body    content
	start   time.Time // when the request had come completely, or as far as it is known
	sel     upstream.Selection
	tried   []*upstream.Host
	cookies []string // Set-Cookie fields of hash policies
	holding bool     // a retry is counted at the breaker
	retried bool
	named   bool // the client named the operation: x-envoy-decorator-operation

	policy retries // what retries points to
	first  try
}

func (rt *Router) forward(ctx context.Context, x *filter.Exchange, a *action) (*message.Response, error) {
	r, f := x.Request, x.Rule.Forward
	name := ""
	switch {
	case x.Cluster != nil:
		name = x.Cluster.Name
	case f.ClusterHeader != "":
		name = r.Header.Get(f.ClusterHeader)
	}
	cluster := rt.options.Upstream.Cluster(name)
	if cluster == nil {
		status := f.NotFoundStatus
		if status == 0 {
			status = 503
		}
		return nil, &reply.Reply{Status: status, Flag: message.NoClusterFound, Details: "cluster_not_found"}
	}
	r.Stream.Cluster = name
	if r.Stream.Relax != nil && (f.IdleTimeout != nil || f.OwnStreamDuration) {
		r.Stream.Relax(f.IdleTimeout != nil, f.OwnStreamDuration)
	}
	if r.Upgrade != "" {
		if allowed, ok := f.Upgrades[r.Upgrade]; ok && !allowed {
			return nil, &reply.Reply{Status: 403, Details: "upgrade_failed"}
		}
	}
	if f.Terminate && r.Method == "CONNECT" {
		return rt.terminate(ctx, x, a, name)
	}
	c := &call{rt: rt, x: x, r: r, action: a, forward: f, cluster: cluster}
	if err := c.prepare(); err != nil {
		return nil, err
	}
	rt.mirror(c)
	p, err := c.run(ctx)
	if !c.body.started {
		c.body.cut()
	}
	return p, err
}

// prepare does all that is done once, whatever the number of tries.
func (c *call) prepare() error {
	var policy *snapshot.Retry
	if c.action.retry != nil {
		policy = c.action.retry.Retry
	}
	c.limits = takeTimeouts(c.forward, policy, c.r)
	c.retries = takeRetries(&c.policy, c.action.retry, c.r)
	c.sel = upstream.Selection{Key: c.x.Key, OriginalDst: upstream.OriginalDst(c.r.Stream.Conn)}
	if len(c.forward.HashPolicy) > 0 {
		c.sel.Hash, c.sel.HasHash, c.cookies = hashOf(c.forward.HashPolicy, c.r)
	}
	if ops := c.action.clusters[c.x.Cluster]; ops != nil {
		applyRequest(ops.request, c.r)
	}
	applyRequest(c.action.request, c.r)
	rewriteHost(c.forward, c.x.Cluster, c.r)
	c.sel.Name = c.r.Authority
	rewritePath(c.x.Rule, c.r)
	c.limits.announce(c.r, 0, c.rt.options.SuppressEnvoyHeaders)
	if c.r.Upgrade != "" || c.r.Method == "CONNECT" { // the timeouts of a request begin at its end, which never comes
		c.limits.global, c.limits.perTry = 0, 0
	}
	if c.rt.options.Decorate {
		c.decorateRequest()
	}
	err := c.body.read(c.r, c.retries != nil)
	c.start = time.Now()
	return err
}

// decorateRequest tells the server's proxy the name of the operation. That proxy takes
// the name out again, and answers with its own where it was told none.
func (c *call) decorateRequest() {
	if !c.inbound() {
		if name := c.x.Rule.Decorator; name != "" {
			c.r.Header.Set("x-envoy-decorator-operation", name)
		}
		return
	}
	name, _ := takeHeader(c.r, "x-envoy-decorator-operation")
	if c.named = name != ""; c.named && c.r.Stream.Span != nil {
		c.r.Stream.Span.SetOperation(name)
	}
}

func (c *call) decorateResponse(p *message.Response) {
	if !c.inbound() {
		if name := p.Header.Get("x-envoy-decorator-operation"); name != "" && c.r.Stream.Span != nil {
			c.r.Stream.Span.SetOperation(name)
		}
		p.Header.Del("x-envoy-decorator-operation")
	} else if name := c.x.Rule.Decorator; name != "" && !c.named {
		p.Header.Set("x-envoy-decorator-operation", name)
	}
}

func (c *call) inbound() bool { return c.r.Stream.Conn != nil && c.r.Stream.Conn.Inbound }

// run makes tries until one is the answer.
func (c *call) run(ctx context.Context) (*message.Response, error) {
	defer c.giveRetry()
	for n := 1; ; n++ {
		c.r.Stream.Attempts = n
		if c.x.VirtualHost.IncludeAttemptCount {
			c.r.Header.Set("x-envoy-attempt-count", itoa(n))
		}
		h := c.choose(ctx)
		if h == nil {
			c.cluster.Stats.Codes.Inc(503)
			return nil, &reply.Reply{Status: 503, Flag: message.NoHealthyUpstream, Details: "no_healthy_upstream", Body: "no healthy upstream"}
		}
		t := c.newTry(h)
		p, f := t.do(ctx)
		if f != nil {
			f.account(t)
			if f.final() || !c.again(f.wants(c)) {
				return nil, f.reply(c)
			}
		} else {
			if !c.again(c.retries != nil && c.retries.wantsResponse(p) && c.body.canReplay()) {
				return c.answer(t, p)
			}
			t.abandon(p)
		}
		if err := c.backOff(ctx, n); err != nil {
			return nil, err
		}
	}
}

func (c *call) newTry(h *upstream.Host) *try {
	t := &c.first
	if c.r.Stream.Attempts > 1 {
		t = &try{}
		c.limits.announce(c.r, time.Since(c.start), c.rt.options.SuppressEnvoyHeaders)
	}
	t.call, t.host = c, h
	return t
}

// again decides about a retry that the policy wants, and counts it.
func (c *call) again(wanted bool) bool {
	s := c.cluster.Stats
	if c.retried && !wanted {
		s.RetrySuccess.Inc()
	}
	c.giveRetry()
	if !wanted {
		return false
	}
	if c.retries.left == 0 {
		s.RetryLimit.Inc()
		c.r.Stream.Flags |= message.UpstreamRetryLimitExceeded
		return false
	}
	c.retries.left--
	if !c.cluster.TakeRetry(c.forward.Priority) {
		s.RetryOverflow.Inc()
		c.r.Stream.Flags |= message.UpstreamOverflow
		return false
	}
	c.holding, c.retried = true, true
	s.Retry.Inc()
	return true
}

func (c *call) giveRetry() {
	if c.holding {
		c.cluster.GiveRetry(c.forward.Priority)
		c.holding = false
	}
}

// choose picks a host. A retry with previous_hosts picks again while it gets hosts
// that were tried, as often as the policy says, and then takes what it got.
func (c *call) choose(ctx context.Context) *upstream.Host {
	var h *upstream.Host
	choices := 1
	if c.retries != nil && c.retries.previous && len(c.tried) > 0 {
		choices = c.retries.choices
	}
	if c.retries != nil {
		c.sel.PriorityUpdate = c.retries.priorities
	}
	for c.sel.Rejected = range choices {
		h = c.cluster.Choose(ctx, &c.sel)
		c.sel.Attempt++
		if h == nil || !contains(c.tried, h) {
			break
		}
	}
	if h != nil && c.retries != nil && c.retries.previous {
		c.tried = append(c.tried, h)
	}
	if h != nil && c.sel.PriorityUpdate > 0 {
		c.sel.Tried = append(c.sel.Tried, c.sel.Priority)
	}
	return h
}

func contains(list []*upstream.Host, h *upstream.Host) bool {
	for _, other := range list {
		if other == h {
			return true
		}
	}
	return false
}

// backOff waits before the next try; the request's timeout goes on meanwhile.
func (c *call) backOff(ctx context.Context, n int) error {
	d := c.retries.backOff(n, c.x.Rule.Draw(c.x.Key, 16+uint64(n)))
	now := time.Now()
	at, which := c.limits.deadline(moment{stream: c.r.Stream.Start, start: c.start, now: now, complete: true})
	if left := at.Sub(now); at.IsZero() || left > d {
		which = noTimer
	} else {
		d = left
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return gone()
	case <-timer.C:
	}
	if which == noTimer {
		return nil
	}
	if which == globalTimer {
		c.cluster.Stats.RqTimeout.Inc()
	}
	f := &failure{reason: timedOut, timer: which}
	return f.reply(c)
}

// gone is the end of an exchange whose client went away.
func gone() error {
	return &reply.Reply{Flag: message.DownstreamConnectionTermination, Details: "downstream_remote_disconnect", Reset: true}
}

// answer completes the response that goes back.
func (c *call) answer(t *try, p *message.Response) (*message.Response, error) {
	s := c.r.Stream
	s.Details = "via_upstream"
	s.UpstreamDuration = time.Since(c.start)
	now := c.start.Add(s.UpstreamDuration)
	s.Times = message.Times{RequestEnd: c.start, AnswerBegin: now}
	s.Times.UpstreamBegin, s.Times.UpstreamEnd = t.times()
	c.cluster.Stats.Codes.Inc(p.Status)
	c.cluster.Stats.Time.Record(float64(s.UpstreamDuration.Milliseconds()))
	if !c.rt.options.SuppressEnvoyHeaders {
		p.Header.Set("x-envoy-upstream-service-time", itoa(int(s.UpstreamDuration.Milliseconds())))
	}
	if c.rt.options.Decorate {
		c.decorateResponse(p)
	}
	for _, cookie := range c.cookies {
		p.Header.Add("set-cookie", cookie)
	}
	if ops := c.action.clusters[c.x.Cluster]; ops != nil {
		applyResponse(ops.response, c.r, p)
	}
	applyResponse(c.action.response, c.r, p)
	t.handOver(p)
	return p, nil
}
