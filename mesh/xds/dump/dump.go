// Package dump reads what a proxy has, as its admin port tells in Envoy's form
// (/config_dump), and prints it for people.
//
// In: the JSON of an admin port. Out: tables, or one part as JSON. It must not import
// the model or the data plane: the proxy may be anybody's.
package dump

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	adminpb "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"

	// The extensions that bodies contain, so that they can be read and written.
	_ "github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
)

// Parts are the parts of a dump that can be asked for.
var Parts = []string{"clusters", "listeners", "routes", "endpoints", "secrets", "bootstrap"}

// Dump is what a proxy has.
type Dump struct {
	bootstrap *adminpb.BootstrapConfigDump
	clusters  []*clusterpb.Cluster
	listeners []*listenerpb.Listener
	routes    []*routepb.RouteConfiguration
	endpoints []*endpointpb.ClusterLoadAssignment
	secrets   []*tlspb.Secret
}

// Read reads a config_dump.
func Read(text []byte) (*Dump, error) {
	var all adminpb.ConfigDump
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("config_dump: %w", err)
	}
	d := &Dump{}
	for _, c := range all.GetConfigs() {
		m, err := c.UnmarshalNew()
		if err != nil {
			return nil, fmt.Errorf("config_dump: %w", err)
		}
		if err := d.add(m); err != nil {
			return nil, fmt.Errorf("config_dump: %w", err)
		}
	}
	return d, nil
}

func (d *Dump) add(m proto.Message) error {
	var err error
	switch m := m.(type) {
	case *adminpb.BootstrapConfigDump:
		d.bootstrap = m
	case *adminpb.ClustersConfigDump:
		for _, c := range m.GetStaticClusters() {
			err = into(&d.clusters, new(clusterpb.Cluster), c.GetCluster(), err)
		}
		for _, c := range m.GetDynamicActiveClusters() {
			err = into(&d.clusters, new(clusterpb.Cluster), c.GetCluster(), err)
		}
	case *adminpb.ListenersConfigDump:
		for _, l := range m.GetStaticListeners() {
			err = into(&d.listeners, new(listenerpb.Listener), l.GetListener(), err)
		}
		for _, l := range m.GetDynamicListeners() {
			err = into(&d.listeners, new(listenerpb.Listener), l.GetActiveState().GetListener(), err)
		}
	case *adminpb.RoutesConfigDump:
		for _, r := range m.GetStaticRouteConfigs() {
			err = into(&d.routes, new(routepb.RouteConfiguration), r.GetRouteConfig(), err)
		}
		for _, r := range m.GetDynamicRouteConfigs() {
			err = into(&d.routes, new(routepb.RouteConfiguration), r.GetRouteConfig(), err)
		}
	case *adminpb.EndpointsConfigDump:
		for _, e := range m.GetStaticEndpointConfigs() {
			err = into(&d.endpoints, new(endpointpb.ClusterLoadAssignment), e.GetEndpointConfig(), err)
		}
		for _, e := range m.GetDynamicEndpointConfigs() {
			err = into(&d.endpoints, new(endpointpb.ClusterLoadAssignment), e.GetEndpointConfig(), err)
		}
	case *adminpb.SecretsConfigDump:
		for _, s := range m.GetStaticSecrets() {
			err = into(&d.secrets, new(tlspb.Secret), s.GetSecret(), err)
		}
		for _, s := range m.GetDynamicActiveSecrets() {
			err = into(&d.secrets, new(tlspb.Secret), s.GetSecret(), err)
		}
	}
	return err
}

// Resources are what the proxy runs, without its secrets: a dump does not tell keys.
func (d *Dump) Resources() (resource.Set, error) {
	set := make(resource.Set)
	for t, list := range map[resource.Type][]proto.Message{
		resource.Cluster: messages(d.clusters), resource.Endpoint: messages(d.endpoints),
		resource.Listener: messages(d.listeners), resource.Route: messages(d.routes),
	} {
		for _, m := range list {
			r, err := resource.New(resource.NameOf(m), m)
			if err != nil {
				return nil, fmt.Errorf("config_dump: %w", err)
			}
			set.Put(t, r)
		}
	}
	return set, nil
}

// into reads a body and appends it; an earlier error stays.
func into[M proto.Message](list *[]M, m M, body *anypb.Any, before error) error {
	if before != nil || body == nil {
		return before
	}
	if err := body.UnmarshalTo(m); err != nil {
		return err
	}
	*list = append(*list, m)
	return nil
}

