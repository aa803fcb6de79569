package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Forward opens a port of 127.0.0.1 that leads to a port of a Pod, its localhost
// included, until the context ends. It returns the address.
func (c *Client) Forward(ctx context.Context, namespace, pod string, port int) (string, error) {
	doing := fmt.Sprintf("reach port %d of the Pod %s/%s", port, namespace, pod)
	forwarder, ready, err := c.forwarder(ctx, namespace, pod, port)
	if err != nil {
		return "", c.Explain(doing, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		if err == nil {
			err = errors.New("the connection ended")
		}
		return "", c.Explain(doing, err)
	case <-ctx.Done():
		return "", c.Explain(doing, context.Cause(ctx))
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return "", c.Explain(doing, err)
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0].Local), nil
}

// LogOptions choose lines of a container's log.
type LogOptions struct {
	Namespace, Pod, Container string
	Since                     time.Time // zero: from the beginning
	Follow                    bool      // until the container ends, or the context
	Previous                  bool      // of the container before the last restart
}

// Log reads a container's log.
func (c *Client) Log(ctx context.Context, o LogOptions) (io.ReadCloser, error) {
	request := c.rest.Get().AbsPath("/api/v1/namespaces", o.Namespace, "pods", o.Pod, "log").Param("container", o.Container)
	if o.Follow {
		request = request.Param("follow", "true")
	}
	if o.Previous {
		request = request.Param("previous", "true")
	}
	if !o.Since.IsZero() {
		request = request.Param("sinceTime", o.Since.UTC().Format(time.RFC3339))
	}
	body, err := request.Stream(ctx)
	return body, c.Explain(fmt.Sprintf("read the log of %s in the Pod %s/%s", o.Container, o.Namespace, o.Pod), err)
}

// Merge changes an object by a JSON merge patch (RFC 7386); subresource is "" for the
// object itself.
func (c *Client) Merge(ctx context.Context, apiVersion, kind, namespace, name string, patch []byte, subresource string) error {
	var sub []string
	if subresource != "" {
		sub = append(sub, subresource)
	}
	_, err := c.dynamic.Resource(Resource(apiVersion, kind)).Namespace(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, sub...)
	return c.Explain(fmt.Sprintf("patch %s %s/%s", kind, namespace, name), err)
}

// Kill deletes Pods that labels select, or one by its name, without a grace period.
func (c *Client) Kill(ctx context.Context, namespace, name, labels string) error {
	now := int64(0)
	pods := c.dynamic.Resource(Resource("v1", "Pod")).Namespace(namespace)
	o := metav1.DeleteOptions{GracePeriodSeconds: &now}
	if name != "" {
		return c.Explain("kill the Pod "+namespace+"/"+name, pods.Delete(ctx, name, o))
	}
	return c.Explain("kill the Pods in "+namespace, pods.DeleteCollection(ctx, o, metav1.ListOptions{LabelSelector: labels}))
}
