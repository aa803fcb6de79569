package world

import (
	"fmt"
	"slices"
	"strings"

	networkingpb "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	networkingv1alpha3 "istio.io/client-go/pkg/apis/networking/v1alpha3"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/explain"
)

// lineOf is file:line of a field; "" where it was not written.
func lineOf(o *config.Object, path string) string {
	if !o.Has(path) { // At would tell what is around it
		return ""
	}
	p := o.At(path)
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// filterSource finds the patches of EnvoyFilters that have an HTTP filter, or a part of
// its configuration, and are for a peer.
func (w *World) filterSource(p *explain.Peer, filter string) string {
	n := w.nodes[p.Name]
	if n == nil {
		return ""
	}
	var lines []string
	for _, o := range w.store.View().Of("EnvoyFilter") {
		f, ok := o.Value.(*networkingv1alpha3.EnvoyFilter)
		if !ok || o.Namespace != n.pod.Namespace && o.Namespace != systemNamespace {
			continue
		}
		matches := true
		for k, v := range f.Spec.GetWorkloadSelector().GetLabels() {
			matches = matches && n.pod.Labels[k] == v
		}
		for i, patch := range f.Spec.GetConfigPatches() {
			if line := lineOf(o, fmt.Sprintf("spec.configPatches[%d]", i)); matches && line != "" && strings.Contains(patch.GetPatch().String(), filter) {
				lines = append(lines, line)
			}
		}
	}
	return strings.Join(lines, ", ")
}

// settingSource finds a setting in the DestinationRule behind a cluster: the most specific
// one, as it holds.
func (w *World) settingSource(p *explain.Peer, cluster, setting string) string {
	parts := strings.Split(cluster, "|")
	if p.Snapshot == nil || len(parts) != 4 {
		return ""
	}
	c := p.Snapshot.Clusters[cluster]
	if c == nil || c.Source == "" {
		return ""
	}
	for _, o := range w.store.View().Of("DestinationRule") {
		rule, ok := o.Value.(*networkingv1.DestinationRule)
		if !ok || !behind(o, c.Source) {
			continue
		}
		for _, path := range settingPaths(&rule.Spec, parts[1], parts[2], setting) {
			if line := lineOf(o, path); line != "" {
				return line
			}
		}
	}
	return ""
}

// behind tells whether a line is one of an object's.
func behind(o *config.Object, source string) bool {
	file, number, found := cutLast(source)
	first := o.Position()
	return found && file == first.File && number >= first.Line && number <= first.Line+strings.Count(string(o.Raw), "\n")
}

func cutLast(source string) (file string, line int, ok bool) {
	i := strings.LastIndexByte(source, ':')
	if i < 0 {
		return "", 0, false
	}
	_, err := fmt.Sscan(source[i+1:], &line)
	return source[:i], line, err == nil
}

// settingPaths are where a rule may have a setting for a port and a subset, what counts first.
func settingPaths(rule *networkingpb.DestinationRule, port, subset, setting string) []string {
	var paths []string
	of := func(path string, t *networkingpb.TrafficPolicy) {
		for i, level := range t.GetPortLevelSettings() {
			if fmt.Sprint(level.GetPort().GetNumber()) == port {
				paths = append(paths, fmt.Sprintf("%s.portLevelSettings[%d].%s", path, i, setting))
			}
		}
		paths = append(paths, path+"."+setting)
	}
	if i := slices.IndexFunc(rule.GetSubsets(), func(s *networkingpb.Subset) bool { return s.GetName() == subset }); subset != "" && i >= 0 {
		of(fmt.Sprintf("spec.subsets[%d].trafficPolicy", i), rule.GetSubsets()[i].GetTrafficPolicy())
	}
	of("spec.trafficPolicy", rule.GetTrafficPolicy())
	return paths
}
