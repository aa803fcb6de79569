package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// Hostnames are published below the Service that a Pod's subdomain names, and nowhere else;
// of Pods that are not ready where the Service asks for it.
func TestEndpointsHaveTheNamesOfPods(t *testing.T) {
	const services = `
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: by-hand, labels: {app: db}}
spec: {hostname: standby, subdomain: peers, containers: [{name: db, image: db}]}
---
apiVersion: v1
kind: Pod
metadata: {name: elsewhere, labels: {app: db}}
spec: {hostname: standby, subdomain: others, containers: [{name: db, image: db}]}
`
	c, _, s := newCluster()
	apply(t, c, namespace, services, set("StatefulSet", "db:1", "  serviceName: peers\n  replicas: 2\n"))
	for _, p := range c.Pods() {
		p.ready = p.Name != "db-1"
	}
	c.publish()
	for service, want := range map[string]string{
		"peers": "by-hand=standby:true/true db-0=db-0:true/true db-1=db-1:true/false elsewhere=:true/true",
		"db":    "by-hand=:true/true db-0=:true/true db-1=:false/false elsewhere=:true/true",
	} {
		var got []string
		for _, e := range s.View().Get("EndpointSlice", "default", service).Value.(*discoveryv1.EndpointSlice).Endpoints {
			hostname := ""
			if e.Hostname != nil {
				hostname = *e.Hostname
			}
			got = append(got, fmt.Sprintf("%s=%s:%t/%t", e.TargetRef.Name, hostname, *e.Conditions.Ready, *e.Conditions.Serving))
		}
		if got := strings.Join(slices.Sorted(slices.Values(got)), " "); got != want {
			t.Errorf("endpoints of %s are %s, want %s", service, got, want)
		}
	}
}
