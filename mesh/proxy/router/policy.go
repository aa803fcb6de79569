package router

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/route"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// timeouts are what limits one request; 0 is no limit.
type timeouts struct {
	global, perTry, perTryIdle, idle, duration time.Duration
	alternative                                bool // x-envoy-upstream-rq-timeout-alt-response: answer 204 instead of 504
	grpc                                       bool // grpc-timeout is in force, and is told to the upstream
}

// takeTimeouts reads the limits of a request: the route's, then gRPC's own, then
// Envoy's headers, which it takes out. A per-try timeout that is not shorter than
// the global one is none.
func takeTimeouts(f *snapshot.Forward, retry *snapshot.Retry, r *message.Request) timeouts {
	t := timeouts{global: f.Timeout, duration: f.MaxStreamDuration}
	if f.IdleTimeout != nil {
		t.idle = *f.IdleTimeout
	}
	if retry != nil {
		t.perTry, t.perTryIdle = retry.PerTryTimeout, retry.PerTryIdleTimeout
	}
	if f.MaxGRPCTimeout != nil && route.IsGRPC(r.Header) {
		t.grpc = true
		t.global = grpcTimeout(r.Header.Get("grpc-timeout"))
		if most := *f.MaxGRPCTimeout; most > 0 && (t.global == 0 || t.global > most) {
			t.global = most
		}
	}
	if v, ok := takeHeader(r, "x-envoy-upstream-rq-timeout-ms"); ok {
		if ms, err := strconv.ParseUint(v, 10, 31); err == nil {
			t.global = time.Duration(ms) * time.Millisecond
		}
	}
	if v, ok := takeHeader(r, "x-envoy-upstream-rq-per-try-timeout-ms"); ok {
		if ms, err := strconv.ParseUint(v, 10, 31); err == nil {
			t.perTry = time.Duration(ms) * time.Millisecond
		}
	}
	_, t.alternative = takeHeader(r, "x-envoy-upstream-rq-timeout-alt-response")
	if t.global > 0 && t.perTry >= t.global {
		t.perTry = 0
	}
	return t
}

// expected is what x-envoy-expected-rq-timeout-ms says to a try that begins so long
// after the request's start: the try's limit, but at most what is left of the request's.
// 0 says nothing, so where nothing is left it is a millisecond.
func (t timeouts) expected(elapsed time.Duration) time.Duration {
	if t.global == 0 {
		return t.perTry
	}
	left := max(t.global-elapsed, time.Millisecond)
	if t.perTry > 0 {
		return min(t.perTry, left)
	}
	return left
}

// announce tells the upstream how long a try may take.
func (t timeouts) announce(r *message.Request, elapsed time.Duration, suppress bool) {
	expected := t.expected(elapsed)
	if expected == 0 {
		return
	}
	if !suppress {
		r.Header.Set("x-envoy-expected-rq-timeout-ms", itoa(int(expected.Milliseconds())))
	}
	if t.grpc {
		r.Header.Set("grpc-timeout", formatGRPCTimeout(expected))
	}
}

// formatGRPCTimeout is a grpc-timeout in the smallest unit whose number has at most
// eight digits, from milliseconds on.
func formatGRPCTimeout(d time.Duration) string {
	const most = 99_999_999
	switch {
	case d.Milliseconds() <= most:
		return itoa(int(d.Milliseconds())) + "m"
	case d/time.Second <= most:
		return itoa(int(d/time.Second)) + "S"
	default:
		return itoa(int(min(d/time.Minute, most))) + "M"
	}
}

func takeHeader(r *message.Request, name string) (string, bool) {
	if !r.Header.Has(name) {
		return "", false
	}
	v := r.Header.Get(name)
	r.Header.Del(name)
	return v, true
}

// grpcTimeout reads a grpc-timeout such as "100m"; 0 where there is none.
func grpcTimeout(v string) time.Duration {
	if len(v) < 2 || len(v) > 9 {
		return 0
	}
	n, err := strconv.ParseUint(v[:len(v)-1], 10, 63)
	if err != nil {
		return 0
	}
	unit, ok := map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': 1}[v[len(v)-1]]
	if !ok {
		return 0
	}
	return time.Duration(n) * unit
}

// when are the conditions that a request is retried on.
type when uint32

const (
	on5xx when = 1 << iota
	onGateway
	onReset
	onResetBeforeRequest
	onConnectFailure
	onRefusedStream
	on4xx
	onStatusCodes
	onHeaders
	onRateLimited
	onGRPCCancelled
	onGRPCDeadline
	onGRPCExhausted
	onGRPCUnavailable
	onGRPCInternal
)

// words are the words of x-envoy-retry-on and x-envoy-retry-grpc-on.
var words = map[string]when{
	"5xx": on5xx, "gateway-error": onGateway, "reset": onReset, "reset-before-request": onResetBeforeRequest,
	"connect-failure": onConnectFailure, "refused-stream": onRefusedStream, "retriable-4xx": on4xx,
	"retriable-status-codes": onStatusCodes, "retriable-headers": onHeaders, "envoy-ratelimited": onRateLimited,
	"cancelled": onGRPCCancelled, "deadline-exceeded": onGRPCDeadline, "resource-exhausted": onGRPCExhausted,
	"unavailable": onGRPCUnavailable, "internal": onGRPCInternal,
}

