package cluster

import (
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
)

// serviceType is the annotation of a Gateway that chooses its Service's type.
const serviceType = "networking.istio.io/service-type"

// deployed is what follows from one Gateway of the Gateway API.
type deployed struct {
	from *config.Object
	keys []config.Key
}

// deployGateways does what istiod's deployment controller does: a Gateway of one of
// Istio's classes gets a ServiceAccount, a Service and a Deployment, called NAME-CLASS,
// unless it names the Service that it is served by. They go with it. Objects of these
// names that somebody applied are left alone.
func (c *Cluster) deployGateways() {
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
			c.deployGateway(c.objects[k], name, g)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(c.gateways), compareKeys) {
		if !wanted[k] {
			c.undeploy(c.gateways[k], nil)
			delete(c.gateways, k)
		}
	}
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
func (c *Cluster) deployGateway(from *config.Object, name string, g *gatewayv1.Gateway) {
	before := c.gateways[from.Key()]
	if before == nil {
		before = &deployed{}
	}
	d := &deployed{from: from}
	for _, made := range gatewayObjects(from, name, g, c.o.Inject) {
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
}

// undeploy removes what followed from a Gateway, some of it excepted.
func (c *Cluster) undeploy(d *deployed, except []config.Key) {
	for _, k := range d.keys {
		if !slices.Contains(except, k) {
			delete(c.objects, k)
		}
	}
}

// gatewayObjects are a gateway's as Istio's template for the Gateway API has them: the
// Pods listen where the listeners say, and any port may be opened.
func gatewayObjects(from *config.Object, name string, g *gatewayv1.Gateway, o inject.Options) []inject.Object {
	labels := map[string]string{
		config.GatewayNameLabel:                        from.Name,
		"gateway.networking.k8s.io/gateway-class-name": string(g.Spec.GatewayClassName),
		"gateway.istio.io/managed":                     "istio.io-gateway-controller",
	}
	if g.Spec.Infrastructure != nil {
		for k, v := range g.Spec.Infrastructure.Labels {
			labels[string(k)] = string(v)
		}
	}
	options := inject.GatewayOptions{
		Name: name, Namespace: from.Namespace, Account: name, Labels: labels,
		ServiceType: corev1.ServiceType(g.Annotations[serviceType]),
		Ports: []corev1.ServicePort{{Name: "status-port", Port: inject.HealthPort, TargetPort: intstr.FromInt32(inject.HealthPort),
			Protocol: corev1.ProtocolTCP}},
	}
	if options.ServiceType == "" {
		options.ServiceType = corev1.ServiceTypeLoadBalancer
	}
	known := map[int32]bool{inject.HealthPort: true}
	for _, l := range g.Spec.Listeners {
		if known[l.Port] {
			continue
		}
		known[l.Port] = true
		protocol := strings.ToLower(string(l.Protocol))
		options.Ports = append(options.Ports, corev1.ServicePort{
			Name: string(l.Name), Port: l.Port, TargetPort: intstr.FromInt32(l.Port), Protocol: corev1.ProtocolTCP, AppProtocol: &protocol})
	}
	objects := inject.Gateway(options, o)
	for _, made := range objects {
		// Without container ports a new listener needs no new Pods.
		if d, ok := made.(*appsv1.Deployment); ok {
			d.Spec.Template.Spec.Containers[0].Ports = nil
		}
	}
	return objects
}
