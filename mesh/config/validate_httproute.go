package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	"k8s.io/apimachinery/pkg/util/validation"
)

func (c *checker) httpMatch(path string, m *networkingpb.HTTPMatchRequest, atGateways bool) {
	c.stringMatch(join(path, "uri"), m.Uri)
	c.stringMatch(join(path, "scheme"), m.Scheme)
	c.stringMatch(join(path, "method"), m.Method)
	c.stringMatch(join(path, "authority"), m.Authority)
	c.headerMatches(join(path, "headers"), m.Headers, atGateways)
	c.headerMatches(join(path, "withoutHeaders"), m.WithoutHeaders, atGateways)
	for _, name := range slices.Sorted(maps.Keys(m.QueryParams)) {
		if name == "" {
			c.errorf(CodeValue, join(path, "queryParams"), "", "a query parameter needs a name")
		}
		c.stringMatch(join(join(path, "queryParams"), name), m.QueryParams[name])
	}
	if m.IgnoreUriCase && m.Uri.GetRegex() != "" {
		c.warnf(CodeIneffective, join(path, "ignoreUriCase"), `begin the expression with "(?i)"`, "has no effect on a regex")
	}
	if len(m.Gateways) > 0 && (len(m.SourceLabels) > 0 || m.SourceNamespace != "") {
		c.warnf(CodeIneffective, join(path, "gateways"), "", "where a match names gateways, Istio does not look at sourceLabels and sourceNamespace")
	}
	c.matchSource(path, m.Port, m.SourceLabels, m.SourceNamespace, m.Gateways)
}

// matchSource checks the parts of a match that all protocols have.
func (c *checker) matchSource(path string, port uint32, labels map[string]string, namespace string, gateways []string) {
	if port != 0 || c.o.Has(join(path, "port")) {
		c.port(join(path, "port"), port)
	}
	c.selector(join(path, "sourceLabels"), labels)
	if namespace != "" {
		c.named(join(path, "sourceNamespace"), namespace, validation.IsDNS1123Label)
	}
	c.gateways(join(path, "gateways"), gateways)
}

func (c *checker) headerMatches(path string, headers map[string]*networkingpb.StringMatch, atGateways bool) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at := join(path, name)
		switch name {
		case "uri", "scheme", "method", "authority":
			c.warnf(CodeIneffective, at, "use the field "+name+" of the match", "%q is not matched as a header", name)
		}
		c.stringMatch(at, headers[name])
		if !strings.HasPrefix(strings.ToLower(name), claimHeader) {
			c.header(at, name)
			continue
		}
		c.claimMatch(at, name, headers[name], atGateways)
	}
}

func (c *checker) stringMatch(path string, m *networkingpb.StringMatch) {
	switch m.GetMatchType().(type) {
	case *networkingpb.StringMatch_Regex:
		if m.GetRegex() != "*" { // Istio reads it as: the header is present
			c.regex(join(path, "regex"), m.GetRegex())
		}
	case *networkingpb.StringMatch_Prefix:
		if m.GetPrefix() == "" {
			c.errorf(CodeValue, join(path, "prefix"), "", "an empty prefix is not allowed")
		}
	}
}

func (c *checker) headers(path string, h *networkingpb.Headers) {
	c.headerOperations(join(path, "request"), h.GetRequest())
	c.headerOperations(join(path, "response"), h.GetResponse())
}

func (c *checker) headerOperations(path string, o *networkingpb.Headers_HeaderOperations) {
	for _, name := range slices.Sorted(maps.Keys(o.GetSet())) {
		c.header(join(join(path, "set"), name), name)
	}
	for _, name := range slices.Sorted(maps.Keys(o.GetAdd())) {
		c.header(join(join(path, "add"), name), name)
	}
	for i, name := range o.GetRemove() {
		c.header(index(join(path, "remove"), i), name)
	}
}

// retryConditions are Envoy's words for when to retry, for HTTP and for gRPC.
var retryConditions = []string{
	"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx", "refused-stream",
	"retriable-status-codes", "retriable-headers", "http3-post-connect-failure",
	"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
}