// grpcStatuses are the conditions of gRPC status codes.
var grpcStatuses = map[string]when{"1": onGRPCCancelled, "4": onGRPCDeadline, "8": onGRPCExhausted, "14": onGRPCUnavailable, "13": onGRPCInternal}

// Known tells whether a word may stand in a retry policy.
func Known(word string) bool { return words[word] != 0 }

// onGRPC are the conditions of x-envoy-retry-grpc-on; x-envoy-retry-on has the others.
const onGRPC = onGRPCCancelled | onGRPCDeadline | onGRPCExhausted | onGRPCUnavailable | onGRPCInternal

func parseWords(list []string) when {
	var w when
	for _, word := range list {
		w |= words[strings.TrimSpace(word)]
	}
	return w
}

// retries is the retry state of one request.
type retries struct {
	on       when
	left     int
	statuses []int
	headers  []snapshot.HeaderMatch
	base     time.Duration
	max      time.Duration
	previous bool
	// priorities is how many tries it takes to keep away from their priorities; 0: none.
	priorities int
	choices    int // host selections per retry: the first, and so many again
}

// compiledRetry has the compiled retry conditions of a route.
type compiledRetry struct {
	*snapshot.Retry
	on when
}

// takeRetries reads the retry policy of a request: the route's, and what Envoy's
// headers add, which it takes out. It fills s in, or returns nil: no retries.
func takeRetries(s *retries, c *compiledRetry, r *message.Request) *retries {
	*s = retries{base: 25 * time.Millisecond, left: 1, choices: 1}
	if c != nil {
		s.on, s.left, s.statuses, s.headers = c.on, c.Attempts, c.Statuses, c.Headers
		if c.PreviousPriorities {
			s.priorities = c.PriorityUpdate
		}
		s.previous, s.choices = c.PreviousHosts, 1+max(c.HostAttempts, 1)
		if c.BackOffBase > 0 {
			s.base = c.BackOffBase
		}
		s.max = c.BackOffMax
	}
	if s.max == 0 {
		s.max = 10 * s.base
	}
	s.takeHeaders(r)
	if s.on == 0 {
		return nil
	}
	return s
}

func (s *retries) takeHeaders(r *message.Request) {
	if v, ok := takeHeader(r, "x-envoy-retry-on"); ok {
		s.on |= parseWords(strings.Split(v, ",")) &^ onGRPC
	}
	if v, ok := takeHeader(r, "x-envoy-retry-grpc-on"); ok {
		s.on |= parseWords(strings.Split(v, ",")) & onGRPC
	}
	if v, ok := takeHeader(r, "x-envoy-retriable-status-codes"); ok {
		s.statuses = slices.Clone(s.statuses)
		for _, code := range strings.Split(v, ",") {
			if n, err := strconv.Atoi(strings.TrimSpace(code)); err == nil {
				s.statuses = append(s.statuses, n)
			}
		}
	}
	if v, ok := takeHeader(r, "x-envoy-max-retries"); ok {
		if n, err := strconv.ParseUint(v, 10, 31); err == nil {
			s.left = int(n)
		}
	}
	if v, ok := takeHeader(r, "x-envoy-retriable-header-names"); ok {
		s.headers = slices.Clone(s.headers)
		for _, name := range strings.Split(v, ",") {
			s.headers = append(s.headers, snapshot.HeaderMatch{Name: strings.ToLower(strings.TrimSpace(name)), Present: true})
		}
	}
}

// wantsResponse tells whether an answer asks for a retry.
func (s *retries) wantsResponse(p *message.Response) bool {
	if p.Header.Has("x-envoy-ratelimited") {
		return s.on&onRateLimited != 0
	}
	switch {
	case s.on&on5xx != 0 && p.Status >= 500 && p.Status <= 599,
		s.on&onGateway != 0 && p.Status >= 502 && p.Status <= 504,
		s.on&on4xx != 0 && p.Status == 409,
		s.on&onStatusCodes != 0 && slices.Contains(s.statuses, p.Status):
		return true
	}
	if s.on&onHeaders != 0 {
		for i := range s.headers {
			if route.MatchResponseHeader(&s.headers[i], p) {
				return true
			}
		}
	}
	return s.on&onGRPC != 0 && s.on&grpcStatuses[p.Header.Get("grpc-status")] != 0
}

// wantsReset tells whether a try that ended without an answer asks for a retry.
func (s *retries) wantsReset(f *failure) bool {
	switch {
	case f.reason == overflow:
		return false
	case s.on&(onReset|on5xx|onGateway) != 0:
		return true
	case s.on&onRefusedStream != 0 && f.reason == refusedStream:
		return true
	case s.on&onResetBeforeRequest != 0 && !f.started:
		return true
	default:
		return s.on&onConnectFailure != 0 && (f.reason == connectionFailure || f.reason == connectionTimeout)
	}
}

// backOff is how long to wait before the n-th retry (n from 1): a draw from
// [0, (2^n - 1) * base), at most the maximum. Envoy: router filter, x-envoy-max-retries.
func (s *retries) backOff(n int, draw uint64) time.Duration {
	limit := s.max
	if n < 20 {
		limit = min(s.max, time.Duration(1<<n-1)*s.base)
	}
	return time.Duration(draw % uint64(max(limit, 1)))
}
