package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// apiRoute is what HTTPRoutes and GRPCRoutes have in common.
type apiRoute struct {
	namespace string
	parents   []gatewayv1.ParentReference
	hosts     []gatewayv1.Hostname
	variants  []variant
}

// apiRouteOf reads a route of the Gateway API; nil: the object is none.
func apiRouteOf(o *config.Object) *apiRoute {
	switch v := o.Value.(type) {
	case *gatewayv1.HTTPRoute:
		r := &apiRoute{o.Namespace, v.Spec.ParentRefs, v.Spec.Hostnames, nil}
		for _, rule := range v.Spec.Rules {
			for _, m := range rule.Matches {
				r.variants = append(r.variants, httpVariants(m)...)
			}
		}
		return r
	case *gatewayv1.GRPCRoute:
		r := &apiRoute{o.Namespace, v.Spec.ParentRefs, v.Spec.Hostnames, nil}
		for _, rule := range v.Spec.Rules {
			for _, m := range rule.Matches {
				r.variants = append(r.variants, grpcVariants(m)...)
			}
		}
		return r
	}
	return nil
}

func exact(value string) *networkingpb.StringMatch {
	return &networkingpb.StringMatch{MatchType: &networkingpb.StringMatch_Exact{Exact: value}}
}

func expression(value string) *networkingpb.StringMatch {
	return &networkingpb.StringMatch{MatchType: &networkingpb.StringMatch_Regex{Regex: value}}
}

func stringMatch(regular bool, value string) *networkingpb.StringMatch {
	if regular {
		return expression(value)
	}
	return exact(value)
}

// httpVariants are those of the match in Istio's words; a prefix is one of whole
// segments, so a request below it is asked, too.
func httpVariants(m gatewayv1.HTTPRouteMatch) []variant {
	match := &networkingpb.HTTPMatchRequest{Headers: map[string]*networkingpb.StringMatch{}, QueryParams: map[string]*networkingpb.StringMatch{}}
	below := ""
	if p := m.Path; p != nil {
		kind, value := gatewayv1.PathMatchPathPrefix, "/"
		if p.Type != nil {
			kind = *p.Type
		}
		if p.Value != nil {
			value = *p.Value
		}
		switch kind {
		case gatewayv1.PathMatchExact:
			match.Uri = exact(value)
		case gatewayv1.PathMatchRegularExpression:
			match.Uri = expression(value)
		default:
			match.Uri = &networkingpb.StringMatch{MatchType: &networkingpb.StringMatch_Prefix{Prefix: value}}
			below = strings.TrimSuffix(value, "/") + "/x"
		}
	}
	for _, h := range m.Headers {
		match.Headers[strings.ToLower(string(h.Name))] = stringMatch(h.Type != nil && *h.Type == gatewayv1.HeaderMatchRegularExpression, h.Value)
	}
	for _, q := range m.QueryParams {
		match.QueryParams[string(q.Name)] = stringMatch(q.Type != nil && *q.Type == gatewayv1.QueryParamMatchRegularExpression, q.Value)
	}
	if m.Method != nil {
		match.Method = exact(string(*m.Method))
	}
	list := matchVariants(match)
	if below != "" {
		v := list[0] // the one that matches
		_, query, asks := strings.Cut(v.path, "?")
		if v.path = below; asks {
			v.path += "?" + query
		}
		list = append(list, v)
	}
	return list
}

// grpcVariants are POSTs of gRPC messages to methods, which are paths.
func grpcVariants(m gatewayv1.GRPCRouteMatch) []variant {
	match := &networkingpb.HTTPMatchRequest{Headers: map[string]*networkingpb.StringMatch{}}
	if g := m.Method; g != nil {
		service, method := "", ""
		if g.Service != nil {
			service = *g.Service
		}
		if g.Method != nil {
			method = *g.Method
		}
		if regular := g.Type != nil && *g.Type == gatewayv1.GRPCMethodMatchRegularExpression; regular {
			match.Uri = expression("/" + cmp.Or(service, "[^/]+") + "/" + cmp.Or(method, "[^/]+"))
		} else {
			match.Uri = exact("/" + cmp.Or(service, "any.Service") + "/" + cmp.Or(method, "Any"))
		}
	}
	for _, h := range m.Headers {
		match.Headers[strings.ToLower(string(h.Name))] = stringMatch(h.Type != nil && *h.Type == gatewayv1.GRPCHeaderMatchRegularExpression, h.Value)
	}
	list := matchVariants(match)
	for i := range list {
		headers := map[string]string{"content-type": "application/grpc"}
		for k, v := range list[i].headers {
			headers[k] = v
		}
		list[i].method, list[i].headers = "POST", headers
	}
	return list
}

// apiRoutes asks for what a route of the Gateway API is the way to: through its Gateways,
// and, where a Service or ServiceEntry is its parent, from workloads.
func (d *derivation) apiRoutes(r *apiRoute, objects []*config.Object) {
	list := append(r.variants, d.extras...)
	for _, p := range r.parents {
		namespace := r.namespace
		if p.Namespace != nil {
			namespace = string(*p.Namespace)
		}
		kind := "Gateway"
		if p.Kind != nil {
			kind = string(*p.Kind)
		}
		switch kind {
		case "Gateway":
			for _, base := range apiEntrances(r, p, namespace, objects) {
				for _, v := range list {
					d.add(true, base, v)
				}
			}
		case "Service", "ServiceEntry":
			hosts := []string{string(p.Name) + "." + namespace}
			if kind == "ServiceEntry" {
				hosts = entryHosts(namespace, string(p.Name), objects)
			}
			for _, t := range d.bases {
				if slices.Contains(hosts, t.host) && (p.Port == nil || uint32(*p.Port) == t.port) {
					for _, v := range list {
						d.add(false, t.url(), v)
					}
				}
			}
		}
	}
}

func entryHosts(namespace, name string, objects []*config.Object) []string {
	for _, o := range objects {
		if e, ok := o.Value.(*networkingv1.ServiceEntry); ok && o.Namespace == namespace && o.Name == name {
			return e.Spec.GetHosts()
		}
	}
	return nil
}

// apiEntrances are the URLs by which a route's hosts are called at one of its Gateways.
func apiEntrances(r *apiRoute, p gatewayv1.ParentReference, namespace string, objects []*config.Object) []string {
	var list []string
	for _, o := range objects {
		g, ok := o.Value.(*gatewayv1.Gateway)
		if !ok || o.Namespace != namespace || o.Name != string(p.Name) {
			continue
		}
		for _, l := range g.Spec.Listeners {
			if p.SectionName != nil && *p.SectionName != l.Name || p.Port != nil && *p.Port != l.Port {
				continue
			}
			scheme, usual := "http", gatewayv1.PortNumber(80)
			switch l.Protocol {
			case gatewayv1.HTTPProtocolType:
			case gatewayv1.HTTPSProtocolType:
				scheme, usual = "https", 443
			default:
				continue
			}
			port := ""
			if l.Port != usual {
				port = fmt.Sprintf(":%d", l.Port)
			}
			hosts := r.hosts
			if len(hosts) == 0 {
				hosts = []gatewayv1.Hostname{"*"}
				if l.Hostname != nil && *l.Hostname != "" {
					hosts = []gatewayv1.Hostname{*l.Hostname}
				}
			}
			for _, h := range hosts {
				host := strings.Replace(string(h), "*.", "any.", 1)
				if host == "*" {
					host = "any.example"
				}
				list = append(list, scheme+"://"+host+port)
			}
		}
	}
	return list
}