// JSON writes parts as an object of lists.
func (d *Dump) JSON(w io.Writer, parts ...string) error {
	out := make(map[string]any)
	for _, p := range parts {
		if p == "bootstrap" {
			text, err := plain(d.bootstrap.GetBootstrap())
			if err != nil {
				return err
			}
			out[p] = text
			continue
		}
		list := []json.RawMessage{}
		for _, m := range d.part(p) {
			text, err := plain(m)
			if err != nil {
				return err
			}
			list = append(list, text)
		}
		out[p] = list
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

// plain is protojson without its spaces, which vary from build to build.
func plain(m proto.Message) (json.RawMessage, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (d *Dump) part(name string) []proto.Message {
	switch name {
	case "clusters":
		return messages(d.clusters)
	case "listeners":
		return messages(d.listeners)
	case "routes":
		return messages(d.routes)
	case "endpoints":
		return messages(d.endpoints)
	}
	return messages(d.secrets)
}

func messages[M proto.Message](list []M) []proto.Message {
	all := make([]proto.Message, len(list))
	for i, m := range list {
		all[i] = m
	}
	return all
}

// Table writes a part as columns.
func (d *Dump) Table(w io.Writer, part string) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	row := func(cells ...any) {
		text := make([]string, len(cells))
		for i, c := range cells {
			if text[i] = fmt.Sprint(c); text[i] == "" {
				text[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(text, "\t"))
	}
	switch part {
	case "clusters":
		d.clusterTable(row)
	case "listeners":
		d.listenerTable(row)
	case "routes":
		d.routeTable(row)
	case "endpoints":
		d.endpointTable(row)
	case "secrets":
		d.secretTable(row)
	case "bootstrap":
		node := d.bootstrap.GetBootstrap().GetNode()
		row("NODE", "CLUSTER")
		row(node.GetId(), node.GetCluster())
	}
	return t.Flush()
}

func (d *Dump) clusterTable(row func(...any)) {
	row("CLUSTER", "TYPE", "TLS", "FROM")
	for _, c := range d.clusters {
		secure := "no"
		if c.GetTransportSocket() != nil || len(c.GetTransportSocketMatches()) > 0 {
			secure = "yes"
		}
		row(c.GetName(), c.GetType(), secure, source(c.GetMetadata()))
	}
}

func (d *Dump) listenerTable(row func(...any)) {
	row("LISTENER", "ADDRESS", "CHAINS", "FROM")
	for _, l := range d.listeners {
		chains := len(l.GetFilterChains())
		if l.GetDefaultFilterChain() != nil {
			chains++
		}
		row(l.GetName(), address(l.GetAddress()), chains, source(l.GetMetadata()))
	}
}

func (d *Dump) routeTable(row func(...any)) {
	row("ROUTES", "VIRTUAL HOST", "MATCH", "TO", "FROM")
	for _, c := range d.routes {
		for _, v := range c.GetVirtualHosts() {
			for _, r := range v.GetRoutes() {
				row(c.GetName(), v.GetName(), match(r.GetMatch()), action(r), source(r.GetMetadata()))
			}
		}
	}
}

func (d *Dump) endpointTable(row func(...any)) {
	row("ENDPOINT", "HEALTH", "PRIORITY", "WEIGHT", "CLUSTER")
	for _, a := range d.endpoints {
		for _, l := range a.GetEndpoints() {
			for _, e := range l.GetLbEndpoints() {
				row(address(e.GetEndpoint().GetAddress()), e.GetHealthStatus(), l.GetPriority(), e.GetLoadBalancingWeight().GetValue(), a.GetClusterName())
			}
		}
	}
}

func (d *Dump) secretTable(row func(...any)) {
	row("SECRET", "HAS")
	for _, s := range d.secrets {
		has := "nothing yet"
		switch {
		case s.GetTlsCertificate() != nil:
			has = "certificate"
		case s.GetValidationContext() != nil:
			has = "roots"
		}
		row(s.GetName(), has)
	}
}

func address(a *corepb.Address) string {
	if s := a.GetSocketAddress(); s != nil {
		return fmt.Sprintf("%s:%d", s.GetAddress(), s.GetPortValue())
	}
	return a.GetPipe().GetPath()
}

// source is the place that a part was made of, as our control plane writes it down;
// else the object, as Istio's does.
func source(m *corepb.Metadata) string {
	if place := m.GetFilterMetadata()["windtunnel"].GetFields()["source"].GetStringValue(); place != "" {
		return place
	}
	return m.GetFilterMetadata()["istio"].GetFields()["config"].GetStringValue()
}

func match(m *routepb.RouteMatch) string {
	var parts []string
	switch p := m.GetPathSpecifier().(type) {
	case *routepb.RouteMatch_Path:
		parts = append(parts, p.Path)
	case *routepb.RouteMatch_Prefix:
		parts = append(parts, p.Prefix+"*")
	case *routepb.RouteMatch_PathSeparatedPrefix:
		parts = append(parts, p.PathSeparatedPrefix+"/*")
	case *routepb.RouteMatch_SafeRegex:
		parts = append(parts, "~"+p.SafeRegex.GetRegex())
	}
	for _, h := range m.GetHeaders() {
		parts = append(parts, "header "+h.GetName())
	}
	for _, q := range m.GetQueryParameters() {
		parts = append(parts, "query "+q.GetName())
	}
	return strings.Join(parts, ", ")
}

func action(r *routepb.Route) string {
	switch {
	case r.GetRoute().GetCluster() != "":
		return r.GetRoute().GetCluster()
	case r.GetRoute().GetWeightedClusters() != nil:
		var parts []string
		for _, c := range r.GetRoute().GetWeightedClusters().GetClusters() {
			parts = append(parts, fmt.Sprintf("%s %d%%", c.GetName(), c.GetWeight().GetValue()))
		}
		slices.Sort(parts)
		return strings.Join(parts, ", ")
	case r.GetRedirect() != nil:
		return "redirect"
	case r.GetDirectResponse() != nil:
		return fmt.Sprintf("answers %d", r.GetDirectResponse().GetStatus())
	}
	return "-"
}
