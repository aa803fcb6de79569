package router

import (
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// reason is why a try ended without an answer: Envoy's stream reset reasons, and the
// timers and the client besides.
type reason uint8

const (
	overflow reason = iota
	connectionFailure
	connectionTimeout
	connectionTermination
	protocolError
	timedOut
	clientGone
	remoteReset // HTTP/2 only, as the next
	refusedStream
)

// reasons are Envoy's words for resets, as bodies and details have them.
var reasons = [...]string{"overflow", "remote connection failure", "connection timeout", "connection termination", "protocol error", "local reset", "", "remote reset", "remote refused stream reset"}

// timer is one of the limits of a request.
type timer uint8

const (
	noTimer timer = iota
	globalTimer
	perTryTimer
	perTryIdleTimer
	idleTimer
	durationTimer
)

// failure is a try that ended without an answer.
type failure struct {
	reason    reason
	timer     timer
	transport string // what the transport said
	started   bool   // the request's head went out
}

// failureOf translates a pool's failure.
func failureOf(f *upstream.Failure, next timer, gone bool) *failure {
	switch {
	case gone:
		return &failure{reason: clientGone}
	case f.Kind == upstream.Overflow:
		return &failure{reason: overflow}
	case f.Kind == upstream.ConnectionTimeout:
		return &failure{reason: connectionTimeout, transport: f.Reason}
	case f.Kind == upstream.DeadlineExceeded:
		return &failure{reason: timedOut, timer: next}
	default:
		return &failure{reason: connectionFailure, transport: f.Reason}
	}
}

// final tells whether no retry may follow: the client is gone, or the whole
// request's time is over.
func (f *failure) final() bool {
	return f.reason == clientGone || f.reason == timedOut && f.timer != perTryTimer && f.timer != perTryIdleTimer
}

func (f *failure) wants(c *call) bool {
	return c.retries != nil && c.retries.wantsReset(f) && c.body.canReplay()
}

// account tells statistics and the outlier detector.
func (f *failure) account(t *try) {
	s := t.call.cluster.Stats
	switch f.reason {
	case clientGone:
		s.TxReset.Inc()
		return
	case overflow:
		return
	case timedOut:
		s.TxReset.Inc()
		if f.timer == globalTimer {
			s.RqTimeout.Inc()
		} else if f.timer == perTryTimer {
			s.PerTryTimeout.Inc()
		} else if f.timer == perTryIdleTimer {
			s.PerTryIdleTimeout.Inc()
		}
	case connectionTermination, protocolError, remoteReset, refusedStream:
		s.RxReset.Inc()
	}
	t.host.Report(upstream.Outcome{Local: true, Timeout: f.reason == timedOut})
}

// reply is the answer to the client where no try will follow.
func (f *failure) reply(c *call) error {
	if f.reason == clientGone {
		return gone()
	}
	if f.reason == timedOut {
		return f.timeout(c)
	}
	r := &reply.Reply{Status: 503, Flag: f.flag()}
	if f.reason == protocolError {
		r.Status = 502
	}
	transport := ""
	if f.transport != "" {
		transport = "|" + f.transport
		c.r.Stream.TransportFailure = f.transport
	}
	r.Details = strings.ReplaceAll("upstream_reset_before_response_started{"+reasons[f.reason]+transport+"}", " ", "_")
	r.Body = "upstream connect error or disconnect/reset before headers. "
	if c.r.Stream.Attempts > 1 {
		r.Body += "retried and the latest "
	}
	r.Body += "reset reason: " + reasons[f.reason]
	if f.transport != "" {
		r.Body += ", transport failure reason: " + f.transport
	}
	if f.reason == overflow && !c.rt.options.SuppressEnvoyHeaders {
		r.Header.Add("x-envoy-overloaded", "true")
	}
	c.cluster.Stats.Codes.Inc(r.Status)
	return r
}

func (f *failure) flag() message.Flags {
	switch f.reason {
	case overflow:
		return message.UpstreamOverflow
	case connectionFailure, connectionTimeout:
		return message.UpstreamConnectionFailure
	case protocolError:
		return message.UpstreamProtocolError
	case remoteReset, refusedStream:
		return message.UpstreamRemoteReset
	default:
		return message.UpstreamConnectionTermination
	}
}

func (f *failure) timeout(c *call) error {
	r := &reply.Reply{Status: 504, Flag: message.UpstreamRequestTimeout, Details: "response_timeout", Body: "upstream request timeout"}
	switch f.timer {
	case perTryTimer:
		r.Details = "upstream_per_try_timeout"
	case perTryIdleTimer:
		r.Details = "upstream_per_try_idle_timeout"
	case idleTimer:
		r.Flag, r.Details, r.Body = message.StreamIdleTimeout, "stream_idle_timeout", "stream timeout"
	case durationTimer:
		r.Flag, r.Details, r.Body = message.DurationTimeout, "max_duration_timeout", "downstream duration timeout"
	}
	if f.timer == idleTimer || f.timer == durationTimer { // the client's side: it may be the client who is late
		if !c.body.complete() {
			r.Status = 408
		}
		if route.IsGRPC(c.r.Header) {
			r.Header.Set("grpc-status", "4")
		}
	}
	if c.limits.alternative && f.timer <= perTryIdleTimer {
		r.Status, r.Body = 204, ""
	}
	c.cluster.Stats.Codes.Inc(r.Status)
	return r
}

// moment is where a try stands, as far as its limits go.
type moment struct {
	stream, start, begin, now time.Time
	complete                  bool // the whole request came: at start
	connected                 bool // the try has its connection: since begin, or since the request was complete
	answering                 bool // the head of the answer came
}

// deadline is the earliest of the limits, with what it is. max_stream_duration counts
// from the stream's begin and idle limits from now; the request's timeout counts once
// the request is complete, a try's limits once it has a connection besides (Envoy:
// route timeouts; RetryPolicy.per_try_idle_timeout).
func (t *timeouts) deadline(m moment) (at time.Time, which timer) {
	consider := func(from time.Time, d time.Duration, what timer) {
		if d > 0 {
			if end := from.Add(d); at.IsZero() || end.Before(at) {
				at, which = end, what
			}
		}
	}
	if m.complete {
		consider(m.start, t.global, globalTimer)
		if m.connected && !m.answering {
			consider(m.begin, t.perTry, perTryTimer)
		}
		if m.connected {
			consider(m.now, t.perTryIdle, perTryIdleTimer)
		}
	}
	consider(m.now, t.idle, idleTimer)
	consider(m.stream, t.duration, durationTimer)
	return at, which
}

// clock is the time where a limit depends on it; else nobody looks at a clock.
func (t *timeouts) clock() time.Time {
	if t.idle > 0 || t.perTryIdle > 0 {
		return time.Now()
	}
	return time.Time{}
}
