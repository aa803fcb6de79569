package config

import (
	"math"

	networkingv1beta1 "istio.io/client-go/pkg/apis/networking/v1beta1"
)

func validateProxyConfig(c *checker) {
	p := &c.o.Value.(*networkingv1beta1.ProxyConfig).Spec
	c.selector("spec.selector.matchLabels", p.GetSelector().GetMatchLabels())
	if n := p.GetConcurrency().GetValue(); n < 0 || n > math.MaxUint16 {
		c.errorf(CodeValue, "spec.concurrency", "", "%d is no number of processors; expected 0 (all) to %d", n, math.MaxUint16)
	}
}
