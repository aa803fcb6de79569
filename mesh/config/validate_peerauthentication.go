package config

import (
	"maps"
	"slices"
	"strconv"

	securityv1 "istio.io/client-go/pkg/apis/security/v1"
)

func validatePeerAuthentication(c *checker) {
	p := &c.o.Value.(*securityv1.PeerAuthentication).Spec
	labels := p.GetSelector().GetMatchLabels()
	c.selector("spec.selector.matchLabels", labels)
	if len(p.PortLevelMtls) > 0 && len(labels) == 0 {
		c.errorf(CodeSelector, "spec.portLevelMtls", "add selector: {matchLabels: …}", "portLevelMtls needs a selector: its ports are those of workloads")
	}
	for _, port := range slices.Sorted(maps.Keys(p.PortLevelMtls)) {
		c.port(join("spec.portLevelMtls", strconv.FormatUint(uint64(port), 10)), port)
	}
}
