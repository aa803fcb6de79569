package config

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// oneOf checks a word; none is fine.
func (c *checker) oneOf(path, word string, words ...string) {
	if word != "" && !slices.Contains(words, word) {
		c.errorf(CodeValue, path, "", "%q is not known; expected %s or %s", clip(word), words[0], words[1])
	}
}

// inOrder checks how a StatefulSet starts and replaces its Pods.
func (c *checker) inOrder(s *appsv1.StatefulSetSpec) {
	c.notNegative("spec.minReadySeconds", s.MinReadySeconds)
	c.oneOf("spec.podManagementPolicy", string(s.PodManagementPolicy), "OrderedReady", "Parallel")
	c.oneOf("spec.updateStrategy.type", string(s.UpdateStrategy.Type), "RollingUpdate", "OnDelete")
	if s.Ordinals != nil {
		c.notNegative("spec.ordinals.start", s.Ordinals.Start)
	}
	u := s.UpdateStrategy.RollingUpdate
	if u == nil {
		return
	}
	const at = "spec.updateStrategy.rollingUpdate"
	if s.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		c.errorf(CodeExclusive, at, "", "the strategy OnDelete has no rollingUpdate")
		return
	}
	if u.Partition != nil {
		c.notNegative(join(at, "partition"), *u.Partition)
	}
	if c.share(join(at, "maxUnavailable"), u.MaxUnavailable) == 0 {
		c.errorf(CodeRange, join(at, "maxUnavailable"), "", "may not be 0: no Pod could be replaced")
	}
}

// everywhere checks how a DaemonSet replaces its Pods.
func (c *checker) everywhere(s *appsv1.DaemonSetSpec) {
	c.notNegative("spec.minReadySeconds", s.MinReadySeconds)
	c.oneOf("spec.updateStrategy.type", string(s.UpdateStrategy.Type), "RollingUpdate", "OnDelete")
	u := s.UpdateStrategy.RollingUpdate
	if u == nil {
		return
	}
	const at = "spec.updateStrategy.rollingUpdate"
	if s.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		c.errorf(CodeExclusive, at, "", "the strategy OnDelete has no rollingUpdate")
		return
	}
	surge, unavailable := c.share(join(at, "maxSurge"), u.MaxSurge), c.share(join(at, "maxUnavailable"), u.MaxUnavailable)
	switch {
	case surge <= 0 && unavailable == 0:
		c.errorf(CodeRange, join(at, "maxUnavailable"), "", "may not be 0 where maxSurge is 0: no Pod could be replaced")
	case surge > 0 && unavailable > 0:
		c.errorf(CodeExclusive, join(at, "maxSurge"), "", "may not be used together with maxUnavailable, which must be 0 then")
	case surge > 0 && u.MaxUnavailable == nil:
		c.errorf(CodeExclusive, join(at, "maxSurge"), "", "needs maxUnavailable: 0 beside it, which is 1 by default")
	case unavailable > 100 && u.MaxUnavailable.Type == intstr.String:
		c.errorf(CodeRange, join(at, "maxUnavailable"), "", "may not be more than 100%%")
	}
}
