package build

//lint:file-ignore SA1019 people still write includeHeadersInCheck

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	meshpb "istio.io/api/mesh/v1alpha1"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// authorizers reads the services that CUSTOM policies ask, of MeshConfig's extension
// providers. A check may take ten minutes unless a provider says less.
func (b *builder) authorizers() map[string]*model.Authorizer {
	list := map[string]*model.Authorizer{}
	for i, p := range b.options.MeshConfig.GetExtensionProviders() {
		var a *model.Authorizer
		at := fmt.Sprintf("meshConfig.extensionProviders[%d]", i)
		switch {
		case p.GetEnvoyExtAuthzHttp() != nil:
			a = b.httpAuthorizer(at+".envoyExtAuthzHttp", p.GetEnvoyExtAuthzHttp())
		case p.GetEnvoyExtAuthzGrpc() != nil:
			a = b.grpcAuthorizer(at+".envoyExtAuthzGrpc", p.GetEnvoyExtAuthzGrpc())
		default:
			continue
		}
		if a.Timeout == 0 {
			a.Timeout = 10 * time.Minute
		}
		list[p.GetName()] = a
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

func (b *builder) httpAuthorizer(at string, p *meshpb.MeshConfig_ExtensionProvider_EnvoyExternalAuthorizationHttpProvider) *model.Authorizer {
	a := &model.Authorizer{
		Timeout: p.GetTimeout().AsDuration(), FailOpen: p.GetFailOpen(), PathPrefix: p.GetPathPrefix(), Body: authorizerBody(p.GetIncludeRequestBodyInCheck()),
		RequestHeaders: slices.Concat(p.GetIncludeRequestHeadersInCheck(), p.GetIncludeHeadersInCheck()), AddHeaders: p.GetIncludeAdditionalHeadersInCheck(),
		UpstreamOnAllow: p.GetHeadersToUpstreamOnAllow(), DownstreamOnDeny: p.GetHeadersToDownstreamOnDeny(), DownstreamOnOK: p.GetHeadersToDownstreamOnAllow(),
	}
	b.authorizerAddress(at, a, p.GetService(), p.GetPort(), p.GetStatusOnError())
	if _, err := url.Parse(a.PathPrefix); err != nil || a.PathPrefix != "" && !strings.HasPrefix(a.PathPrefix, "/") {
		b.found = append(b.found, meshDiagnostic(at+".pathPrefix", fmt.Sprintf(": %q is no path; it begins with /", a.PathPrefix)))
	}
	return a
}

func (b *builder) grpcAuthorizer(at string, p *meshpb.MeshConfig_ExtensionProvider_EnvoyExternalAuthorizationGrpcProvider) *model.Authorizer {
	a := &model.Authorizer{GRPC: true, Timeout: p.GetTimeout().AsDuration(), FailOpen: p.GetFailOpen(), Body: authorizerBody(p.GetIncludeRequestBodyInCheck())}
	b.authorizerAddress(at, a, p.GetService(), p.GetPort(), p.GetStatusOnError())
	return a
}

// authorizerAddress reads "[NAMESPACE/]HOST", the port and the status.
func (b *builder) authorizerAddress(at string, a *model.Authorizer, service string, port uint32, status string) {
	a.Port = port
	if _, host, ok := strings.Cut(service, "/"); ok {
		service = host
	}
	a.Host = service
	wrong := func(field, message string) {
		b.found = append(b.found, meshDiagnostic(at+"."+field, ": "+message))
	}
	if a.Host == "" {
		wrong("service", "the host of the service is missing")
	}
	if port == 0 || port > 65535 {
		wrong("port", fmt.Sprintf("%d is no port", port))
	}
	if status != "" {
		code, err := strconv.Atoi(status)
		if err != nil || code < 100 || code > 599 {
			wrong("statusOnError", fmt.Sprintf("%q is no HTTP status", status))
		}
		a.StatusOnError = code
	}
}

func authorizerBody(p *meshpb.MeshConfig_ExtensionProvider_EnvoyExternalAuthorizationRequestBody) *model.AuthorizerBody {
	if p == nil {
		return nil
	}
	return &model.AuthorizerBody{Max: p.GetMaxRequestBytes(), Partial: p.GetAllowPartialMessage(), Bytes: p.GetPackAsBytes()}
}

// authorizerNames are the names of the providers that CUSTOM policies may have.
func (b *builder) authorizerNames() []string {
	return slices.Sorted(maps.Keys(b.parts.Settings.Authorizers))
}
