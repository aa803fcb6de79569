package analyze

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// condition is one of a status, as all of these APIs write them.
type condition struct {
	Type, Status, Reason, Message string
}

// statused are the kinds whose conditions are true where all is well.
var statused = []string{"Service", "VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "WorkloadEntry", "WorkloadGroup", "Sidecar", "EnvoyFilter",
	"ProxyConfig", "PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy", "Telemetry",
	"gateway.networking.k8s.io/Gateway", "GatewayClass", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"}

// conditions tells what the status of objects that come from a cluster says: a controller
// found something wrong with them. Status is not configuration, so it is read from what
// was written.
func (a *analysis) conditions() {
	for _, kind := range statused {
		for _, o := range a.view.Of(kind) {
			if !bytes.Contains(o.Raw, []byte("status")) {
				continue
			}
			var v struct {
				Status struct {
					Conditions []condition
					Parents    []struct{ Conditions []condition }
					Listeners  []struct{ Conditions []condition }
				}
			}
			if yaml.Unmarshal(o.Raw, &v) != nil {
				continue // it was read once; what is wrong with its status is nobody's matter
			}
			a.negative(o, "status", v.Status.Conditions)
			for i, p := range v.Status.Parents {
				a.negative(o, fmt.Sprintf("status.parents[%d]", i), p.Conditions)
			}
			for i, l := range v.Status.Listeners {
				a.negative(o, fmt.Sprintf("status.listeners[%d]", i), l.Conditions)
			}
		}
	}
}

func (a *analysis) negative(o *config.Object, path string, list []condition) {
	for i, c := range list {
		bad := strings.EqualFold(c.Status, "False") || c.Reason == "PartiallyInvalid"
		if c.Type == "Conflicted" || c.Type == "OverlappingTLSConfig" || c.Type == "PartiallyInvalid" {
			bad = strings.EqualFold(c.Status, "True")
		}
		if bad {
			text := strings.TrimSpace(c.Reason + " " + c.Message)
			if text != "" {
				text = ": " + text
			}
			a.report(o, config.Warning, CodeNegativeCondition, fmt.Sprintf("%s.conditions[%d]", path, i), fmt.Sprintf("its status says %s is %s%s", c.Type, c.Status, text), "")
		}
	}
}
