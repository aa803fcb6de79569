package live

import (
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// What an API server does not take stands where its field does, and where it names none at
// the object.
func TestPlaceOfARejectedField(t *testing.T) {
	objects, found := config.Decode("app.yaml", 1, []byte("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\nspec:\n  replicas: 1\n  selector:\n    matchLabels: {app: v2}\n  template:\n    metadata: {labels: {app: v2}}\n    spec: {containers: [{name: app, image: app}]}\n"))
	if len(objects) != 1 {
		t.Fatal(found)
	}
	invalid := func(path *field.Path) error {
		return apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "app", field.ErrorList{field.Invalid(path, "v2", "field is immutable")})
	}
	for _, c := range []struct {
		err     error
		written *config.Object
		want    string
	}{
		{invalid(field.NewPath("spec", "selector")), objects[0], "app.yaml:6:3"},
		{fmt.Errorf("apply: %w", invalid(field.NewPath("spec", "selector", "matchLabels"))), objects[0], "app.yaml:7:18"},
		{invalid(field.NewPath("spec", "selector")), nil, "app.yaml:1"},
		{apierrors.NewForbidden(schema.GroupResource{}, "app", nil), objects[0], "app.yaml:1"},
	} {
		if got := placeOf(c.err, &warned{position: "app.yaml:1", written: c.written}); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}
