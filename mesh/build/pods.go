package build

import (
	"cmp"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// pods finds workloads by name and address.
type pods struct {
	byName    map[string]*workload // namespace/name
	byAddress map[string]*workload
	byNS      map[string][]*workload // in the order of the view
}

// workload is a model.Workload with what only Kubernetes knows of it.
type workload struct {
	model.Workload
	pod   *corev1.Pod // nil: a WorkloadEntry
	entry *networkingv1.WorkloadEntry
	ready bool
}

// workloads reads Pods, Nodes and WorkloadEntries.
func (b *builder) workloads() {
	b.pods = pods{byName: map[string]*workload{}, byAddress: map[string]*workload{}, byNS: map[string][]*workload{}}
	localities := map[string]model.Locality{}
	for _, o := range b.view.Of("Node") {
		if n, ok := o.Value.(*corev1.Node); ok {
			localities[o.Name] = model.Locality{
				Region:  n.Labels["topology.kubernetes.io/region"],
				Zone:    n.Labels["topology.kubernetes.io/zone"],
				SubZone: n.Labels["topology.istio.io/subzone"],
			}
		}
	}
	for _, o := range b.view.Of("Pod") {
		pod, ok := o.Value.(*corev1.Pod)
		if !ok || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		w := &workload{pod: pod, ready: podReady(pod)}
		w.Workload = model.Workload{
			Name: o.Name, Namespace: o.Namespace, Workload: controller(pod), Address: pod.Status.PodIP,
			Labels: pod.Labels, Account: cmp.Or(pod.Spec.ServiceAccountName, "default"),
			Locality: podLocality(pod, localities), Host: pod.Spec.NodeName, Source: sourceAt(o, ""),
		}
		b.addWorkload(w)
	}
	for _, o := range b.view.Of("WorkloadEntry") {
		if e, ok := o.Value.(*networkingv1.WorkloadEntry); ok {
			b.addWorkload(entryWorkload(o, e))
		}
	}
}

func (b *builder) addWorkload(w *workload) {
	if w.pod != nil {
		b.parts.Workloads = append(b.parts.Workloads, &w.Workload)
		b.pods.byName[w.Namespace+"/"+w.Name] = w
	}
	if w.Address != "" && (w.pod == nil || !w.pod.Spec.HostNetwork) {
		b.pods.byAddress[w.Address] = w
	}
	b.pods.byNS[w.Namespace] = append(b.pods.byNS[w.Namespace], w)
}

func entryWorkload(o *config.Object, e *networkingv1.WorkloadEntry) *workload {
	labels := map[string]string{}
	for k, v := range e.Labels {
		labels[k] = v
	}
	for k, v := range e.Spec.GetLabels() {
		labels[k] = v
	}
	return &workload{entry: e, ready: true, Workload: model.Workload{
		Name: o.Name, Namespace: o.Namespace, Workload: o.Name, Address: e.Spec.GetAddress(), Labels: labels,
		Account: e.Spec.GetServiceAccount(), Locality: model.ParseLocality(e.Spec.GetLocality()), Source: sourceAt(o, ""),
	}}
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// controller is the Deployment's name: a ReplicaSet's without its hash.
func controller(pod *corev1.Pod) string {
	if len(pod.OwnerReferences) == 0 {
		return pod.Name
	}
	o := pod.OwnerReferences[0]
	if hash := pod.Labels["pod-template-hash"]; o.Kind == "ReplicaSet" && hash != "" {
		return strings.TrimSuffix(o.Name, "-"+hash)
	}
	return o.Name
}

func podLocality(pod *corev1.Pod, nodes map[string]model.Locality) model.Locality {
	if l := pod.Labels["istio-locality"]; l != "" {
		return model.ParseLocality(strings.ReplaceAll(l, ".", "/"))
	}
	return nodes[pod.Spec.NodeName]
}

// selected returns a namespace's workloads that a selector matches.
func (b *builder) selected(namespace string, selector map[string]string) []*workload {
	var list []*workload
	for _, w := range b.pods.byNS[namespace] {
		if model.Selects(selector, w.Labels) {
			list = append(list, w)
		}
	}
	return list
}

// endpoint is an endpoint at a workload; nil workloads are unknown addresses.
func endpoint(address string, port uint32, w *workload) *model.Endpoint {
	e := &model.Endpoint{Address: address, Port: port, Weight: 1, Cluster: "Kubernetes"}
	if w == nil {
		return e
	}
	e.Labels, e.Workload, e.Namespace = w.Labels, w.Workload.Workload, w.Namespace
	e.Account, e.Locality, e.Host = w.Account, w.Locality, w.Host
	e.TLSMode = w.Labels["security.istio.io/tlsMode"]
	e.App = firstLabel(w.Labels, "service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
	e.Revision = firstLabel(w.Labels, "service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
	if w.entry != nil && w.entry.Spec.GetWeight() > 0 {
		e.Weight = w.entry.Spec.GetWeight()
	}
	return e
}

func firstLabel(labels map[string]string, keys ...string) string {
	for _, k := range keys {
		if v := labels[k]; v != "" {
			return v
		}
	}
	return ""
}

// collect sorts endpoints and gathers their service accounts.
func collect(byPort map[uint32][]*model.Endpoint) *model.Endpoints {
	e := &model.Endpoints{ByPort: byPort}
	for port, list := range byPort {
		slices.SortFunc(list, func(a, b *model.Endpoint) int {
			return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port))
		})
		list = slices.CompactFunc(list, func(a, b *model.Endpoint) bool { return a.Address == b.Address && a.Port == b.Port })
		byPort[port] = list
		for _, p := range list {
			if p.Account != "" {
				e.Accounts = append(e.Accounts, p.Namespace+"/"+p.Account)
			}
		}
	}
	slices.Sort(e.Accounts)
	e.Accounts = slices.Compact(e.Accounts)
	return e
}
