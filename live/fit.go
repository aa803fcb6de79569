package live

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/scenarios/run"
	"github.com/windtunnel-mesh/windtunnel/scenarios/spec"
)

// unfit tells what a scenario needs that a real cluster does not have; nil where it can run.
func unfit(s *spec.Scenario, docs []document) error {
	no := func(format string, args ...any) error { return &run.UnfitError{Reason: fmt.Sprintf(format, args...)} }
	for _, d := range docs {
		group, _, _ := strings.Cut(d.object.GetAPIVersion(), "/")
		switch kind := d.object.GetKind(); {
		case kind == "Node":
			return no("%s: it makes Nodes, which a cluster has already", d.position)
		case group == "flagger.app":
			return no("%s: it needs the canary controller that sim and loopback play", d.position)
		case d.object.GetAnnotations()["external-dns.alpha.kubernetes.io/hostname"] != "":
			return no("%s: it publishes a host name, which no DNS of the cluster serves", d.position)
		case d.object.GetKind() == "Telemetry" && filtersLogs(d.object):
			return no("%s: its filter would hold for the access log that results are read from, too", d.position)
		case d.object.GetKind() == "IstioOperator":
			return no("%s: an IstioOperator installs a mesh, and this cluster has one", d.position)
		}
	}
	for _, st := range s.Steps {
		switch {
		case slices.Contains([]string{"traces", "canary"}, st.Operation):
			return no("%s:%d: %s works in sim and loopback only", st.Position.File, st.Position.Line, st.Operation)
		case st.Fault != nil && simulatedFault(st.Fault) != nil:
			return no("%v", simulatedFault(st.Fault))
		}
	}
	return nil
}

// filtersLogs tells whether a Telemetry has a filter for access logs.
func filtersLogs(u *unstructured.Unstructured) bool {
	entries, _, err := unstructured.NestedSlice(u.Object, "spec", "accessLogging")
	return err == nil && slices.ContainsFunc(entries, func(e any) bool {
		entry, ok := e.(map[string]any)
		return ok && entry["filter"] != nil
	})
}

// simulated are the faults that no real cluster plays, and why.
var simulated = map[string]string{
	"slow":  "it needs the kernel's netem",
	"xds":   "it needs a network of ours between the proxies and their control plane",
	"chaos": "its draws have to be the same in every run, and a cluster's own time decides what they strike",
}

// simulatedFault says why a cluster does not play a fault; nil where it does.
func simulatedFault(f *spec.Fault) error {
	if why, ok := simulated[f.Name()]; ok {
		return fmt.Errorf("%s:%d: the fault %s works in the simulator only: %s", f.Position.File, f.Position.Line, f.Name(), why)
	}
	return nil
}

// Alone tells whether a scenario must not run beside others in one cluster.
func Alone(s *spec.Scenario, system string) bool { return alone(s, decodable(documentsOf(s)), system) }

// alone tells whether a scenario changes what all scenarios of a cluster share: the
// control plane, its namespace, the gateways, or names that all namespaces see.
func alone(s *spec.Scenario, docs []document, system string) bool {
	if len(s.Mesh) > 0 {
		return true
	}
	for _, d := range docs {
		if d.object.GetNamespace() == system || slices.Contains([]string{"Gateway", "ServiceEntry"}, d.object.GetKind()) {
			return true
		}
	}
	return slices.ContainsFunc(s.Steps, func(st spec.Step) bool {
		return st.Fault != nil && (st.Fault.ControlPlane != "" || st.Fault.Heal != "") ||
			st.Request != nil && st.Request.From == fromIngress || st.Load != nil && st.Load.From == fromIngress
	})
}

// Ready says what a cluster lacks before scenarios can run in it.
func (e *Env) Ready(ctx context.Context) error {
	if _, _, err := e.Client.Minor(ctx); err != nil {
		return err
	}
	u, err := e.Client.Get(ctx, kube.Resource("apps/v1", "Deployment"), e.System, "istiod")
	if err != nil {
		return err
	}
	if u == nil {
		return fmt.Errorf("there is no mesh in this cluster (context %s): run windtunnel install --profile demo first", e.Client.Context())
	}
	if u.GetLabels()[kube.OwnerLabel] != kube.OwnerValue {
		return fmt.Errorf("the mesh in this cluster (context %s) is not windtunnel's: %s does not have the label %s=%s",
			e.Client.Context(), kube.Name(u), kube.OwnerLabel, kube.OwnerValue)
	}
	if n := replicasOf(u); n != 1 {
		return fmt.Errorf("the mesh in this cluster has %d control planes: scenarios ask one of them whether proxies are up to date", n)
	}
	return nil
}
