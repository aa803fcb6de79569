package live

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
)

var _ run.LogKeeper = (*World)(nil)

// builtInLog is the provider that always exists; accessLogFile switches it on.
const builtInLog = "envoy"

// chooseLogs adds the log that results are read from to those that the scenario's mesh
// configuration chooses, which become the world's.
func (w *World) chooseLogs(own map[string]any) {
	w.chosenLogs = nil
	names, _, _ := unstructured.NestedStringSlice(own, "defaultProviders", "accessLogging")
	if file, _ := own["accessLogFile"].(string); len(names) == 0 && file != "" {
		names = []string{builtInLog}
	}
	w.chosenLogs = names
	if len(names) == 0 || slices.Contains(names, logProvider) {
		return
	}
	_ = unstructured.SetNestedStringSlice(own, append(slices.Clone(names), logProvider), "defaultProviders", "accessLogging") // it was a mapping before, or nothing
}

// keepLog has a Telemetry leave the log alone that results are read from. What it says of
// others holds; a filter would hold for both, so that unfit refuses one.
func (w *World) keepLog(u *unstructured.Unstructured) {
	entries, found, err := unstructured.NestedSlice(u.Object, "spec", "accessLogging")
	if u.GetKind() != "Telemetry" || !found || err != nil {
		return
	}
	for _, e := range entries {
		entry, ok := e.(map[string]any)
		if !ok {
			continue // the API server refuses it
		}
		providers, _ := entry["providers"].([]any)
		switch disabled, _ := entry["disabled"].(bool); {
		case disabled && len(providers) == 0:
			for _, name := range w.chosenLogs {
				providers = append(providers, map[string]any{"name": name})
			}
			if len(providers) == 0 {
				providers = []any{map[string]any{"name": builtInLog}}
			}
			entry["providers"] = providers
		case !disabled && len(providers) > 0:
			entry["providers"] = append(providers, map[string]any{"name": logProvider})
		}
	}
	_ = unstructured.SetNestedSlice(u.Object, entries, "spec", "accessLogging") // it was one before
}

// ownLine tells whether a line of a proxy's output is of its own log, not of an access log.
func ownLine(text string) bool {
	return strings.HasPrefix(text, "time=") && strings.Contains(text, " level=")
}

// Logs implements run.LogKeeper.
func (w *World) Logs(workload string) ([]string, error) {
	if workload == fromIngress {
		workload = w.env.System + "/istio-ingressgateway"
	}
	pods, err := w.podsOf(workload)
	if err != nil {
		return nil, err
	}
	return w.log.linesOf(pods), nil
}
