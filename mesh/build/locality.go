package build

import (
	"fmt"
	"maps"
	"slices"

	networkingpb "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// distributionAnnotation is older than spec.trafficDistribution, and wins over it.
const distributionAnnotation = "networking.istio.io/traffic-distribution"

// distributions are the values of both.
var distributions = map[string]model.Distribution{
	"Any":         model.Anywhere,
	"PreferClose": model.PreferSameZone, "PreferSameZone": model.PreferSameZone, "PreferSameNode": model.PreferSameNode,
}

func locality(s *networkingpb.LocalityLoadBalancerSetting) *model.LocalityBalancing {
	m := &model.LocalityBalancing{Priority: s.GetFailoverPriority()}
	for _, d := range s.GetDistribute() {
		to := make([]model.LocalityShare, 0, len(d.GetTo()))
		for _, l := range slices.Sorted(maps.Keys(d.GetTo())) {
			to = append(to, model.LocalityShare{Locality: l, Weight: d.GetTo()[l]})
		}
		m.Distribute = append(m.Distribute, model.Distribute{From: d.GetFrom(), To: to})
	}
	for _, f := range s.GetFailover() {
		m.Failover = append(m.Failover, model.Failover{From: f.GetFrom(), To: f.GetTo()})
	}
	return m
}

// nearness reads what a Service says about the distance of its endpoints.
func (b *builder) nearness(o *config.Object, s *corev1.Service, m *model.Service) {
	wish, path := s.Annotations[distributionAnnotation], "metadata.annotations"
	if wish == "" && s.Spec.TrafficDistribution != nil {
		wish, path = *s.Spec.TrafficDistribution, "spec.trafficDistribution"
	}
	if wish != "" {
		d, known := distributions[wish]
		if !known {
			b.report(o, config.Error, CodeUnsupported, path, fmt.Sprintf("traffic distribution %q is not known", wish),
				"PreferSameZone, PreferSameNode and PreferClose are")
		}
		m.Distribution = d
	}
	m.NodeLocal = s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
}
