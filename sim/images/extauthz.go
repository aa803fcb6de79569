package images

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authpb "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// What Istio's sample for external authorization looks at, and says.
const (
	authzHeader   = "x-ext-authz"
	authzAllow    = "allow"
	authzAccount  = "a"
	authzResult   = "x-ext-authz-check-result"
	authzReceived = "x-ext-authz-check-received"
	authzOverride = "x-ext-authz-additional-header-override"
	authzDenied   = "denied by ext_authz for not found header `x-ext-authz: allow` in the request"
)

// externalAuthorizer is Istio's ext-authz sample: HTTP at 8000, gRPC at 9000. It allows
// requests with the header x-ext-authz: allow and, over gRPC, the service account a.
func externalAuthorizer(string) Image {
	return Image{Ports: []int{8000, 9000},
		Handler: func(Container) (http.Handler, error) { return http.HandlerFunc(authorizeHTTP), nil },
		Servers: map[int]func(Container) (Server, error){9000: func(Container) (Server, error) {
			s := grpc.NewServer()
			authpb.RegisterAuthorizationServer(s, authorizer{})
			return calledServer{s}, nil
		}}}
}

func authorizeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(authzReceived, fmt.Sprintf("%s %s%s, headers: %v, body: []", r.Method, r.Host, r.URL, len(r.Header)))
	w.Header().Set(authzOverride, r.Header.Get(authzOverride))
	if r.Header.Get(authzHeader) == authzAllow {
		w.Header().Set(authzResult, "allowed")
		w.WriteHeader(http.StatusOK)
		return
	}
	w.Header().Set(authzResult, "denied")
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprint(w, authzDenied)
}

type authorizer struct {
	authpb.UnimplementedAuthorizationServer
}

// Check implements the service.
func (authorizer) Check(_ context.Context, q *authpb.CheckRequest) (*authpb.CheckResponse, error) {
	a := q.GetAttributes()
	r := a.GetRequest().GetHttp()
	headers := func(result string) []*corepb.HeaderValueOption {
		option := func(k, v string) *corepb.HeaderValueOption {
			return &corepb.HeaderValueOption{Header: &corepb.HeaderValue{Key: k, Value: v}}
		}
		return []*corepb.HeaderValueOption{option(authzResult, result), option(authzReceived, r.GetMethod()+" "+r.GetHost()+r.GetPath()),
			option(authzOverride, "grpc-additional-header-override-value")}
	}
	if r.GetHeaders()[authzHeader] == authzAllow || strings.HasSuffix(a.GetSource().GetPrincipal(), "/sa/"+authzAccount) {
		return &authpb.CheckResponse{Status: &status.Status{Code: int32(codes.OK)},
			HttpResponse: &authpb.CheckResponse_OkResponse{OkResponse: &authpb.OkHttpResponse{Headers: headers("allowed")}}}, nil
	}
	return &authpb.CheckResponse{Status: &status.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse: &authpb.CheckResponse_DeniedResponse{DeniedResponse: &authpb.DeniedHttpResponse{
			Status: &typepb.HttpStatus{Code: typepb.StatusCode_Forbidden}, Body: authzDenied, Headers: headers("denied")}}}, nil
}
