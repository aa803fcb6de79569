package tracing

import (
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
)

// traceContext is what header fields tell of the trace that a request belongs to.
type traceContext struct {
	trace   string // 32 or 16 digits; empty: none
	span    string // of the caller
	parent  string // of the caller's span, where B3 tells it
	sampled bool
	decided bool // the caller decided about sampling
}

// hexadecimal tells whether s has so many lower-case digits, not all of them 0.
func hexadecimal(s string, digits ...int) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	for _, n := range digits {
		if len(s) == n {
			return strings.Trim(s, "0") != ""
		}
	}
	return false
}

// fromB3 reads the context of B3: the field b3, or those that begin with x-b3-
// (openzipkin/b3-propagation). A sampling decision may come without a trace.
func fromB3(h message.Header) (c traceContext) {
	if single := h.Get("b3"); single != "" {
		return fromSingleB3(single)
	}
	switch strings.ToLower(h.Get("x-b3-sampled")) {
	case "1", "true":
		c.sampled, c.decided = true, true
	case "0", "false":
		c.decided = true
	}
	if h.Get("x-b3-flags") == "1" { // debug
		c.sampled, c.decided = true, true
	}
	trace, span := strings.ToLower(h.Get("x-b3-traceid")), strings.ToLower(h.Get("x-b3-spanid"))
	if hexadecimal(trace, 16, 32) && hexadecimal(span, 16) {
		c.trace, c.span = trace, span
		if parent := strings.ToLower(h.Get("x-b3-parentspanid")); hexadecimal(parent, 16) {
			c.parent = parent
		}
	}
	return c
}

// fromSingleB3 reads TRACE-SPAN[-SAMPLED[-PARENT]], or SAMPLED alone.
func fromSingleB3(s string) (c traceContext) {
	parts := strings.Split(strings.ToLower(s), "-")
	decide := func(word string) {
		switch word {
		case "1", "d":
			c.sampled, c.decided = true, true
		case "0":
			c.decided = true
		}
	}
	if len(parts) == 1 {
		decide(parts[0])
		return c
	}
	if !hexadecimal(parts[0], 16, 32) || !hexadecimal(parts[1], 16) {
		return c
	}
	c.trace, c.span = parts[0], parts[1]
	if len(parts) > 2 {
		decide(parts[2])
	}
	if len(parts) > 3 && hexadecimal(parts[3], 16) {
		c.parent = parts[3]
	}
	return c
}

// fromW3C reads traceparent: VERSION-TRACE-SPAN-FLAGS (W3C Trace Context, 3.2). A later
// version may have more behind.
func fromW3C(h message.Header) (c traceContext) {
	parts := strings.Split(h.Get("traceparent"), "-")
	if len(parts) < 4 || len(parts[0]) != 2 || parts[0] == "ff" || parts[0] == "00" && len(parts) != 4 ||
		!hexadecimal(parts[1], 32) || !hexadecimal(parts[2], 16) || len(parts[3]) != 2 {
		return c
	}
	last := strings.IndexByte("0123456789abcdef", parts[3][1])
	if last < 0 {
		return c
	}
	return traceContext{trace: parts[1], span: parts[2], sampled: last&1 == 1, decided: true}
}

// writeB3 writes the context of a span in the fields that begin with x-b3-. A field b3
// that came would go before them, so it is kept true.
func (s *Span) writeB3(h *message.Header) {
	sampled := "0"
	if s.sampled {
		sampled = "1"
	}
	h.Set("x-b3-traceid", s.trace)
	h.Set("x-b3-spanid", s.id)
	if s.parent != "" {
		h.Set("x-b3-parentspanid", s.parent)
	} else {
		h.Del("x-b3-parentspanid")
	}
	h.Set("x-b3-sampled", sampled)
	if h.Has("b3") {
		single := s.trace + "-" + s.id + "-" + sampled
		if s.parent != "" {
			single += "-" + s.parent
		}
		h.Set("b3", single)
	}
}

func (s *Span) writeW3C(h *message.Header) {
	flags := "-00"
	if s.sampled {
		flags = "-01"
	}
	trace := s.trace
	if len(trace) == 16 {
		trace = "0000000000000000" + trace
	}
	h.Set("traceparent", "00-"+trace+"-"+s.id+flags)
}
