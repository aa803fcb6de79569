package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// OldestMinor is the first Kubernetes 1.y that an installation is made for: older
// ones are out of support, and nobody has tried.
const OldestMinor = 29

// ErrCluster says that the cluster cannot take the installation, or has lost it.
var ErrCluster = errors.New("the cluster cannot have this mesh")

// may are what the installer has to be allowed to do, by one kind of each sort.
var may = []struct{ verb, group, resource, namespace string }{
	{"create", "", "namespaces", ""},
	{"patch", "apiextensions.k8s.io", "customresourcedefinitions", ""},
	{"patch", "rbac.authorization.k8s.io", "clusterroles", ""},
	{"patch", "rbac.authorization.k8s.io", "clusterrolebindings", ""},
	{"patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", ""},
	{"patch", "admissionregistration.k8s.io", "validatingwebhookconfigurations", ""},
	{"patch", "apps", "deployments", "own"},
	{"patch", "", "services", "own"},
	{"patch", "", "configmaps", "own"},
}

// Preflight tells everything that stands against an installation: an old Kubernetes,
// missing permissions, another mesh. Warnings are of what may go wrong later. With
// force, an old Kubernetes and another mesh are warnings too, unless objects of the
// other would be overwritten.
func Preflight(ctx context.Context, c *kube.Client, s Settings, force bool) (warnings []string, err error) {
	minor, version, err := c.Minor(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	object := func(may bool, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); may && force {
			warnings = append(warnings, text)
		} else {
			if may {
				text += ", or go on with --force"
			}
			errs = append(errs, fmt.Errorf("%w: %s", ErrCluster, text))
		}
	}
	if minor < OldestMinor {
		object(true, "it is Kubernetes %s, and 1.%d is the oldest that is supported: upgrade it", version, OldestMinor)
	}
	missing, err := missingPermissions(ctx, c, s.Namespace)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		object(false, "this account (context %s) has no permission to %s", c.Context(), strings.Join(missing, ", "))
		return warnings, errors.Join(errs...) // what follows would need them
	}
	objects, err := Manifest(s)
	if err != nil {
		return nil, err
	}
	others, err := otherMeshes(ctx, c, s.Namespace)
	if err != nil {
		return nil, err
	}
	for _, o := range others {
		object(!o.overwritten(objects), "%s", o.text)
	}
	return append(warnings, tooLittleMemory(ctx, c, s.Namespace, objects)...), errors.Join(errs...)
}

func missingPermissions(ctx context.Context, c *kube.Client, own string) ([]string, error) {
	var missing []string
	for _, m := range may {
		attributes := map[string]any{"verb": m.verb, "group": m.group, "resource": m.resource}
		text := m.verb + " " + m.resource
		if m.namespace != "" {
			attributes["namespace"] = own
			text += " in " + own
		}
		answer, err := c.Review(ctx, "authorization.k8s.io/v1", "SelfSubjectAccessReview", map[string]any{"resourceAttributes": attributes})
		if err != nil {
			return nil, err
		}
		if ok, _, _ := unstructured.NestedBool(answer.Object, "status", "allowed"); !ok {
			missing = append(missing, text)
		}
	}
	return missing, nil
}

// other is an object of a mesh that is not this one.
type other struct {
	object *unstructured.Unstructured
	text   string
}

// overwritten tells whether an installation has an object in the same place.
func (o other) overwritten(objects []*unstructured.Unstructured) bool {
	return slices.ContainsFunc(objects, func(m *unstructured.Unstructured) bool { return kube.Name(m) == kube.Name(o.object) })
}

// otherMeshes are control planes that are not ours, or ours in another namespace: their
// webhooks would both inject. Webhooks may also be what is left of a mesh whose control
// plane is gone: nobody answers them, and they keep Pods from being made.
func otherMeshes(ctx context.Context, c *kube.Client, namespace string) ([]other, error) {
	list, err := c.List(ctx, kube.Resource("apps/v1", "Deployment"), "", "app="+controlPlane)
	if err != nil {
		return nil, err
	}
	var found []other
	for i := range list {
		d := named(&list[i], "Deployment")
		switch ours := d.GetLabels()[kube.OwnerLabel] == kube.OwnerValue; {
		case !ours:
			found = append(found, other{d, "another mesh is installed already: " + kube.Name(d) + " is not windtunnel's: uninstall it first"})
		case d.GetNamespace() != namespace:
			found = append(found, other{d, "the mesh is installed already, in the namespace " + d.GetNamespace() + ": uninstall it first"})
		}
	}
	if len(found) > 0 {
		return found, nil // their webhooks are no news
	}
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		list, err := c.List(ctx, kube.Resource("admissionregistration.k8s.io/v1", kind), "", "")
		if err != nil {
			return nil, err
		}
		for i := range list {
			u := named(&list[i], kind)
			if hook := meshHook(u); hook != "" && u.GetLabels()[kube.OwnerLabel] != kube.OwnerValue {
				found = append(found, other{u, fmt.Sprintf("another mesh has a webhook here: %s has %s, and is not windtunnel's: uninstall that mesh first; where it is gone, kubectl delete %s %s",
					kube.Name(u), hook, strings.ToLower(kind), u.GetName())})
			}
		}
	}
	return found, nil
}

// meshHooks end the names of the webhooks of Istio and Linkerd.
var meshHooks = []string{"sidecar-injector.istio.io", "validation.istio.io", "linkerd-proxy-injector.linkerd.io"}

// meshHook is the first webhook of a configuration that is of a mesh; "" where none is.
func meshHook(u *unstructured.Unstructured) string {
	hooks, _, _ := unstructured.NestedSlice(u.Object, "webhooks")
	for _, h := range hooks {
		m, _ := h.(map[string]any)
		name, _ := m["name"].(string)
		if slices.ContainsFunc(meshHooks, func(end string) bool { return strings.HasSuffix(name, end) }) {
			return name
		}
	}
	return ""
}

// named gives an item of a list its kind.
func named(u *unstructured.Unstructured, kind string) *unstructured.Unstructured {
	if u.GetKind() == "" {
		u.SetKind(kind)
	}
	return u
}
