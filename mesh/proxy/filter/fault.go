package filter

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Purposes of the draws that the fault filter makes for a rule.
const (
	drawDelay = 2
	drawAbort = 3
)

// Fault delays and aborts requests before they reach the router, as Envoy's fault
// filter: so neither the route's timeout nor its retries know of it. The delay comes
// first. Percentages are drawn by the request. With header_delay and header_abort the
// request says itself what is done to it, by the headers x-envoy-fault-delay-request
// (milliseconds), x-envoy-fault-abort-request and x-envoy-fault-abort-grpc-request, each
// with its "-percentage", which the filter's own caps.
func Fault(config snapshot.Fault) Filter {
	f := &fault{config: config}
	return func(next Handler) Handler {
		return func(ctx context.Context, x *Exchange) (*message.Response, error) {
			if err := f.inject(ctx, x); err != nil {
				return nil, err
			}
			return next(ctx, x)
		}
	}
}

type fault struct {
	config snapshot.Fault
	active atomic.Int64
}

func (f *fault) inject(ctx context.Context, x *Exchange) error {
	config := &f.config
	switch c := x.Config(config.FilterName()).(type) {
	case snapshot.Fault:
		config = &c
	case *snapshot.Fault:
		config = c
	}
	if config.HeaderDelay || config.HeaderAbort {
		config = fromHeaders(*config, x.Request.Header)
	}
	if config.Delay == 0 && config.AbortStatus == 0 && config.AbortGRPC < 0 || config.DelayPercent == 0 && config.AbortPercent == 0 {
		return nil
	}
	for i := range config.Headers {
		if !route.MatchHeader(&config.Headers[i], x.Request) {
			return nil
		}
	}
	delay := config.Delay > 0 && draw(x, drawDelay, config.DelayPercent)
	abort := (config.AbortStatus > 0 || config.AbortGRPC >= 0) && draw(x, drawAbort, config.AbortPercent)
	if !delay && !abort {
		return nil
	}
	if f.active.Add(1) > int64(config.MaxActive) && config.MaxActive > 0 {
		f.active.Add(-1)
		return nil
	}
	defer f.active.Add(-1)
	if delay {
		x.Request.Stream.Flags |= message.DelayInjected
		if err := wait(ctx, config.Delay); err != nil {
			return err
		}
	}
	if abort {
		return aborted(config, x.Request)
	}
	return nil
}

// fromHeaders is a configuration with what the request's headers say filled in; without
// a header nothing is done.
func fromHeaders(c snapshot.Fault, h message.Header) *snapshot.Fault {
	number := func(name string, least, most uint64) (int, bool) {
		n, err := strconv.ParseUint(h.Get(name), 10, 31)
		return int(n), err == nil && n >= least && n <= most
	}
	share := func(name string, most float64) float64 {
		if n, ok := number(name, 0, 1<<31); ok {
			return min(float64(n), most)
		}
		return most
	}
	if c.HeaderDelay {
		c.Delay = 0
		if ms, ok := number("x-envoy-fault-delay-request", 0, 1<<31); ok {
			c.Delay = time.Duration(ms) * time.Millisecond
			c.DelayPercent = share("x-envoy-fault-delay-request-percentage", c.DelayPercent)
		}
	}
	if c.HeaderAbort {
		c.AbortStatus, c.AbortGRPC = 0, -1
		if status, ok := number("x-envoy-fault-abort-request", 200, 599); ok {
			c.AbortStatus = status
		} else if status, ok := number("x-envoy-fault-abort-grpc-request", 0, 16); ok {
			c.AbortGRPC = status
		}
		c.AbortPercent = share("x-envoy-fault-abort-request-percentage", c.AbortPercent)
	}
	return &c
}

// draw tells whether a request is among a percentage.
func draw(x *Exchange, purpose uint64, percent float64) bool {
	if percent >= 100 {
		return true
	}
	if x.Rule == nil {
		return false
	}
	return route.Percent(x.Rule.Draw(x.Key, purpose), percent)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return &reply.Reply{Flag: message.DownstreamConnectionTermination, Details: "downstream_remote_disconnect", Reset: true}
	}
}

// aborted is the answer in place of the upstream's. An HTTP status goes before a gRPC
// status; the latter comes with 200, and only gRPC clients hear of it.
func aborted(config *snapshot.Fault, r *message.Request) error {
	answer := reply.Reply{Status: config.AbortStatus, Flag: message.FaultInjected, Details: "fault_filter_abort", Body: "fault filter abort"}
	if config.AbortStatus > 0 {
		return &answer
	}
	answer.Status = 200
	if route.IsGRPC(r.Header) {
		answer.Header.Add("grpc-status", strconv.Itoa(config.AbortGRPC))
	}
	return &answer
}
