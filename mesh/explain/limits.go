package explain

import (
	"fmt"
	"math"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// ownCertificate is what the proxy's agent calls the certificate of its workload, as in
// Istio.
const ownCertificate = "default"

// limits describes what a cluster lets through, and whom this proxy is to its endpoints.
func (s *stop) limits(out *Cluster, c *snapshot.Cluster) {
	b := c.Breaker[0]
	l := Limits{Connections: limit(b.MaxConnections), PendingRequests: limit(b.MaxPending), Requests: limit(b.MaxRequests),
		Retries: limit(b.MaxRetries), RequestsPerConnection: c.HTTP.MaxRequestsPerConn}
	if l != (Limits{}) && s.h.Role != "inbound" {
		out.Limits = &l
		l.Source = s.settingSource(c, "connectionPool")
	}
	if o := c.Outlier; o != nil && s.h.Role != "inbound" {
		enforced := func(count, percent uint32) uint32 {
			if percent == 0 {
				return 0
			}
			return count
		}
		out.Outlier = &Outlier{Consecutive5xx: enforced(o.Consecutive5xx, o.EnforceConsecutive5xx),
			ConsecutiveGateway: enforced(o.ConsecutiveGateway, o.EnforceGateway), Interval: o.Interval.Seconds(),
			BaseEjection: o.BaseEjection.Seconds(), MaxEjectionPercent: o.MaxEjectionPercent,
			Source: s.settingSource(c, "outlierDetection")}
		if o.SplitLocalOrigin {
			out.Outlier.ConsecutiveLocal = enforced(o.ConsecutiveLocal, o.EnforceLocal)
		}
	}
	if s.h.Role == "inbound" {
		return
	}
	out.TLSSource = s.settingSource(c, "tls")
	for _, e := range s.endpoints(c) {
		t := upstream.Transport(c, e.TransportMatch)
		switch {
		case securityOf(t.TLS) != "mTLS":
			continue
		case t.TLS.Certificate == ownCertificate:
			out.Certificate = s.peer.Identity
		case t.TLS.Certificate != "":
			out.Certificate = t.TLS.Certificate
		default:
			out.Certificate, _ = shown(t.TLS, "")
		}
		return
	}
}

// limit is 0 where there is none: what control planes send for that is the largest number.
func limit(n uint32) uint32 {
	if n == math.MaxUint32 {
		return 0
	}
	return n
}

// String is the limits in words; of none it is empty.
func (l *Limits) String() string {
	if l == nil {
		return ""
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{int(l.Connections), "connections"}, {int(l.PendingRequests), "pending requests"}, {int(l.Requests), "requests"}, {int(l.Retries), "retries"},
		{l.RequestsPerConnection, "requests per connection"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return "at most " + strings.Join(parts, ", ")
}

// String is the rule in words; of none it is empty.
func (o *Outlier) String() string {
	if o == nil {
		return ""
	}
	var parts []string
	for _, p := range []struct {
		n    uint32
		what string
	}{{o.Consecutive5xx, "5xx"}, {o.ConsecutiveGateway, "gateway errors"}, {o.ConsecutiveLocal, "failed connections"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("ejected after %s in a row for %s, at most %d%%", strings.Join(parts, " or "), seconds(o.BaseEjection), o.MaxEjectionPercent)
}

// localLimit notes the buckets that count the request.
func (s *stop) localLimit(c *snapshot.LocalRateLimit, x *filter.Exchange) {
	own, buckets := filter.LocalBuckets(c, x)
	if len(buckets) == 0 {
		return
	}
	l := RateLimit{Kind: "local", Buckets: []Bucket{}, Descriptors: []string{}, Status: own.Status, Percent: own.Enforced, Source: s.filterSource(c.FilterName())}
	for _, b := range buckets {
		l.Buckets = append(l.Buckets, Bucket{entries(b.Entries), b.Bucket.Max, b.Bucket.PerFill, b.Bucket.Interval.Seconds()})
	}
	s.h.RateLimits = append(s.h.RateLimits, l)
}

// globalLimit notes what a service is asked.
func (s *stop) globalLimit(c *snapshot.GlobalRateLimit, x *filter.Exchange) {
	domain, list := filter.GlobalDescriptors(c, x)
	if len(list) == 0 {
		return
	}
	l := RateLimit{Kind: "global", Buckets: []Bucket{}, Descriptors: []string{}, Domain: domain, Service: c.Service.Cluster, FailOpen: !c.Deny,
		Status: c.Status, Percent: c.Enforce, Source: s.filterSource(c.FilterName())}
	for _, d := range list {
		l.Descriptors = append(l.Descriptors, entries(d))
	}
	s.h.RateLimits = append(s.h.RateLimits, l)
}

func entries(list []snapshot.DescriptorEntry) string {
	var parts []string
	for _, e := range list {
		parts = append(parts, e.Key+"="+e.Value)
	}
	return strings.Join(parts, ", ")
}

// String is the limit in words.
func (l *RateLimit) String() string {
	var parts []string
	for _, b := range l.Buckets {
		text := fmt.Sprintf("%d in %s", b.PerFill, seconds(b.Interval))
		if b.Tokens != b.PerFill {
			text += fmt.Sprintf(", %d at once", b.Tokens)
		}
		if b.Descriptor != "" {
			text = b.Descriptor + ": " + text
		}
		parts = append(parts, text)
	}
	text := l.Kind + ", " + strings.Join(parts, "; ")
	if l.Kind == "global" {
		text = fmt.Sprintf("global, %s is asked about %s in domain %s", l.Service, strings.Join(l.Descriptors, "; "), l.Domain)
		if !l.FailOpen {
			text += ", and has to answer"
		}
	}
	if l.Percent < 100 {
		text += fmt.Sprintf("; over it %d for %g%%", l.Status, l.Percent)
	} else {
		text += fmt.Sprintf("; over it %d", l.Status)
	}
	return text
}

// custom notes that a service is asked, if it is: only it knows the answer.
func (s *stop) custom(c *snapshot.ExtAuthz, x *filter.Exchange) {
	if !filter.AsksAbout(c, x) {
		return
	}
	p := Policy{Kind: "authorization", Action: "custom", Passed: true}
	service := ""
	if c.GRPC != nil {
		service = c.GRPC.Cluster + " is asked over gRPC"
	} else {
		service = c.HTTP.Cluster + " is asked over HTTP"
	}
	p.Reason = fmt.Sprintf("%s; without an answer the request gets %d", service, c.StatusOnError)
	if c.FailOpen {
		p.Reason = service + "; without an answer the request passes"
	}
	if c.Enabled != nil && len(c.Enabled.Path) == 1 {
		if name, ok := x.Metadata[c.Enabled.Filter][c.Enabled.Path[0]].(string); ok {
			p.Name, p.Source = name, s.source(p.Kind, name)
		}
	}
	if p.Source == "" {
		p.Source = s.filterSource(c.FilterName())
	}
	s.h.Policies = append(s.h.Policies, p)
}

func (s *stop) filterSource(name string) string {
	if s.FilterSource == nil {
		return ""
	}
	return s.FilterSource(s.peer, name)
}

func (s *stop) settingSource(c *snapshot.Cluster, setting string) string {
	if s.SettingSource == nil {
		return ""
	}
	return s.SettingSource(s.peer, c.Name, setting)
}

func (p *printer) rateLimits(h *Hop) {
	label := "rate limit"
	for i := range h.RateLimits {
		p.labelled(&label, h.RateLimits[i].Source, "%s", h.RateLimits[i].String())
	}
}

func (p *printer) limits(c *Cluster) {
	if text := c.Limits.String(); text != "" {
		p.line("", c.Limits.Source, "  %s", text)
	}
	if text := c.Outlier.String(); text != "" {
		p.line("", c.Outlier.Source, "  %s", text)
	}
	switch {
	case c.Certificate != "":
		p.line("", c.TLSSource, "  shows its certificate %s", c.Certificate)
	case c.TLSSource != "":
		p.line("", c.TLSSource, "  TLS as it is configured")
	}
}
