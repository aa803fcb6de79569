package live

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Names resolve with a Pod's search domains: Services, and Pods behind them.
func TestNamesInTheClusterResolve(t *testing.T) {
	n := someNames(t)
	ns, yes, no, hostname := n.namespace(""), true, false, "db-0"
	at := func(ip string, hostname *string, ready *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{Addresses: []string{ip}, Hostname: hostname, Conditions: discoveryv1.EndpointConditions{Ready: ready}}
	}
	v := &surroundings{world: &World{names: n}, services: []corev1.Service{
		{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: ns}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: ns}, Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}},
	}, slices: []discoveryv1.EndpointSlice{{
		ObjectMeta: metav1.ObjectMeta{Name: "db-x", Namespace: ns, Labels: map[string]string{discoveryv1.LabelServiceName: "db"}},
		Endpoints:  []discoveryv1.Endpoint{at("10.1.0.1", &hostname, &yes), at("10.1.0.2", nil, nil), at("10.1.0.3", nil, &no)},
	}}}
	for name, want := range map[string]string{
		"web": "[10.96.0.1]", "web." + ns: "[10.96.0.1]", "web." + ns + ".svc": "[10.96.0.1]", "web." + ns + ".svc.cluster.local.": "[10.96.0.1]",
		"db": "[10.1.0.1 10.1.0.2]", "db-0.db": "[10.1.0.1]", "db-0.db." + ns: "[10.1.0.1]", "db-0.db." + ns + ".svc.cluster.local": "[10.1.0.1]",
		"10-1-0-2.db": "[10.1.0.2]", "10-1-0-3.db": "no such host", "db-1.db": "no such host", "web.other": "no such host", "www.example.com": "no such host",
	} {
		addrs, err := v.Resolve(nil, name)
		if got := fmt.Sprint(addrs, err); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
