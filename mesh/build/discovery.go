package build

import (
	"fmt"
	"slices"

	meshpb "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// discovery leaves out of the view what is in namespaces that none of the mesh's
// discoverySelectors chooses: the control plane neither sees Pods and Services there nor
// configuration. As in Istio the root namespace is no exception.
func (b *builder) discovery() {
	selectors := b.discoverySelectors()
	if len(selectors) == 0 {
		return
	}
	seen := map[string]bool{"": true}
	chosen := func(name string) bool {
		if known, ok := seen[name]; ok {
			return known
		}
		all := namespaceLabels(b.view, name)
		seen[name] = slices.ContainsFunc(selectors, func(s labels.Selector) bool { return s.Matches(all) })
		return seen[name]
	}
	var objects []*config.Object
	for _, o := range b.view.All() {
		if chosen(o.Namespace) {
			objects = append(objects, o)
			continue
		}
		if config.OfMesh(o) {
			b.report(o, config.Warning, config.CodeIgnoredFields, "metadata.namespace",
				fmt.Sprintf("nobody sees this: the namespace %s has none of the labels that meshConfig.discoverySelectors asks for", o.Namespace),
				"label the namespace, or name it in discoverySelectors")
		}
	}
	b.view = store.NewView(objects...)
}

// discoverySelectors are the mesh's; one that cannot be read is refused.
func (b *builder) discoverySelectors() []labels.Selector {
	var list []labels.Selector
	for i, s := range b.options.MeshConfig.GetDiscoverySelectors() {
		selector, err := metav1.LabelSelectorAsSelector(kubernetesSelector(s))
		if err != nil {
			b.refuseMesh(fmt.Sprintf("meshConfig.discoverySelectors[%d]", i), ": "+err.Error())
			continue
		}
		list = append(list, selector)
	}
	return list
}

func kubernetesSelector(s *meshpb.LabelSelector) *metav1.LabelSelector {
	selector := &metav1.LabelSelector{MatchLabels: s.GetMatchLabels()}
	for _, e := range s.GetMatchExpressions() {
		selector.MatchExpressions = append(selector.MatchExpressions,
			metav1.LabelSelectorRequirement{Key: e.GetKey(), Operator: metav1.LabelSelectorOperator(e.GetOperator()), Values: e.GetValues()})
	}
	return selector
}

// namespaceLabels are a namespace's, with the name that the API server writes among them.
func namespaceLabels(view *store.View, name string) labels.Set {
	all := labels.Set{corev1.LabelMetadataName: name}
	if o := view.Get("Namespace", "", name); o != nil {
		if ns, ok := o.Value.(*corev1.Namespace); ok {
			for k, v := range ns.Labels {
				all[k] = v
			}
		}
	}
	return all
}