func (c *checker) retries(path string, r *networkingpb.HTTPRetry) {
	if r == nil {
		return
	}
	if r.Attempts < 0 {
		c.errorf(CodeValue, join(path, "attempts"), "", "%d is negative", r.Attempts)
	}
	if r.Attempts == 0 && (r.PerTryTimeout != nil || r.RetryOn != "" || r.RetryRemoteLocalities != nil) {
		c.errorf(CodeExclusive, path, "set attempts, or leave out the other fields", "attempts is 0, which turns retries off, but other fields say how to retry")
	}
	c.atLeastMillisecond(join(path, "perTryTimeout"), "leave it out for the route's timeout", r.PerTryTimeout)
	c.atLeastMillisecond(join(path, "backoff"), "", r.Backoff)
	if r.RetryOn == "" {
		return
	}
	for word := range strings.SplitSeq(r.RetryOn, ",") {
		word = strings.TrimSpace(word)
		if status, err := strconv.Atoi(word); err == nil && status >= 100 && status <= 599 {
			continue
		}
		if !slices.Contains(retryConditions, word) {
			c.errorf(CodeEnum, join(path, "retryOn"), enumHint(word, retryConditions), "%q is neither one of Envoy's retry conditions nor an HTTP status", clip(word))
		}
	}
}

// grpcCodes are the names of gRPC's status codes.
var grpcCodes = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

func (c *checker) fault(path string, f *networkingpb.HTTPFaultInjection) {
	if f == nil {
		return
	}
	if f.Delay == nil && f.Abort == nil {
		c.errorf(CodeMissing, path, "", "one of delay and abort is required")
	}
	if d := f.Delay; d != nil {
		at := join(path, "delay")
		c.percentage(join(at, "percentage"), d.GetPercentage().GetValue())
		switch {
		case d.GetExponentialDelay() != nil:
			c.warnf(CodeIneffective, join(at, "exponentialDelay"), "use fixedDelay", "Istio does not implement exponentialDelay")
		case d.GetFixedDelay() == nil:
			c.errorf(CodeMissing, at, "", "fixedDelay is required")
		}
		c.atLeastMillisecond(join(at, "fixedDelay"), "", d.GetFixedDelay())
		if d.Percentage == nil {
			c.warnf(CodeIneffective, at, "add percentage: {value: 100}", "without a percentage no request is delayed")
		}
	}
	if f.Abort != nil {
		c.abort(join(path, "abort"), f.Abort)
	}
}

func (c *checker) abort(path string, a *networkingpb.HTTPFaultInjection_Abort) {
	c.percentage(join(path, "percentage"), a.GetPercentage().GetValue())
	switch kind := a.ErrorType.(type) {
	case nil:
		c.errorf(CodeMissing, path, "", "one of httpStatus and grpcStatus is required")
	case *networkingpb.HTTPFaultInjection_Abort_HttpStatus:
		c.between(join(path, "httpStatus"), float64(kind.HttpStatus), 200, 599)
	case *networkingpb.HTTPFaultInjection_Abort_GrpcStatus:
		if !slices.Contains(grpcCodes, kind.GrpcStatus) {
			c.errorf(CodeEnum, join(path, "grpcStatus"), enumHint(kind.GrpcStatus, grpcCodes), "%q is not a gRPC status", clip(kind.GrpcStatus))
		}
	case *networkingpb.HTTPFaultInjection_Abort_Http2Error:
		c.errorf(CodeValue, join(path, "http2Error"), "use httpStatus or grpcStatus", "Istio does not implement http2Error")
	}
	if a.Percentage == nil {
		c.warnf(CodeIneffective, path, "add percentage: {value: 100}", "without a percentage no request is aborted")
	}
}

