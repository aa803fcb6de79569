package kube

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// Resource returns where objects of an apiVersion and kind are.
func Resource(apiVersion, kind string) schema.GroupVersionResource {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		gv = schema.GroupVersion{Version: apiVersion}
	}
	return gv.WithResource(Plural(kind))
}

func (c *Client) on(u *unstructured.Unstructured) dynamic.ResourceInterface {
	resource := c.dynamic.Resource(Resource(u.GetAPIVersion(), u.GetKind()))
	if u.GetNamespace() == "" {
		return resource
	}
	return resource.Namespace(u.GetNamespace())
}

// Name is how messages call an object: "Deployment istio-system/istiod".
func Name(u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return u.GetKind() + " " + u.GetName()
	}
	return u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
}

// Get returns an object, nil where it is not there.
func (c *Client) Get(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	u, err := c.dynamic.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.Explain(fmt.Sprintf("read %s %s", resource.Resource, name), err)
	}
	return u, nil
}

// List returns the objects of a resource that labels select; none where the cluster
// does not know the resource.
func (c *Client) List(ctx context.Context, resource schema.GroupVersionResource, namespace, labels string) ([]unstructured.Unstructured, error) {
	list, err := c.dynamic.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.Explain("list "+resource.Resource, err)
	}
	return list.Items, nil
}

// Apply makes the object what is given, by server-side apply as an owner: fields of
// others stay theirs, those that both want become the owner's.
func (c *Client) Apply(ctx context.Context, u *unstructured.Unstructured, owner string) (*unstructured.Unstructured, error) {
	now, err := c.on(u).Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: owner, Force: true})
	return now, c.Explain("apply "+Name(u), err)
}

// ApplyStatus is Apply to the object's status, which has to be there. What else is
// given does not count.
func (c *Client) ApplyStatus(ctx context.Context, u *unstructured.Unstructured, owner string) error {
	_, err := c.on(u).ApplyStatus(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: owner, Force: true})
	return c.Explain("write the status of "+Name(u), err)
}

// Try is Apply without the effect: what the server and its webhooks say of it now.
func (c *Client) Try(ctx context.Context, u *unstructured.Unstructured, owner string) error {
	_, err := c.on(u).Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: owner, Force: true, DryRun: []string{metav1.DryRunAll}})
	return c.Explain("try "+Name(u), err)
}

// Create makes an object that must not be there yet; made tells whether it was not.
func (c *Client) Create(ctx context.Context, u *unstructured.Unstructured) (made bool, err error) {
	_, err = c.on(u).Create(ctx, u, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	return err == nil, c.Explain("create "+Name(u), err)
}

// Patch changes an object by the steps of a JSON patch (RFC 6902).
func (c *Client) Patch(ctx context.Context, u *unstructured.Unstructured, steps any) error {
	text, err := json.Marshal(steps)
	if err != nil {
		return err
	}
	_, err = c.on(u).Patch(ctx, u.GetName(), types.JSONPatchType, text, metav1.PatchOptions{})
	return c.Explain("patch "+Name(u), err)
}

// Delete removes an object and, in the background, what it owns; removed tells
// whether it was there.
func (c *Client) Delete(ctx context.Context, u *unstructured.Unstructured) (removed bool, err error) {
	background := metav1.DeletePropagationBackground
	err = c.on(u).Delete(ctx, u.GetName(), metav1.DeleteOptions{PropagationPolicy: &background})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, c.Explain("delete "+Name(u), err)
}

// Review asks the API server to answer a question: a TokenReview, a
// SelfSubjectAccessReview. It returns the answer.
func (c *Client) Review(ctx context.Context, apiVersion, kind string, spec map[string]any) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "spec": spec}}
	answer, err := c.dynamic.Resource(Resource(apiVersion, kind)).Create(ctx, u, metav1.CreateOptions{})
	return answer, c.Explain("ask for a "+kind, err)
}

// OwnerLabel marks what windtunnel has made; uninstall removes nothing else.
const (
	OwnerLabel = "app.kubernetes.io/managed-by"
	OwnerValue = "windtunnel"
)

// Into reads an object into a typed one.
func Into(u *unstructured.Unstructured, value any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, value); err != nil {
		return fmt.Errorf("%s cannot be read: %w", Name(u), err)
	}
	return nil
}

// From makes an object of a typed one, which must know its kind. What is empty
// because nobody set it is left out: an applied status or time of creation would be
// claimed.
func From(value any) (*unstructured.Unstructured, error) {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(value)
	if err != nil {
		return nil, err
	}
	unstructured.RemoveNestedField(object, "status")
	unstructured.RemoveNestedField(object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(object, "spec", "template", "metadata", "creationTimestamp")
	return &unstructured.Unstructured{Object: object}, nil
}
