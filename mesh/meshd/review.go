package meshd

import (
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/analyze"
	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// find makes the mesh of a view, and tells what is wrong with the view here.
func (m *Meshd) find(v *store.View) (*model.Mesh, []config.Diagnostic) {
	mesh, findings := Build(v, build.Options{MeshConfig: m.meshConfig(), Keys: m.keys.Keys})
	if m.o.Cluster && m.o.Inject == nil {
		findings = append(findings, unmadeGateways(v)...)
	}
	return mesh, findings
}

// review is what the validating webhook tells of objects that would be added to a
// view: what the control plane says, and what windtunnel analyze does.
func (m *Meshd) review(v *store.View, objects []*config.Object) []config.Diagnostic {
	after := store.NewView(slices.Concat(v.All(), objects)...)
	mesh, findings := m.find(after)
	var own []config.Diagnostic
	for _, f := range analyze.Analyze(analyze.Input{View: after, MeshConfig: m.meshConfig(), Found: findings, Mesh: mesh}) {
		if slices.ContainsFunc(objects, func(o *config.Object) bool { return o.Key() == f.Object }) {
			own = append(own, f.Diagnostic)
		}
	}
	return own
}

// unmadeGateways refuses the Gateways of the Gateway API for which proxies would have
// to be made: a control plane that knows no image of proxies makes none.
func unmadeGateways(v *store.View) []config.Diagnostic {
	var found []config.Diagnostic
	for _, o := range v.Of("gateway.networking.k8s.io/Gateway") {
		g, ok := o.Value.(*gatewayv1.Gateway)
		if !ok {
			continue
		}
		class := string(g.Spec.GatewayClassName)
		var defined *gatewayv1.GatewayClass
		if c := v.Get("GatewayClass", "", class); c != nil {
			defined, _ = c.Value.(*gatewayv1.GatewayClass)
		}
		if _, made := config.GatewayService(o.Name, g); made && config.GatewayClassOurs(class, defined) {
			found = append(found, o.Diagnose(config.Error, build.CodeUnsupported, "spec",
				"no proxies are made for a Gateway without spec.addresses: this control plane was started without --proxy-image",
				"start it with that, or name the Service of a gateway that runs: addresses: [{type: Hostname, value: istio-ingressgateway.istio-system.svc.cluster.local}]"))
		}
	}
	return found
}
