package cluster

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// nodes are the Nodes that were applied, by name. Without any, Pods run nowhere in
// particular.
func (c *Cluster) nodes() []*corev1.Node {
	var list []*corev1.Node
	for _, k := range c.keys("Node") {
		if n, ok := c.objects[k].Value.(*corev1.Node); ok {
			list = append(list, n)
		}
	}
	return list
}

// schedule picks the Node of a new Pod as Kubernetes' scheduler would where only the
// number of Pods counts: of those that the Pod may run on the one with the fewest Pods
// of the same owner, then with the fewest Pods, then the first by name.
func (c *Cluster) schedule(o owner) (string, error) {
	fit, err := c.fitting(o)
	if err != nil || len(fit) == 0 {
		return "", err
	}
	type load struct{ own, all int }
	loads := map[string]load{}
	for _, p := range c.pods {
		l := loads[p.Spec.NodeName]
		l.all++
		// A DaemonSet's new Pod may run beside the old one of its Node.
		if p.Owner == o.key && (o.key.Kind != "DaemonSet" || p.hash == o.hash) {
			l.own++
		}
		loads[p.Spec.NodeName] = l
	}
	best := slices.MinFunc(fit, func(a, b *corev1.Node) int { // the first of equals
		x, y := loads[a.Name], loads[b.Name]
		if x.own != y.own {
			return x.own - y.own
		}
		return x.all - y.all
	})
	return best.Name, nil
}

// fitting returns the Nodes that a workload's Pods may run on; none where there are no
// Nodes. That no Node fits is an error: the Pod would be pending for ever.
func (c *Cluster) fitting(o owner) ([]*corev1.Node, error) {
	all := c.nodes()
	if len(all) == 0 {
		return nil, nil
	}
	s := &o.template.Spec
	if err := unschedulable(s); err != nil {
		return nil, fmt.Errorf("%s: %w", o.key, err)
	}
	var fit []*corev1.Node
	for _, n := range all {
		if len(n.Spec.Taints) > 0 {
			return nil, fmt.Errorf("node %s: taints are not supported", n.Name)
		}
		ok, err := fits(n, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.key, err)
		}
		if ok {
			fit = append(fit, n)
		}
	}
	if len(fit) == 0 {
		return nil, fmt.Errorf("%s: no Node fits its nodeName, nodeSelector and nodeAffinity", o.key)
	}
	return fit, nil
}

// unschedulable names what the scheduler here does not do.
func unschedulable(s *corev1.PodSpec) error {
	switch a := s.Affinity; {
	case a != nil && a.PodAffinity != nil:
		return fmt.Errorf("podAffinity is not supported where there are Nodes")
	case a != nil && a.PodAntiAffinity != nil:
		return fmt.Errorf("podAntiAffinity is not supported where there are Nodes")
	case len(s.TopologySpreadConstraints) > 0:
		return fmt.Errorf("topologySpreadConstraints is not supported where there are Nodes")
	}
	return nil
}

func fits(n *corev1.Node, s *corev1.PodSpec) (bool, error) {
	if s.NodeName != "" {
		return n.Name == s.NodeName, nil
	}
	if n.Spec.Unschedulable || !selects(s.NodeSelector, n.Labels) {
		return false, nil
	}
	if s.Affinity == nil || s.Affinity.NodeAffinity == nil {
		return true, nil
	}
	a := s.Affinity.NodeAffinity
	if len(a.PreferredDuringSchedulingIgnoredDuringExecution) > 0 {
		return false, fmt.Errorf("nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution is not supported where there are Nodes")
	}
	if a.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true, nil
	}
	for _, term := range a.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms { // one is enough
		if ok, err := matchesTerm(n, term); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// nodeOperators are Kubernetes' words for those of label selectors.
var nodeOperators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
	corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
	corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
}

// matchesTerm: all requirements hold; a term without any matches nothing.
func matchesTerm(n *corev1.Node, term corev1.NodeSelectorTerm) (bool, error) {
	check := func(list []corev1.NodeSelectorRequirement, have labels.Set) (bool, error) {
		for _, r := range list {
			want, err := labels.NewRequirement(r.Key, nodeOperators[r.Operator], r.Values)
			if err != nil {
				return false, fmt.Errorf("nodeAffinity: %w", err)
			}
			if !want.Matches(have) {
				return false, nil
			}
		}
		return true, nil
	}
	if len(term.MatchExpressions)+len(term.MatchFields) == 0 {
		return false, nil
	}
	if ok, err := check(term.MatchExpressions, n.Labels); !ok || err != nil {
		return false, err
	}
	return check(term.MatchFields, labels.Set{metav1.ObjectNameField: n.Name})
}
