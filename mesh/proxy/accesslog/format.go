package accesslog

import (
	"fmt"
	"strconv"
	"strings"
)

// DefaultFormat is Envoy's own format.
const DefaultFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ` +
	`%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ` +
	`"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"` + "\n"

// IstioFormat is the text format that Istio's control plane sends by default.
const IstioFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ` +
	`%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% ` +
	`%DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" ` +
	`"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% ` +
	`%DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%` + "\n"

// Format is a compiled text with command operators, as Envoy documents them. A
// value that is missing reads "-".
type Format struct{ parts []part }

// part is literal text or an operator.
type part struct {
	literal string
	op      operator
	max     int // cut the value to so many bytes; 0: whole
	number  bool
	object  bool // it may be an object or a list of JSON
}

// CompileFormat compiles a text. An operator that is unknown is an error naming it.
func CompileFormat(text string) (*Format, error) {
	f := &Format{}
	for text != "" {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			f.literal(text)
			break
		}
		f.literal(text[:i])
		text = text[i+1:]
		if strings.HasPrefix(text, "%") {
			f.literal("%")
			text = text[1:]
			continue
		}
		p, rest, err := parseOperator(text)
		if err != nil {
			return nil, err
		}
		f.parts, text = append(f.parts, p), rest
	}
	return f, nil
}

func (f *Format) literal(s string) {
	if s == "" {
		return
	}
	if n := len(f.parts); n > 0 && f.parts[n-1].op == nil {
		f.parts[n-1].literal += s
		return
	}
	f.parts = append(f.parts, part{literal: s})
}

// parseOperator reads NAME, NAME(ARGUMENT) or NAME(ARGUMENT):LENGTH up to the closing %.
func parseOperator(text string) (part, string, error) {
	end := strings.IndexAny(text, "%(")
	if end < 0 {
		return part{}, "", fmt.Errorf("format: operator %q is not closed by %%", "%"+text)
	}
	name, argument, max := text[:end], "", 0
	rest := text[end:]
	if rest[0] == '(' {
		closing := closingParenthesis(rest)
		if closing < 0 {
			return part{}, "", fmt.Errorf("format: the argument of %%%s is not closed by )", name)
		}
		argument, rest = rest[1:closing], rest[closing+1:]
	}
	stop := strings.IndexByte(rest, '%')
	if stop < 0 {
		return part{}, "", fmt.Errorf("format: operator %%%s is not closed by %%", name)
	}
	if suffix := rest[:stop]; suffix != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(suffix, ":"))
		if err != nil || n < 0 || suffix[0] != ':' {
			return part{}, "", fmt.Errorf("format: %q after %%%s(%s) is no length", suffix, name, argument)
		}
		max = n
	}
	op, err := newOperator(name, argument)
	return part{op: op, max: max, number: numeric(name), object: strings.HasSuffix(name, "_METADATA")}, rest[stop+1:], err
}

// closingParenthesis finds the end of an argument, in which there may be others.
func closingParenthesis(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// Append appends the text of an exchange.
func (f *Format) Append(dst []byte, x *Exchange) []byte { return f.append(dst, x, "-") }

// AppendHeader is Append for values of header fields, where a missing value is empty.
func (f *Format) AppendHeader(dst []byte, x *Exchange) []byte { return f.append(dst, x, "") }

// Literal returns the text of a format without operators.
func (f *Format) Literal() (string, bool) {
	switch {
	case len(f.parts) == 0:
		return "", true
	case len(f.parts) == 1 && f.parts[0].op == nil:
		return f.parts[0].literal, true
	default:
		return "", false
	}
}

func (f *Format) append(dst []byte, x *Exchange, missing string) []byte {
	for i := range f.parts {
		p := &f.parts[i]
		if p.op == nil {
			dst = append(dst, p.literal...)
			continue
		}
		before := len(dst)
		dst = p.op(dst, x)
		switch {
		case len(dst) == before:
			dst = append(dst, missing...)
		case p.max > 0 && len(dst) > before+p.max:
			dst = dst[:before+p.max]
		}
	}
	return dst
}
