package build

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1alpha3 "istio.io/client-go/pkg/apis/networking/v1alpha3"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// inserts are the operations on members of a list whose order matters.
const inserts = "ADD REMOVE INSERT_FIRST INSERT_BEFORE INSERT_AFTER"

// patchOperations are the operations that each target has.
var patchOperations = map[networkingpb.EnvoyFilter_ApplyTo]string{
	networkingpb.EnvoyFilter_CLUSTER:             "MERGE ADD REMOVE",
	networkingpb.EnvoyFilter_LISTENER:            "MERGE ADD REMOVE",
	networkingpb.EnvoyFilter_LISTENER_FILTER:     "REPLACE " + inserts,
	networkingpb.EnvoyFilter_FILTER_CHAIN:        "MERGE ADD REMOVE",
	networkingpb.EnvoyFilter_NETWORK_FILTER:      "MERGE REPLACE " + inserts,
	networkingpb.EnvoyFilter_HTTP_FILTER:         "MERGE REPLACE " + inserts,
	networkingpb.EnvoyFilter_ROUTE_CONFIGURATION: "MERGE",
	networkingpb.EnvoyFilter_VIRTUAL_HOST:        "MERGE ADD REMOVE REPLACE",
	networkingpb.EnvoyFilter_HTTP_ROUTE:          "MERGE " + inserts,
}

// envoyFilters reads patches. What is in their values only those know who know
// Envoy's messages: package patch.
func (b *builder) envoyFilters() {
	for _, o := range oldestFirst(b.view.Of("EnvoyFilter")) {
		v, ok := o.Value.(*networkingv1alpha3.EnvoyFilter)
		if !ok {
			continue
		}
		f := &model.EnvoyFilter{Name: o.Name, Namespace: o.Namespace, Created: o.Created, Source: sourceAt(o, ""),
			Selector: selectorOf(v.Spec.GetWorkloadSelector().GetLabels()), Priority: v.Spec.GetPriority()}
		for i, p := range v.Spec.GetConfigPatches() {
			if m := b.envoyPatch(o, fmt.Sprintf("spec.configPatches[%d]", i), p); m != nil {
				f.Patches = append(f.Patches, m)
			}
		}
		b.parts.EnvoyFilters = append(b.parts.EnvoyFilters, f)
		where := o.Namespace
		if where == b.options.RootNamespace {
			where = ""
		}
		if f.Selector != nil && len(b.parts.Workloads) > 0 && !b.anyWorkload(where, f.Selector) {
			b.noWorkload(o, "spec.workloadSelector", where, f.Selector)
		}
	}
}

// envoyPatch reads one patch; nil where it is reported.
func (b *builder) envoyPatch(o *config.Object, path string, p *networkingpb.EnvoyFilter_EnvoyConfigObjectPatch) *model.EnvoyPatch {
	refuse := func(field, format string, args ...any) *model.EnvoyPatch {
		b.report(o, config.Error, CodeUnsupported, path+field, fmt.Sprintf(format, args...), "")
		return nil
	}
	operations, known := patchOperations[p.GetApplyTo()]
	operation := p.GetPatch().GetOperation().String()
	match := p.GetMatch()
	switch {
	case !known:
		return refuse(".applyTo", "applyTo %s is not supported yet", p.GetApplyTo())
	case !slices.Contains(strings.Fields(operations), operation):
		code := map[string]string{"REPLACE": CodeBadReplace, "ADD": CodeBadAdd, "REMOVE": CodeBadRemove}[operation]
		if code != "" {
			b.report(o, config.Error, code, path+".patch.operation",
				fmt.Sprintf("%s of a %s has no effect", operation, p.GetApplyTo()), "use one of "+strings.ReplaceAll(operations, " ", ", "))
			return nil
		}
		return refuse(".patch.operation", "%s of a %s is not supported: one of %s is", operation, p.GetApplyTo(), strings.ReplaceAll(operations, " ", ", "))
	case match.GetContext() > networkingpb.EnvoyFilter_GATEWAY:
		return refuse(".match.context", "context %s is not supported yet", match.GetContext())
	case p.GetPatch().GetValue() == nil && operation != "REMOVE":
		return refuse(".patch", "%s needs a value", operation)
	}
	m := &model.EnvoyPatch{Target: p.GetApplyTo().String(), Context: match.GetContext().String(), Version: match.GetProxy().GetProxyVersion(),
		Operation: operation, Path: path}
	if _, err := regexp.Compile(m.Version); err != nil {
		return refuse(".match.proxy.proxyVersion", "%v", err)
	}
	if problem := matchOf(m, p); problem != "" {
		return refuse(".match", "%s", problem)
	}
	if problem := nameless(m); problem != "" {
		return refuse(".match", "%s", problem)
	}
	if value := p.GetPatch().GetValue(); value != nil && operation != "REMOVE" {
		text, err := json.Marshal(value.AsMap())
		if err != nil {
			return refuse(".patch.value", "%v", err)
		}
		m.Value = text
	}
	return m
}

