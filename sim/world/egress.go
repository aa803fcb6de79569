package world

import (
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

const egressGateway = "istio-egressgateway"

// gateways are those that a scenario needs: the ingress gateway always, as in
// Istio's default profile, and the egress gateway of the demo profile where one of
// the scenario's Gateways selects it.
func gateways(s *spec.Scenario) []string {
	documents := s.Resources
	for _, step := range s.Steps {
		if step.Apply != nil {
			documents = append(documents[:len(documents):len(documents)], step.Apply.Documents...)
		}
	}
	for _, d := range documents {
		objects, _ := config.Decode(d.File, d.Line, d.Text) // what is wrong is told when it is applied
		for _, o := range objects {
			if g, ok := o.Value.(*networkingv1.Gateway); ok && selectsEgress(g.Spec.GetSelector()) {
				return []string{ingressGateway, egressGateway}
			}
		}
	}
	return []string{ingressGateway}
}

func selectsEgress(selector map[string]string) bool {
	return selector["istio"] == "egressgateway" || selector["app"] == egressGateway
}
