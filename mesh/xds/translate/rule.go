package translate

import (
	"slices"
	"strconv"
	"strings"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	commonfaultpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	corspb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	previoushostspb "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	previousprioritiespb "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// Istio's retries where nobody says otherwise.
const (
	defaultRetryOn  = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
	defaultAttempts = 2
	hostAttempts    = 5
)

// routeMatch is a conjunction; nil matches everything.
func routeMatch(m *model.HTTPMatch) *routepb.RouteMatch {
	if m == nil {
		return prefixMatch("/")
	}
	r := prefixMatch("/")
	r.CaseSensitive = wrapperspb.Bool(!m.IgnoreURICase)
	if m.URI != nil {
		switch m.URI.Kind {
		case model.Exact:
			r.PathSpecifier = &routepb.RouteMatch_Path{Path: m.URI.Value}
		case model.Prefix:
			r.PathSpecifier = &routepb.RouteMatch_Prefix{Prefix: m.URI.Value}
		case model.Regex:
			r.PathSpecifier = &routepb.RouteMatch_SafeRegex{SafeRegex: regex(m.URI.Value)}
		case model.Segments:
			r.PathSpecifier = &routepb.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: m.URI.Value}
		}
	}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, headerMatch(h.Name, h.StringMatch))
	}
	for _, h := range m.Without {
		match := headerMatch(h.Name, h.StringMatch)
		match.InvertMatch = true
		// A header that is not there does not have the value: the inverted match holds.
		match.TreatMissingHeaderAsEmpty = h.Kind != model.Present
		r.Headers = append(r.Headers, match)
	}
	for _, c := range m.Claims {
		match := claimMetadata(c.Path, stringMatcher(c.StringMatch))
		match.Invert = c.Not
		r.DynamicMetadata = append(r.DynamicMetadata, match)
	}
	for _, pseudo := range []struct {
		name  string
		match *model.StringMatch
	}{{":method", m.Method}, {":authority", m.Authority}, {":scheme", m.Scheme}} {
		if pseudo.match != nil {
			r.Headers = append(r.Headers, headerMatch(pseudo.name, *pseudo.match))
		}
	}
	for _, q := range m.Query {
		match := &routepb.QueryParameterMatcher{Name: q.Name}
		if q.Kind == model.Present {
			match.QueryParameterMatchSpecifier = &routepb.QueryParameterMatcher_PresentMatch{PresentMatch: true}
		} else {
			match.QueryParameterMatchSpecifier = &routepb.QueryParameterMatcher_StringMatch{StringMatch: stringMatcher(q.StringMatch)}
		}
		r.QueryParameters = append(r.QueryParameters, match)
	}
	return r
}

func headerMatch(name string, m model.StringMatch) *routepb.HeaderMatcher {
	if m.Kind == model.Present {
		return &routepb.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routepb.HeaderMatcher_PresentMatch{PresentMatch: true}}
	}
	return &routepb.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routepb.HeaderMatcher_StringMatch{StringMatch: stringMatcher(m)}}
}

func stringMatcher(m model.StringMatch) *matcherpb.StringMatcher {
	switch m.Kind {
	case model.Prefix:
		return &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Prefix{Prefix: m.Value}}
	case model.Regex:
		return &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_SafeRegex{SafeRegex: regex(m.Value)}}
	default:
		return &matcherpb.StringMatcher{MatchPattern: &matcherpb.StringMatcher_Exact{Exact: m.Value}}
	}
}

func regex(pattern string) *matcherpb.RegexMatcher { return &matcherpb.RegexMatcher{Regex: pattern} }

// fraction is a percentage in millionths, the finest that Envoy has.
func fraction(percent float64) *typepb.FractionalPercent {
	return &typepb.FractionalPercent{Numerator: uint32(percent*10000 + 0.5), Denominator: typepb.FractionalPercent_MILLION}
}