// nameless tells what has to be named for a patch to change one that is there.
func nameless(m *model.EnvoyPatch) (problem string) {
	l := m.Listener
	if m.Operation != "MERGE" && m.Operation != "REMOVE" && m.Operation != "REPLACE" {
		return ""
	}
	switch {
	case m.Target == "LISTENER_FILTER" && (l == nil || l.ListenerFilter == ""):
		return m.Operation + " needs the name of the listener filter"
	case m.Target == "NETWORK_FILTER" && (l == nil || l.Chain == nil || l.Chain.Filter == ""):
		return m.Operation + " needs the name of the filter"
	case m.Target == "HTTP_FILTER" && (l == nil || l.Chain == nil || l.Chain.HTTPFilter == ""):
		return m.Operation + " needs the name of the HTTP filter, the subFilter"
	default:
		return ""
	}
}

// matchOf reads what a patch is for, or tells why that cannot be.
func matchOf(m *model.EnvoyPatch, p *networkingpb.EnvoyFilter_EnvoyConfigObjectPatch) (problem string) {
	want := ""
	switch match := p.GetMatch().GetObjectTypes().(type) {
	case *networkingpb.EnvoyFilter_EnvoyConfigObjectMatch_Cluster:
		c := match.Cluster
		want, m.Cluster = "CLUSTER", &model.ClusterMatch{Name: c.GetName(), Service: c.GetService(), Subset: c.GetSubset(), Port: c.GetPortNumber()}
	case *networkingpb.EnvoyFilter_EnvoyConfigObjectMatch_Listener:
		want, m.Listener = "LISTENER LISTENER_FILTER FILTER_CHAIN NETWORK_FILTER HTTP_FILTER", listenerMatch(match.Listener)
	case *networkingpb.EnvoyFilter_EnvoyConfigObjectMatch_RouteConfiguration:
		want, m.Route = "ROUTE_CONFIGURATION VIRTUAL_HOST HTTP_ROUTE", routeTableMatch(match.RouteConfiguration)
	default:
		want = m.Target
	}
	if !slices.Contains(strings.Fields(want), m.Target) {
		return fmt.Sprintf("a %s cannot be found by this match", m.Target)
	}
	return ""
}

func listenerMatch(l *networkingpb.EnvoyFilter_ListenerMatch) *model.ListenerMatch {
	m := &model.ListenerMatch{Name: l.GetName(), Port: l.GetPortNumber(), ListenerFilter: l.GetListenerFilter()}
	if c := l.GetFilterChain(); c != nil {
		m.Chain = &model.ChainMatch{Name: c.GetName(), SNI: c.GetSni(), Transport: c.GetTransportProtocol(), Port: c.GetDestinationPort(),
			Filter: c.GetFilter().GetName(), HTTPFilter: c.GetFilter().GetSubFilter().GetName()}
		for p := range strings.SplitSeq(c.GetApplicationProtocols(), ",") {
			if p = strings.TrimSpace(p); p != "" {
				m.Chain.Protocols = append(m.Chain.Protocols, p)
			}
		}
	}
	return m
}

func routeTableMatch(r *networkingpb.EnvoyFilter_RouteConfigurationMatch) *model.RouteTableMatch {
	m := &model.RouteTableMatch{Name: r.GetName(), Port: r.GetPortNumber(), PortName: r.GetPortName(), Gateway: r.GetGateway()}
	if h := r.GetVhost(); h != nil {
		m.HasHost, m.Host, m.Domain = true, h.GetName(), h.GetDomainName()
		if route := h.GetRoute(); route != nil {
			m.HasRoute, m.Route, m.Action = true, route.GetName(), route.GetAction().String()
		}
	}
	return m
}
