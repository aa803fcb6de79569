package config

import (
	"fmt"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/spelling"
)

// Bystander is an object of a kind that nothing here acts on: people's files have
// permissions, volumes and other controllers' resources beside what a mesh is made
// of. It is kept as written, for those who pass it on to a cluster.
type Bystander struct{}

// bystanders are Kubernetes' own kinds of that sort, by group. An empty reason: they
// say nothing about requests. With a reason they would change something in a cluster,
// which is worth a warning.
var bystanders = map[string]map[string]string{
	"": {"PersistentVolume": "", "PersistentVolumeClaim": "", "LimitRange": "", "ResourceQuota": "", "PodTemplate": "", "Event": "",
		"ReplicationController": "its Pods do not run here: write a Deployment"},
	"admissionregistration.k8s.io": {"MutatingWebhookConfiguration": "", "ValidatingWebhookConfiguration": "",
		"ValidatingAdmissionPolicy": "", "ValidatingAdmissionPolicyBinding": ""},
	"apiextensions.k8s.io":         {"CustomResourceDefinition": ""},
	"apiregistration.k8s.io":       {"APIService": ""},
	"apps":                         {"ControllerRevision": ""},
	"autoscaling":                  {"HorizontalPodAutoscaler": "nobody scales here but the scale step"},
	"batch":                        {"Job": "its Pods do not run here", "CronJob": "its Pods do not run here"},
	"certificates.k8s.io":          {"CertificateSigningRequest": ""},
	"coordination.k8s.io":          {"Lease": ""},
	"flowcontrol.apiserver.k8s.io": {"FlowSchema": "", "PriorityLevelConfiguration": ""},
	"node.k8s.io":                  {"RuntimeClass": ""},
	"policy":                       {"PodSecurityPolicy": ""},
	"rbac.authorization.k8s.io":    {"Role": "", "RoleBinding": "", "ClusterRole": "", "ClusterRoleBinding": ""},
	"scheduling.k8s.io":            {"PriorityClass": ""},
	"storage.k8s.io":               {"StorageClass": "", "VolumeAttachment": "", "CSIDriver": "", "CSINode": ""},
}

// refusedKinds are kinds that decide about requests, and that nothing here follows.
var refusedKinds = map[string]string{
	"extensions.istio.io/WasmPlugin":  "no WebAssembly runs in this proxy",
	"networking.k8s.io/NetworkPolicy": "write an AuthorizationPolicy, or a partition fault",
}

// bystander returns what is to be said about an object of a kind that is not among
// those that are decoded; false where the kind or its apiVersion must be a mistake.
func bystander(h *head) (Severity, string, bool) {
	if own, ok := bystanders[h.group]; ok {
		why, ok := own[h.kind]
		if why != "" {
			return Warning, fmt.Sprintf("%s has no effect: %s", h.kind, why), true
		}
		return Info, h.kind + " has no effect: it says nothing about requests", ok
	}
	if !strings.Contains(h.group, ".") || knownGroup(h.group) || strings.HasSuffix(h.group, ".istio.io") || spelling.Nearest(h.group, groups()) != "" {
		return 0, "", false
	}
	return Warning, fmt.Sprintf("%s of %s has no effect: nothing here acts for that API", h.kind, h.group), true
}

// groups are the names of all API groups that are known.
func groups() []string {
	var all []string
	for group := range bystanders {
		all = append(all, group)
	}
	for i := range kinds {
		all = append(all, kinds[i].group)
	}
	return all
}
