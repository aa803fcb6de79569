package filter_test

//lint:file-ignore SA1019 services still answer with append

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authpb "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/filter"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// authorize runs an exchange through the filter; upstream answers 200 with the body
// that it got.
func authorize(config *snapshot.ExtAuthz, s *service, x *filter.Exchange) (p *message.Response, r *reply.Reply, counts string) {
	f := filter.ExtAuthz(config, s, func(what string) { counts += what + " " })
	p, err := f(func(_ context.Context, x *filter.Exchange) (*message.Response, error) {
		return &message.Response{Status: 200, Body: x.Request.Body}, nil
	})(context.Background(), x)
	errors.As(err, &r)
	return p, r, strings.TrimSpace(counts)
}

func prefixMatch(p string) []snapshot.StringMatch { return []snapshot.StringMatch{{Prefix: &p}} }

func TestExternalAuthorizationOverHTTP(t *testing.T) {
	answer := func(status int, body string) *message.Response {
		return &message.Response{Status: status, Body: message.NewBytes([]byte(body), nil),
			Header: message.Header{{Name: "x-check", Value: "v"}, {Name: "location", Value: "/login"}, {Name: "x-other", Value: "o"}, {Name: "content-length", Value: "3"}}}
	}
	config := func() *snapshot.ExtAuthz {
		return &snapshot.ExtAuthz{StatusOnError: 403, Headers: prefixMatch("x-team"), HTTP: &snapshot.ExtAuthzHTTP{Cluster: "authz", PathPrefix: "/check",
			Add: []snapshot.DescriptorEntry{{Key: "X-Mesh", Value: "m"}}, Upstream: prefixMatch("x-check"), ClientOK: prefixMatch("x-other"), Client: prefixMatch("x-check")}}
	}
	s := &service{answer: answer(200, "")}
	x := exchange()
	x.Request.Header.Add("cookie", "secret")
	p, r, counts := authorize(config(), s, x)
	if r != nil || counts != "ok" || x.Request.Header.Get("x-check") != "v" || x.Request.Header.Has("x-other") || p.Header.Get("x-other") != "o" {
		t.Errorf("allowed: %v, %s, request %v, response %v", r, counts, x.Request.Header, p)
	}
	if q := s.request; q.Method != "GET" || q.Path != "/check/a?b=c" || q.Authority != "shop" || q.Header.Get("x-team") != "red" || q.Header.Get("x-mesh") != "m" || q.Header.Has("cookie") {
		t.Errorf("asked %+v", q)
	}
	s.answer = answer(302, "go away")
	if _, r, counts = authorize(config(), s, exchange()); r == nil || r.Status != 302 || r.Body != "go away" || r.Flag != message.UnauthorizedExternalService ||
		r.Header.Get("x-check") != "v" || r.Header.Get("location") != "/login" || r.Header.Has("x-other") || r.Header.Has("content-length") || counts != "denied" {
		t.Errorf("denied: %+v, %s", r, counts)
	}
	s.answer = answer(503, "")
	if _, r, counts = authorize(config(), s, exchange()); r == nil || r.Status != 403 || r.Details != "ext_authz_error" || counts != "error" {
		t.Errorf("5xx: %+v, %s", r, counts)
	}
	open := config()
	open.FailOpen = true
	if _, r, counts = authorize(open, &service{err: errors.New("refused")}, exchange()); r != nil || counts != "error failure_mode_allowed" {
		t.Errorf("fail open: %+v, %s", r, counts)
	}
	some := config()
	some.Enabled = &snapshot.MetadataMatch{Filter: "jwt", Path: []string{"payload", "sub"}, Value: snapshot.ValueMatch{String: &prefixMatch("mary")[0]}}
	if _, r, counts = authorize(some, s, exchange()); r != nil || counts != "disabled" {
		t.Errorf("not to be asked about: %+v, %s", r, counts)
	}
}

