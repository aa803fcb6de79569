package kind

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// IPFamilies are the families of addresses that a cluster's Pods and Services can have.
func IPFamilies() []string {
	return []string{string(v1alpha4.IPv4Family), string(v1alpha4.IPv6Family), string(v1alpha4.DualStackFamily)}
}

// configuration is kind's own, of a file where there is one, with the family of addresses
// that is asked for; nil where nothing is asked for.
func configuration(o CreateOptions) ([]byte, error) {
	if o.IPFamily != "" && !slices.Contains(IPFamilies(), o.IPFamily) {
		return nil, fmt.Errorf("the IP family %q is none of %s", o.IPFamily, strings.Join(IPFamilies(), ", "))
	}
	var text []byte
	if o.Config != "" {
		var err error
		if text, err = os.ReadFile(o.Config); err != nil {
			return nil, err
		}
	}
	if o.IPFamily == "" {
		return text, nil
	}
	cluster := map[string]any{"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"}
	if err := yaml.Unmarshal(text, &cluster); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Config, err)
	}
	networking, ok := cluster["networking"].(map[string]any)
	if !ok {
		networking = make(map[string]any)
		cluster["networking"] = networking
	}
	if has, ok := networking["ipFamily"]; ok && has != o.IPFamily {
		return nil, fmt.Errorf("%s says networking.ipFamily: %v, and %s is asked for", o.Config, has, o.IPFamily)
	}
	networking["ipFamily"] = o.IPFamily
	return yaml.Marshal(cluster)
}
