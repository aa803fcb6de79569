package compile

//lint:file-ignore SA1019 Envoy still takes what is deprecated, and control planes still send it.

import (
	"net/netip"
	"regexp"
	"strings"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// duration returns a duration, or the default where it is absent. Negative ones are problems.
func duration(at place, d *durationpb.Duration, absent time.Duration) time.Duration {
	if d == nil {
		return absent
	}
	v := d.AsDuration()
	if v < 0 {
		at.errorf("%v is negative", v)
	}
	return v
}

// optional returns nil where a duration is absent.
func optional(at place, d *durationpb.Duration) *time.Duration {
	if d == nil {
		return nil
	}
	v := duration(at, d, 0)
	return &v
}

func number(v *wrapperspb.UInt32Value, absent uint32) uint32 {
	if v == nil {
		return absent
	}
	return v.GetValue()
}

func boolean(v *wrapperspb.BoolValue, absent bool) bool {
	if v == nil {
		return absent
	}
	return v.GetValue()
}

// percent converts a fraction to percent.
func percent(f *typepb.FractionalPercent) float64 {
	switch f.GetDenominator() {
	case typepb.FractionalPercent_TEN_THOUSAND:
		return float64(f.GetNumerator()) / 100
	case typepb.FractionalPercent_MILLION:
		return float64(f.GetNumerator()) / 10000
	default:
		return float64(f.GetNumerator())
	}
}

// address converts a socket address, which has to be an IP address.
func address(at place, a *corepb.Address) netip.AddrPort {
	s := a.GetSocketAddress()
	if s == nil {
		return netip.AddrPort{}
	}
	at = at.field("socketAddress")
	ip, err := netip.ParseAddr(s.GetAddress())
	if err != nil {
		at.field("address").errorf("%q is not an IP address", s.GetAddress())
	}
	return netip.AddrPortFrom(ip, port(at.field("portValue"), s.GetPortValue()))
}

func port(at place, n uint32) uint16 {
	if n > 65535 {
		at.errorf("%d is not a port", n)
	}
	return uint16(n)
}

func prefixes(at place, ranges []*corepb.CidrRange) []netip.Prefix {
	var out []netip.Prefix
	for i, r := range ranges {
		ip, err := netip.ParseAddr(r.GetAddressPrefix())
		if err != nil {
			at.index(i).field("addressPrefix").errorf("%q is not an IP address", r.GetAddressPrefix())
			continue
		}
		p, err := ip.Prefix(int(r.GetPrefixLen().GetValue()))
		if err != nil {
			at.index(i).field("prefixLen").errorf("%v", err)
			continue
		}
		out = append(out, p)
	}
	return out
}

// full compiles an expression that has to match the whole string, as Envoy has it.
func full(at place, r *matcherpb.RegexMatcher) *regexp.Regexp {
	return compileRegex(at.field("regex"), r.GetRegex(), `\A(?:`, `)\z`)
}

func compileRegex(at place, expr, before, after string) *regexp.Regexp {
	if _, err := regexp.Compile(expr); err != nil {
		at.errorf("%v", err)
		return nil
	}
	return regexp.MustCompile(before + expr + after)
}

func rewrite(at place, r *matcherpb.RegexMatchAndSubstitute) *snapshot.RegexRewrite {
	if r == nil {
		return nil
	}
	return &snapshot.RegexRewrite{
		Pattern:      compileRegex(at.field("pattern").field("regex"), r.GetPattern().GetRegex(), "", ""),
		Substitution: r.GetSubstitution(),
	}
}

func stringMatch(at place, m *matcherpb.StringMatcher) *snapshot.StringMatch {
	if m == nil {
		return nil
	}
	out := &snapshot.StringMatch{IgnoreCase: m.GetIgnoreCase()}
	switch p := m.GetMatchPattern().(type) {
	case *matcherpb.StringMatcher_Exact:
		out.Exact = &p.Exact
	case *matcherpb.StringMatcher_Prefix:
		out.Prefix = &p.Prefix
	case *matcherpb.StringMatcher_Suffix:
		out.Suffix = &p.Suffix
	case *matcherpb.StringMatcher_Contains:
		out.Contains = &p.Contains
	case *matcherpb.StringMatcher_SafeRegex:
		out.Regex = full(at.field("safeRegex"), p.SafeRegex)
	default:
		at.errorf("has no pattern")
	}
	return out
}

func stringMatches(at place, ms []*matcherpb.StringMatcher) []snapshot.StringMatch {
	var out []snapshot.StringMatch
	for i, m := range ms {
		out = append(out, *stringMatch(at.index(i), m))
	}
	return out
}

func headerMatches(at place, hs []*routepb.HeaderMatcher) []snapshot.HeaderMatch {
	var out []snapshot.HeaderMatch
	for i, h := range hs {
		out = append(out, headerMatch(at.index(i), h))
	}
	return out
}

// headerMatch converts a matcher; one without a condition tests presence.
func headerMatch(at place, h *routepb.HeaderMatcher) snapshot.HeaderMatch {
	m := snapshot.HeaderMatch{Name: strings.ToLower(h.GetName()), Invert: h.GetInvertMatch(), MissingAsEmpty: h.GetTreatMissingHeaderAsEmpty()}
	switch s := h.GetHeaderMatchSpecifier().(type) {
	case nil:
		m.Present = true
	case *routepb.HeaderMatcher_PresentMatch:
		m.Present = true
		m.Invert = m.Invert != !s.PresentMatch
	case *routepb.HeaderMatcher_StringMatch:
		m.Value = stringMatch(at.field("stringMatch"), s.StringMatch)
	case *routepb.HeaderMatcher_RangeMatch:
		m.Range = &[2]int64{s.RangeMatch.GetStart(), s.RangeMatch.GetEnd()}
	case *routepb.HeaderMatcher_ExactMatch:
		m.Value = &snapshot.StringMatch{Exact: &s.ExactMatch}
	case *routepb.HeaderMatcher_PrefixMatch:
		m.Value = &snapshot.StringMatch{Prefix: &s.PrefixMatch}
	case *routepb.HeaderMatcher_SuffixMatch:
		m.Value = &snapshot.StringMatch{Suffix: &s.SuffixMatch}
	case *routepb.HeaderMatcher_ContainsMatch:
		m.Value = &snapshot.StringMatch{Contains: &s.ContainsMatch}
	case *routepb.HeaderMatcher_SafeRegexMatch:
		m.Value = &snapshot.StringMatch{Regex: full(at.field("safeRegexMatch"), s.SafeRegexMatch)}
	}
	return m
}

// headerOps converts additions and removals; names are lower case.
func headerOps(at place, side string, add []*corepb.HeaderValueOption, remove []string) snapshot.HeaderOps {
	var ops snapshot.HeaderOps
	for _, name := range remove {
		ops.Remove = append(ops.Remove, strings.ToLower(name))
	}
	for i, o := range add {
		op := snapshot.HeaderOp{Name: strings.ToLower(o.GetHeader().GetKey()), Value: o.GetHeader().GetValue()}
		switch {
		case o.GetAppend() != nil && !o.GetAppend().GetValue():
			op.Action = snapshot.OverwriteOrAdd
		case o.GetAppendAction() == corepb.HeaderValueOption_ADD_IF_ABSENT:
			op.Action = snapshot.AddIfAbsent
		case o.GetAppendAction() == corepb.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
			op.Action = snapshot.OverwriteOrAdd
		case o.GetAppendAction() == corepb.HeaderValueOption_OVERWRITE_IF_EXISTS:
			op.Action = snapshot.OverwriteIfExists
		}
		if strings.HasPrefix(op.Name, ":") && side == "response" {
			at.field(side+"HeadersToAdd").index(i).errorf("%s cannot be changed", op.Name)
		}
		ops.Set = append(ops.Set, op)
	}
	return ops
}

// metadataString returns one string of a metadata namespace.
func metadataString(m *corepb.Metadata, namespace, key string) string {
	return m.GetFilterMetadata()[namespace].GetFields()[key].GetStringValue()
}

// source is where the configuration came from: file and line where they are
// known, else the object that Istio names.
func source(m *corepb.Metadata) string {
	if s := metadataString(m, "windtunnel", "source"); s != "" {
		return s
	}
	return metadataString(m, "istio", "config")
}

// stringsOf returns the scalar fields of a struct as strings.
func stringsOf(at place, s *structpb.Struct) map[string]string {
	if len(s.GetFields()) == 0 {
		return nil
	}
	out := make(map[string]string, len(s.GetFields()))
	for k, v := range s.GetFields() {
		if _, ok := v.GetKind().(*structpb.Value_StringValue); !ok {
			at.key(k).errorf("is not a string: not supported")
		}
		out[k] = v.GetStringValue()
	}
	return out
}

// data returns inline data, or what is in a file.
func (c *Compiler) data(at place, d *corepb.DataSource) []byte {
	switch s := d.GetSpecifier().(type) {
	case *corepb.DataSource_InlineBytes:
		return s.InlineBytes
	case *corepb.DataSource_InlineString:
		return []byte(s.InlineString)
	case *corepb.DataSource_Filename:
		if c.ReadFile == nil {
			at.field("filename").errorf("files are not read here: not supported")
			return nil
		}
		c.readFiles = true
		content, err := c.ReadFile(s.Filename)
		if err != nil {
			at.field("filename").errorf("%v", err)
		}
		return content
	default:
		return nil
	}
}

// http2Options compiles the settings of one side. Keepalive's interval may vary by 15 %
// where nothing else is said.
func http2Options(at place, m *corepb.Http2ProtocolOptions) snapshot.HTTP2Options {
	o := snapshot.HTTP2Options{
		MaxConcurrentStreams: m.GetMaxConcurrentStreams().GetValue(),
		StreamWindow:         m.GetInitialStreamWindowSize().GetValue(),
		ConnectionWindow:     m.GetInitialConnectionWindowSize().GetValue(),
		AllowConnect:         m.GetAllowConnect(),
	}
	if k := m.GetConnectionKeepalive(); k != nil {
		at := at.field("connectionKeepalive")
		o.Keepalive = duration(at.field("interval"), k.GetInterval(), 0)
		o.KeepaliveTimeout = duration(at.field("timeout"), k.GetTimeout(), 0)
		if o.KeepaliveJitter = 15; k.GetIntervalJitter() != nil {
			o.KeepaliveJitter = k.GetIntervalJitter().GetValue()
		}
	}
	return o
}