func TestExternalAuthorizationSeesBodies(t *testing.T) {
	for name, c := range map[string]struct {
		body    snapshot.ExtAuthzBody
		status  int
		seen    string
		partial string
	}{
		"whole":    {snapshot.ExtAuthzBody{Max: 10}, 0, "0123456789", "false"},
		"too long": {snapshot.ExtAuthzBody{Max: 9}, 413, "", ""},
		"partial":  {snapshot.ExtAuthzBody{Max: 4, Partial: true}, 0, "0123", "true"},
	} {
		s := &service{answer: &message.Response{Status: 200}}
		x := exchange()
		x.Request.Body, x.Request.ContentLength = message.NewBytes([]byte("0123456789"), nil), 10
		p, r, _ := authorize(&snapshot.ExtAuthz{StatusOnError: 403, Body: &c.body, HTTP: &snapshot.ExtAuthzHTTP{Cluster: "authz"}}, s, x)
		if c.status != 0 {
			if r == nil || r.Status != c.status {
				t.Errorf("%s: %+v", name, r)
			}
			continue
		}
		if r != nil || string(s.body) != c.seen || s.request.Header.Get("x-envoy-auth-partial-body") != c.partial {
			t.Errorf("%s: %+v, the service saw %q", name, r, s.body)
		}
		if got, err := io.ReadAll(p.Body); err != nil || string(got) != "0123456789" {
			t.Errorf("%s: the upstream got %q, %v", name, got, err)
		}
	}
}

func TestExternalAuthorizationOverGRPC(t *testing.T) {
	option := func(k, v string, add *wrapperspb.BoolValue) *corepb.HeaderValueOption {
		return &corepb.HeaderValueOption{Header: &corepb.HeaderValue{Key: k, Value: v}, Append: add}
	}
	grpc := func(m *authpb.CheckResponse) *message.Response {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return framed(string(b))
	}
	config := &snapshot.ExtAuthz{StatusOnError: 403, GRPC: &snapshot.GRPCService{Cluster: "authz", Authority: "a"}}
	s := &service{answer: grpc(&authpb.CheckResponse{Status: &status.Status{}, HttpResponse: &authpb.CheckResponse_OkResponse{OkResponse: &authpb.OkHttpResponse{
		Headers:         []*corepb.HeaderValueOption{option("X-Team", "blue", nil), option("x-more", "1", wrapperspb.Bool(true))},
		HeadersToRemove: []string{"x-gone"}, ResponseHeadersToAdd: []*corepb.HeaderValueOption{option("x-seen", "yes", nil)}}}})}
	x := exchange()
	x.Request.Header.Add("x-gone", "1")
	p, r, _ := authorize(config, s, x)
	if h := x.Request.Header; r != nil || h.Get("x-team") != "blue" || h.Get("x-more") != "1" || h.Has("x-gone") || p.Header.Get("x-seen") != "yes" {
		t.Errorf("allowed: %+v, request %v", r, h)
	}
	q := &authpb.CheckRequest{}
	if err := proto.Unmarshal(s.body[5:], q); err != nil {
		t.Fatal(err)
	}
	a := q.GetAttributes()
	http := a.GetRequest().GetHttp()
	if a.GetSource().GetPrincipal() != "spiffe://cluster.local/ns/a/sa/b" || a.GetDestination().GetAddress().GetSocketAddress().GetPortValue() != 80 ||
		http.GetMethod() != "GET" || http.GetPath() != "/a?b=c" || http.GetHost() != "shop" || http.GetHeaders()["x-team"] != "red" || http.GetHeaders()[":path"] != "/a?b=c" {
		t.Errorf("asked %v", q)
	}
	s.answer = grpc(&authpb.CheckResponse{Status: &status.Status{Code: 7}, HttpResponse: &authpb.CheckResponse_DeniedResponse{DeniedResponse: &authpb.DeniedHttpResponse{
		Status: &typepb.HttpStatus{Code: 401}, Body: "who", Headers: []*corepb.HeaderValueOption{option("www-authenticate", "x", nil)}}}})
	if _, r, _ = authorize(config, s, exchange()); r == nil || r.Status != 401 || r.Body != "who" || r.Header.Get("www-authenticate") != "x" {
		t.Errorf("denied: %+v", r)
	}
	s.answer = grpc(&authpb.CheckResponse{Status: &status.Status{Code: 7}})
	if _, r, _ = authorize(config, s, exchange()); r == nil || r.Status != 403 {
		t.Errorf("denied without more: %+v", r)
	}
}