func (c *checker) mirrors(path string, r *networkingpb.HTTPRoute) {
	if r.Mirror != nil && len(r.Mirrors) > 0 {
		c.errorf(CodeExclusive, join(path, "mirrors"), "", "mirror and mirrors exclude each other")
	}
	if r.Mirror != nil {
		c.destination(join(path, "mirror"), r.Mirror)
	} else if r.MirrorPercentage != nil {
		c.warnf(CodeIneffective, join(path, "mirrorPercentage"), "", "there is no mirror")
	}
	c.percentage(join(path, "mirrorPercentage"), r.GetMirrorPercentage().GetValue())
	for i, m := range r.Mirrors {
		at := index(join(path, "mirrors"), i)
		c.destination(join(at, "destination"), m.Destination)
		c.percentage(join(at, "percentage"), m.GetPercentage().GetValue())
	}
}

func (c *checker) cors(path string, p *networkingpb.CorsPolicy) {
	if p == nil {
		return
	}
	for i, o := range p.AllowOrigins {
		c.stringMatch(index(join(path, "allowOrigins"), i), o)
	}
	for i, h := range p.AllowHeaders {
		c.header(index(join(path, "allowHeaders"), i), h)
	}
	for i, h := range p.ExposeHeaders {
		c.header(index(join(path, "exposeHeaders"), i), h)
	}
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"}
	for i, m := range p.AllowMethods {
		if !slices.Contains(methods, m) {
			c.errorf(CodeEnum, index(join(path, "allowMethods"), i), enumHint(m, methods), "%q is not an HTTP method", clip(m))
		}
	}
	c.atLeastMillisecond(join(path, "maxAge"), "", p.MaxAge)
}

func (c *checker) redirect(path string, r *networkingpb.HTTPRedirect) {
	if r == nil {
		return
	}
	if r.Uri == "" && r.Authority == "" && r.Scheme == "" && r.PrefixRewrite == "" && r.RedirectPort == nil {
		c.errorf(CodeMissing, path, "", "a redirect needs one of uri, prefixRewrite, authority, scheme and port")
	}
	if r.Uri != "" && r.PrefixRewrite != "" {
		c.errorf(CodeExclusive, join(path, "prefixRewrite"), "", "uri and prefixRewrite exclude each other")
	}
	if p, ok := r.RedirectPort.(*networkingpb.HTTPRedirect_Port); ok {
		c.port(join(path, "port"), p.Port)
	}
	if r.Scheme != "" && r.Scheme != "http" && r.Scheme != "https" {
		c.errorf(CodeEnum, join(path, "scheme"), "", "%q is not allowed; expected http or https", clip(r.Scheme))
	}
	switch r.RedirectCode {
	case 0, 301, 302, 303, 307, 308:
	default:
		c.errorf(CodeValue, join(path, "redirectCode"), "", "%d is not allowed; expected 301, 302, 303, 307 or 308", r.RedirectCode)
	}
}

// maxDirectBody is how long an answer from the configuration may be (1 MiB).
const maxDirectBody = 1 << 20

func (c *checker) directResponse(path string, r *networkingpb.HTTPDirectResponse) {
	if r == nil {
		return
	}
	c.between(join(path, "status"), float64(r.Status), 200, 599)
	if n := max(len(r.GetBody().GetString_()), len(r.GetBody().GetBytes())); n > maxDirectBody {
		c.errorf(CodeValue, join(path, "body"), "", "%d bytes; at most %d are allowed", n, maxDirectBody)
	}
}

func (c *checker) rewrite(path string, r *networkingpb.HTTPRewrite) {
	if r == nil {
		return
	}
	if r.Uri == "" && r.Authority == "" && r.UriRegexRewrite == nil {
		c.errorf(CodeMissing, path, "", "a rewrite needs one of uri, uriRegexRewrite and authority")
	}
	if r.UriRegexRewrite == nil {
		return
	}
	at := join(path, "uriRegexRewrite")
	if r.Uri != "" {
		c.errorf(CodeExclusive, at, "", "uri and uriRegexRewrite exclude each other")
	}
	if r.UriRegexRewrite.Match == "" || r.UriRegexRewrite.Rewrite == "" {
		c.errorf(CodeMissing, at, "", "match and rewrite are required")
	}
	c.regex(join(at, "match"), r.UriRegexRewrite.Match)
}