// addHeaders adds changes of fields. Host and the pseudo fields have other ways.
func addHeaders(add *[]*corepb.HeaderValueOption, remove *[]string, ops model.HeaderOps) {
	change := func(op model.HeaderOp, action corepb.HeaderValueOption_HeaderAppendAction) {
		if internal(op.Name) {
			return
		}
		*add = append(*add, &corepb.HeaderValueOption{Header: &corepb.HeaderValue{Key: op.Name, Value: op.Value}, AppendAction: action})
	}
	for _, op := range ops.Add {
		change(op, corepb.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
	}
	for _, op := range ops.Set {
		change(op, corepb.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	}
	for _, name := range ops.Remove {
		if !internal(name) {
			*remove = append(*remove, name)
		}
	}
}

func internal(name string) bool {
	return strings.HasPrefix(name, ":") || strings.EqualFold(name, "host")
}

// hostHeader is the host that set operations ask for.
func hostHeader(ops model.HeaderOps) string {
	for _, op := range ops.Set {
		if strings.EqualFold(op.Name, "host") || strings.EqualFold(op.Name, ":authority") {
			return op.Value
		}
	}
	return ""
}

func setFilter(route *routepb.Route, name string, m validated) {
	if route.TypedPerFilterConfig == nil {
		route.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	route.TypedPerFilterConfig[name] = toAny(m)
}

func faultFilter(f *model.Fault) *faultpb.HTTPFault {
	m := &faultpb.HTTPFault{}
	if f.HasDelay && f.Delay > 0 {
		m.Delay = &commonfaultpb.FaultDelay{Percentage: fraction(f.DelayPercent),
			FaultDelaySecifier: &commonfaultpb.FaultDelay_FixedDelay{FixedDelay: durationpb.New(f.Delay)}}
	}
	switch {
	case f.AbortStatus != 0:
		m.Abort = &faultpb.FaultAbort{Percentage: fraction(f.AbortPercent), ErrorType: &faultpb.FaultAbort_HttpStatus{HttpStatus: f.AbortStatus}}
	case f.AbortGRPC != "":
		var code codes.Code
		if err := code.UnmarshalJSON([]byte(strconv.Quote(f.AbortGRPC))); err != nil {
			code = codes.Unknown
		}
		m.Abort = &faultpb.FaultAbort{Percentage: fraction(f.AbortPercent), ErrorType: &faultpb.FaultAbort_GrpcStatus{GrpcStatus: uint32(code)}}
	}
	return m
}

func corsPolicy(c *model.CORS) *corspb.CorsPolicy {
	m := &corspb.CorsPolicy{
		AllowMethods: strings.Join(c.Methods, ","), AllowHeaders: strings.Join(c.Allow, ","), ExposeHeaders: strings.Join(c.Expose, ","),
		ForwardNotMatchingPreflights: wrapperspb.Bool(!c.IgnorePreflights),
		FilterEnabled:                &corepb.RuntimeFractionalPercent{DefaultValue: &typepb.FractionalPercent{Numerator: 100}},
	}
	for _, o := range c.Origins {
		m.AllowOriginStringMatch = append(m.AllowOriginStringMatch, stringMatcher(o))
	}
	if c.MaxAge != nil {
		m.MaxAge = strconv.Itoa(int(*c.MaxAge / time.Second))
	}
	if c.Credentials != nil {
		m.AllowCredentials = wrapperspb.Bool(*c.Credentials)
	}
	return m
}

// retryPolicy is the rule's, else the mesh's, else Istio's. No attempts are no policy.
func (p *proxy) retryPolicy(r *model.Retry, consistentHash bool) *routepb.RetryPolicy {
	if r == nil {
		r = p.mesh.Settings.Retry
	}
	if r == nil {
		r = &model.Retry{Attempts: defaultAttempts, IgnorePreviousHosts: true}
	}
	if r.Attempts <= 0 {
		return nil
	}
	m := &routepb.RetryPolicy{RetryOn: defaultRetryOn, NumRetries: wrapperspb.UInt32(uint32(r.Attempts))}
	if r.On != "" {
		m.RetryOn, m.RetriableStatusCodes = retryOn(r.On)
	}
	if r.PerTry > 0 {
		m.PerTryTimeout = durationpb.New(r.PerTry)
	}
	if r.BackOff > 0 {
		m.RetryBackOff = &routepb.RetryPolicy_RetryBackOff{BaseInterval: durationpb.New(r.BackOff)}
	}
	if r.IgnorePreviousHosts && !consistentHash {
		m.HostSelectionRetryMaxAttempts = hostAttempts
		m.RetryHostPredicate = []*routepb.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routepb.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: toAny(&previoushostspb.PreviousHostsPredicate{})},
		}}
	}
	if r.RemoteLocalities {
		m.RetryPriority = &routepb.RetryPolicy_RetryPriority{
			Name: "envoy.retry_priorities.previous_priorities",
			ConfigType: &routepb.RetryPolicy_RetryPriority_TypedConfig{TypedConfig: toAny(
				&previousprioritiespb.PreviousPrioritiesConfig{UpdateFrequency: 2})},
		}
	}
	return m
}

// retryOn tells words from status codes. Codes ask for retriable-status-codes.
func retryOn(on string) (string, []uint32) {
	var words []string
	var statuses []uint32
	for w := range strings.SplitSeq(on, ",") {
		w = strings.TrimSpace(w)
		if code, err := strconv.ParseUint(w, 10, 16); err == nil && code >= 100 && code < 600 {
			statuses = append(statuses, uint32(code))
		} else if w != "" {
			words = append(words, w)
		}
	}
	if len(statuses) > 0 && !slices.Contains(words, "retriable-status-codes") {
		words = append(words, "retriable-status-codes")
	}
	return strings.Join(words, ","), statuses
}
