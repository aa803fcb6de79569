package route

import (
	"fmt"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// Step is one decision on the way of a request through a table.
type Step struct {
	VirtualHost string
	// Route is the rule's name, or "#3" by position; empty for the choice of the virtual host.
	Route   string
	Matched bool
	// Reason says why a rule did not match, or how the virtual host was found.
	Reason string
	Source string
}

// Explain tells how Match comes to its answer: first the virtual host, then every
// rule up to the one that matches.
func (t *Table) Explain(r *message.Request, key uint64, known Metadata) []Step {
	vh := t.VirtualHost(r.Authority)
	if vh == nil {
		return []Step{{Reason: fmt.Sprintf("no virtual host of route configuration %q has a domain for %q", t.Config.Name, r.Authority),
			Source: t.Config.Source}}
	}
	steps := []Step{{VirtualHost: vh.Name, Matched: true, Source: vh.Source,
		Reason: fmt.Sprintf("authority %q matches %s", r.Authority, t.domainOf(vh, r.Authority))}}
	for i, rule := range vh.Rules {
		name := rule.Name
		if name == "" {
			name = fmt.Sprintf("#%d", i+1)
		}
		reason := rule.mismatch(r, key, known)
		steps = append(steps, Step{VirtualHost: vh.Name, Route: name, Matched: reason == "", Reason: reason, Source: rule.Source})
		if reason == "" {
			break
		}
	}
	return steps
}

// domainOf names the domain that led to a virtual host.
func (t *Table) domainOf(vh *VirtualHost, authority string) string {
	for _, d := range vh.Domains {
		one := &Table{Config: t.Config, exact: map[string]*VirtualHost{}}
		one.add(strings.ToLower(d), vh)
		if d != "*" && one.VirtualHost(authority) != nil {
			return fmt.Sprintf("domain %q", d)
		}
	}
	return `domain "*"`
}

// mismatch returns the first reason why a rule does not match, or "".
func (r *Rule) mismatch(req *message.Request, key uint64, known Metadata) string {
	m := &r.Match
	path, query := SplitPath(req.Path)
	if !matchesPath(m, req, path) {
		if m.Connect || req.Method == "CONNECT" && path == "" {
			return fmt.Sprintf("method %s does not match %s", req.Method, describePath(m))
		}
		return fmt.Sprintf("path %q does not match %s", path, describePath(m))
	}
	for i := range m.Headers {
		h := &m.Headers[i]
		if MatchHeader(h, req) {
			continue
		}
		value, found := Field(req, h.Name)
		if !found {
			return fmt.Sprintf("header %s is missing, want %s", h.Name, describeHeader(h))
		}
		return fmt.Sprintf("header %s is %q, want %s", h.Name, value, describeHeader(h))
	}
	for i := range m.Query {
		if q := &m.Query[i]; !queryMatches(q, query) {
			return fmt.Sprintf("query parameter %s does not match: query is %q", q.Name, query)
		}
	}
	if m.GRPC && !IsGRPC(req.Header) {
		return "it is no gRPC request"
	}
	for i := range m.Metadata {
		if d := &m.Metadata[i]; !MatchMetadata(d, known) {
			return describeMetadata(d, known)
		}
	}
	if m.Fraction != nil && !Percent(r.Draw(key, drawFraction), *m.Fraction) {
		return fmt.Sprintf("it is not among the %g%% that the route takes", *m.Fraction)
	}
	return ""
}

func describePath(m *snapshot.RouteMatch) string {
	suffix := ""
	if m.IgnoreCase {
		suffix = " (ignoring case)"
	}
	switch {
	case m.Prefix != nil:
		return fmt.Sprintf("prefix %q", *m.Prefix) + suffix
	case m.Exact != nil:
		return fmt.Sprintf("exact %q", *m.Exact) + suffix
	case m.Regex != nil:
		return fmt.Sprintf("regex %q", m.Regex)
	case m.Connect:
		return "CONNECT"
	default:
		return fmt.Sprintf("path prefix %q", *m.PathSeparated) + suffix
	}
}

func describeHeader(m *snapshot.HeaderMatch) string {
	not := ""
	if m.Invert {
		not = "not "
	}
	switch {
	case m.Present:
		return not + "present"
	case m.Range != nil:
		return fmt.Sprintf("%sin [%d, %d)", not, m.Range[0], m.Range[1])
	default:
		return not + DescribeString(m.Value)
	}
}

// DescribeString is a matcher in words.
func DescribeString(m *snapshot.StringMatch) string {
	switch {
	case m == nil:
		return "anything"
	case m.Exact != nil:
		return fmt.Sprintf("exact %q", *m.Exact)
	case m.Prefix != nil:
		return fmt.Sprintf("prefix %q", *m.Prefix)
	case m.Suffix != nil:
		return fmt.Sprintf("suffix %q", *m.Suffix)
	case m.Contains != nil:
		return fmt.Sprintf("containing %q", *m.Contains)
	case m.Regex != nil:
		return fmt.Sprintf("regex %q", m.Regex)
	default:
		return "anything"
	}
}
