package cluster

import (
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
)

// deployed is what follows from one Gateway of the Gateway API.
type deployed struct {
	from *config.Object
	keys []config.Key
}

// deployGateways does what istiod's deployment controller does: a Gateway of one of
// Istio's classes gets a ServiceAccount, a Service and a Deployment, called NAME-CLASS,
// unless it names the Service that it is served by. They go with it. Objects of these
// names that somebody applied are left alone.
func (c *Cluster) deployGateways() error {
	wanted := map[config.Key]bool{}
	for _, k := range c.keys("Gateway") {
		g, ok := c.objects[k].Value.(*gatewayv1.Gateway)
		if !ok || !c.serves(g) {
			continue
		}
		name, made := config.GatewayService(k.Name, g)
		if !made {
			continue
		}
		wanted[k] = true
		if d := c.gateways[k]; d == nil || d.from != c.objects[k] {
			if err := c.deployGateway(c.objects[k], name, g); err != nil {
				return fmt.Errorf("deploy %s: %w", k, err)
			}
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(c.gateways), compareKeys) {
		if !wanted[k] {
			c.undeploy(c.gateways[k], nil)
			delete(c.gateways, k)
		}
	}
	return nil
}

func (c *Cluster) serves(g *gatewayv1.Gateway) bool {
	class := string(g.Spec.GatewayClassName)
	var defined *gatewayv1.GatewayClass
	if o := c.objects[config.Key{Group: "gateway.networking.k8s.io", Kind: "GatewayClass", Name: class}]; o != nil {
		defined, _ = o.Value.(*gatewayv1.GatewayClass)
	}
	return config.GatewayClassOurs(class, defined)
}

// deployGateway makes or changes what follows from a Gateway. Replicas stay as scaled.
func (c *Cluster) deployGateway(from *config.Object, name string, g *gatewayv1.Gateway) error {
	objects, problems := inject.GatewayAPI(g, from.Name, from.Namespace, name, c.o.Inject)
	if len(problems) > 0 {
		return problems
	}
	before := c.gateways[from.Key()]
	if before == nil {
		before = &deployed{}
	}
	d := &deployed{from: from}
	for _, made := range objects {
		kind := made.GetObjectKind().GroupVersionKind()
		o := derived(kind.Kind, kind.Group, kind.Version, made.GetNamespace(), made.GetName(), made)
		old := c.objects[o.Key()]
		if old != nil && !slices.Contains(before.keys, o.Key()) {
			continue
		}
		if now, ok := made.(*appsv1.Deployment); ok && old != nil {
			now.Spec.Replicas = old.Value.(*appsv1.Deployment).Spec.Replicas
		}
		c.objects[o.Key()] = o
		d.keys = append(d.keys, o.Key())
	}
	c.undeploy(before, d.keys)
	c.gateways[from.Key()] = d
	return nil
}

// undeploy removes what followed from a Gateway, some of it excepted.
func (c *Cluster) undeploy(d *deployed, except []config.Key) {
	for _, k := range d.keys {
		if !slices.Contains(except, k) {
			delete(c.objects, k)
		}
	}
}
