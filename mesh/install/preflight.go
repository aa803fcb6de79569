package install

import (
	"context"
	"errors"
	"fmt"
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
// missing permissions, another mesh.
func Preflight(ctx context.Context, c *kube.Client, namespace string) error {
	minor, version, err := c.Minor(ctx)
	if err != nil {
		return err
	}
	var errs []error
	if minor < OldestMinor {
		errs = append(errs, fmt.Errorf("%w: it is Kubernetes %s, and 1.%d is the oldest that is supported", ErrCluster, version, OldestMinor))
	}
	missing, err := missingPermissions(ctx, c, namespace)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		errs = append(errs, fmt.Errorf("%w: this account (context %s) has no permission to %s", ErrCluster, c.Context(), strings.Join(missing, ", ")))
		return errors.Join(errs...) // what follows would need them
	}
	other, err := otherMesh(ctx, c, namespace)
	if err != nil {
		return err
	}
	if other != "" {
		errs = append(errs, fmt.Errorf("%w: %s", ErrCluster, other))
	}
	return errors.Join(errs...)
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

// otherMesh tells of a control plane that is not ours, or ours in another namespace:
// their webhooks would both inject.
func otherMesh(ctx context.Context, c *kube.Client, namespace string) (string, error) {
	list, err := c.List(ctx, kube.Resource("apps/v1", "Deployment"), "", "app="+controlPlane)
	if err != nil {
		return "", err
	}
	for _, d := range list {
		switch ours := d.GetLabels()[kube.OwnerLabel] == kube.OwnerValue; {
		case !ours:
			return "another mesh is installed already: " + kube.Name(named(&d, "Deployment")) + " is not windtunnel's; uninstall it first", nil
		case d.GetNamespace() != namespace:
			return "the mesh is installed already, in the namespace " + d.GetNamespace() + "; uninstall it first", nil
		}
	}
	return "", nil
}

// named gives an item of a list its kind.
func named(u *unstructured.Unstructured, kind string) *unstructured.Unstructured {
	if u.GetKind() == "" {
		u.SetKind(kind)
	}
	return u
}
