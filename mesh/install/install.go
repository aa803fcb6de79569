package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// fieldOwner is the field manager of what the installer applies.
const fieldOwner = "windtunnel"

// step is the pause between two looks at the cluster.
const step = time.Second

// Installer puts a mesh into a cluster. What was there before of the same names
// becomes what the manifest says.
type Installer struct {
	Client *kube.Client
	// Progress gets a line per step.
	Progress io.Writer
}

func (i Installer) say(format string, args ...any) { fmt.Fprintf(i.Progress, format+"\n", args...) }

// Apply makes the cluster what the manifest says, and removes what an earlier
// installation had and this one has not. It can be interrupted and repeated.
func (i Installer) Apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	keep := make(map[string]bool)
	applied := 0
	for n, o := range objects {
		keep[kube.Name(o)] = true
		if o.GetKind() == "CustomResourceDefinition" || o.GetKind() == "Namespace" {
			foreign, err := i.foreign(ctx, o)
			if err != nil {
				return err
			}
			if foreign {
				i.say("%s is another's: it stays as it is", kube.Name(o))
				continue
			}
		}
		if _, err := i.Client.Apply(ctx, o, fieldOwner); err != nil {
			return err
		}
		applied++
		if last := n+1 == len(objects) || objects[n+1].GetKind() != o.GetKind(); last && o.GetKind() == "CustomResourceDefinition" {
			if err := i.established(ctx, objects); err != nil {
				return err
			}
		}
	}
	i.say("applied %d objects", applied)
	for _, o := range i.found(ctx, componentLabel+"="+component, errIgnored) {
		// Definitions are only removed by Uninstall: people's objects go with them.
		if !keep[kube.Name(o)] && o.GetKind() != "CustomResourceDefinition" {
			if _, err := i.Client.Delete(ctx, o); err != nil {
				return err
			}
			i.say("removed %s, which is no longer wanted", kube.Name(o))
		}
	}
	return nil
}

// foreign tells whether a definition or namespace is there that we did not make: it
// is not changed, and Uninstall leaves it.
func (i Installer) foreign(ctx context.Context, o *unstructured.Unstructured) (bool, error) {
	now, err := i.Client.Get(ctx, kube.Resource(o.GetAPIVersion(), o.GetKind()), "", o.GetName())
	return now != nil && now.GetLabels()[kube.OwnerLabel] != kube.OwnerValue, err
}

// established waits until the API server serves the custom kinds.
func (i Installer) established(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		err := i.until(ctx, func() (string, error) {
			now, err := i.Client.Get(ctx, kube.Resource(o.GetAPIVersion(), o.GetKind()), "", o.GetName())
			if err != nil || now != nil && kube.Condition(now, "Established") {
				return "", err
			}
			return kube.Name(o) + " is not served yet", nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// until asks again and again until there is nothing to wait for. What there is to wait
// for is told when it changes.
func (i Installer) until(ctx context.Context, pending func() (string, error)) error {
	said := ""
	for first := true; ; first = false {
		what, err := pending()
		if err != nil && ctx.Err() == nil {
			return err
		}
		if what == "" && err == nil {
			return nil
		}
		if what != said && !first && what != "" {
			i.say("waiting: %s", what)
			said = what
		}
		select {
		case <-ctx.Done():
			if what == "" {
				what = said
			}
			return fmt.Errorf("%w: %s (%w)", ErrCluster, what, context.Cause(ctx))
		case <-time.After(step):
		}
	}
}

// Wait returns when the control plane and the gateways run and the API server
// trusts the webhooks.
func (i Installer) Wait(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		var pending func() (string, error)
		switch o.GetKind() {
		case "Deployment":
			pending = func() (string, error) { return i.rollout(ctx, o) }
		case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
			pending = func() (string, error) { return i.trusted(ctx, o) }
		default:
			continue
		}
		if err := i.until(ctx, pending); err != nil {
			return err
		}
		i.say("%s is ready", kube.Name(o))
	}
	return nil
}

// rollout tells what a Deployment lacks, with the reason of one of its Pods.
func (i Installer) rollout(ctx context.Context, o *unstructured.Unstructured) (string, error) {
	now, err := i.Client.Get(ctx, kube.Resource(o.GetAPIVersion(), o.GetKind()), o.GetNamespace(), o.GetName())
	if err != nil || now == nil {
		return kube.Name(o) + " is not there", err
	}
	number := func(fields ...string) int64 {
		n, _, _ := unstructured.NestedInt64(now.Object, fields...)
		return n
	}
	want, ready, updated := number("spec", "replicas"), number("status", "availableReplicas"), number("status", "updatedReplicas")
	if number("status", "observedGeneration") >= now.GetGeneration() && updated >= want && ready >= want && number("status", "replicas") == updated {
		return "", nil
	}
	what := fmt.Sprintf("%s has %d of %d Pods available", kube.Name(o), min(ready, updated), want)
	if updated >= want && ready >= want {
		what = kube.Name(o) + " has a Pod left of the version before"
	}
	labels, _, _ := unstructured.NestedStringMap(now.Object, "spec", "selector", "matchLabels")
	pods, err := i.Client.List(ctx, kube.Resource("v1", "Pod"), o.GetNamespace(), selector(labels))
	if err != nil {
		return what, err
	}
	for _, p := range pods {
		if reason := podProblem(&p); reason != "" {
			return what + ": " + p.GetName() + ": " + reason, nil
		}
	}
	return what, nil
}

// podProblem is why a Pod does not run, as far as its status tells.
func podProblem(p *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(p.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "PodScheduled" && m["status"] == "False" {
			return fmt.Sprint(m["message"])
		}
	}
	for _, list := range []string{"initContainerStatuses", "containerStatuses"} {
		statuses, _, _ := unstructured.NestedSlice(p.Object, "status", list)
		for _, s := range statuses {
			m, _ := s.(map[string]any)
			reason, _, _ := unstructured.NestedString(m, "state", "waiting", "reason")
			message, _, _ := unstructured.NestedString(m, "state", "waiting", "message")
			if reason != "" && reason != "ContainerCreating" && reason != "PodInitializing" {
				return fmt.Sprintf("%s %s: %s%s", m["name"], reason, message, lastEnd(m))
			}
		}
	}
	return ""
}

// lastEnd is how a container ended the last time, with the last words of its log where
// it asks for them to be kept; "" where it has not.
func lastEnd(status map[string]any) string {
	for _, at := range []string{"lastState", "state"} {
		end, found, _ := unstructured.NestedMap(status, at, "terminated")
		if !found {
			continue
		}
		text := fmt.Sprintf("; the last time it ended with %v, %v", end["exitCode"], end["reason"])
		if message, _ := end["message"].(string); message != "" {
			text += ": " + strings.TrimSpace(message)
		}
		return text
	}
	return ""
}

// trusted tells whether the control plane has completed a webhook.
func (i Installer) trusted(ctx context.Context, o *unstructured.Unstructured) (string, error) {
	now, err := i.Client.Get(ctx, kube.Resource(o.GetAPIVersion(), o.GetKind()), "", o.GetName())
	if err != nil || now == nil {
		return kube.Name(o) + " is not there", err
	}
	hooks, _, _ := unstructured.NestedSlice(now.Object, "webhooks")
	for _, h := range hooks {
		m, _ := h.(map[string]any)
		if bundle, _, _ := unstructured.NestedString(m, "clientConfig", "caBundle"); bundle == "" {
			return kube.Name(o) + " has no caBundle from the control plane yet", nil
		}
	}
	return "", nil
}

// resources are all kinds of objects that an installation can have, in the order in
// which they are removed: first what reaches into the API server's own work.
var resources = [][2]string{
	{"admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"}, {"admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"},
	{"policy/v1", "PodDisruptionBudget"}, {"apps/v1", "Deployment"}, {"v1", "Service"}, {"v1", "ConfigMap"}, {"v1", "Secret"}, {"coordination.k8s.io/v1", "Lease"},
	{"rbac.authorization.k8s.io/v1", "RoleBinding"}, {"rbac.authorization.k8s.io/v1", "Role"},
	{"rbac.authorization.k8s.io/v1", "ClusterRoleBinding"}, {"rbac.authorization.k8s.io/v1", "ClusterRole"},
	{"v1", "ServiceAccount"}, {"gateway.networking.k8s.io/v1", "GatewayClass"}, {"apiextensions.k8s.io/v1", "CustomResourceDefinition"}, {"v1", "Namespace"},
}

// errIgnored is for a search whose gaps do no harm.
var errIgnored = func(error) {}

// found lists what labels select of an installation's kinds.
func (i Installer) found(ctx context.Context, labels string, failed func(error)) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, r := range resources {
		list, err := i.Client.List(ctx, kube.Resource(r[0], r[1]), "", labels)
		if err != nil {
			failed(err)
		}
		for n := range list {
			list[n].SetAPIVersion(r[0])
			list[n].SetKind(r[1])
			all = append(all, &list[n])
		}
	}
	return all
}

// InUse are the objects of the custom kinds that people have made, by their names;
// they go with the definitions.
func (i Installer) InUse(ctx context.Context) ([]string, error) {
	var names []string
	for _, k := range kube.Kinds() {
		if !k.Custom {
			continue
		}
		if ours, err := i.defined(ctx, k); err != nil {
			return nil, err
		} else if !ours {
			continue // they stay, and so does their definition
		}
		list, err := i.Client.List(ctx, k.Resource(k.Versions[0]), "", "")
		if err != nil {
			return nil, err
		}
		for _, o := range list {
			if o.GetLabels()[kube.OwnerLabel] == kube.OwnerValue {
				continue // the control plane made it
			}
			names = append(names, k.Name+" "+o.GetNamespace()+"/"+o.GetName())
		}
	}
	slices.Sort(names)
	return names, nil
}

// defined tells whether a kind's definition is there, and is ours.
func (i Installer) defined(ctx context.Context, k kube.Kind) (bool, error) {
	now, err := i.Client.Get(ctx, kube.Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition"), "", k.Plural()+"."+k.Group)
	return now != nil && now.GetLabels()[kube.OwnerLabel] == kube.OwnerValue, err
}

// Uninstall removes everything that the installer and its control plane have made, in
// all namespaces, and waits until it is gone. The definitions stay where that is
// wanted. It returns how much there was.
func (i Installer) Uninstall(ctx context.Context, keepDefinitions bool) (int, error) {
	var problems []error
	all := i.found(ctx, kube.OwnerLabel+"="+kube.OwnerValue, func(err error) { problems = append(problems, err) })
	if err := errors.Join(problems...); err != nil {
		return 0, err
	}
	all = slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool {
		return keepDefinitions && o.GetKind() == "CustomResourceDefinition"
	})
	controlPlaneFirst(all)
	for n, o := range all {
		if _, err := i.Client.Delete(ctx, o); err != nil {
			return n, err
		}
		// The control plane would make its ConfigMaps and Gateways' Deployments again.
		if o.GetKind() == "Deployment" && o.GetName() == controlPlane {
			if err := i.noPods(ctx, o.GetNamespace()); err != nil {
				return n, err
			}
		}
	}
	i.say("removed %d objects", len(all))
	err := i.until(ctx, func() (string, error) {
		for _, o := range slices.Backward(all) {
			now, err := i.Client.Get(ctx, kube.Resource(o.GetAPIVersion(), o.GetKind()), o.GetNamespace(), o.GetName())
			if err != nil {
				return "", err
			}
			if now != nil && now.GetUID() == o.GetUID() {
				return kube.Name(o) + " is being removed", nil
			}
		}
		return "", nil
	})
	return len(all), err
}

// controlPlaneFirst puts the control plane's Deployment before all other Deployments.
func controlPlaneFirst(all []*unstructured.Unstructured) {
	first := slices.IndexFunc(all, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Deployment" })
	for n, o := range all {
		if o.GetKind() == "Deployment" && o.GetName() == controlPlane {
			copy(all[first+1:n+1], all[first:n])
			all[first] = o
			first++
		}
	}
}

// noPods waits until the control plane of a namespace has ended.
func (i Installer) noPods(ctx context.Context, namespace string) error {
	return i.until(ctx, func() (string, error) {
		pods, err := i.Client.List(ctx, kube.Resource("v1", "Pod"), namespace, "app="+controlPlane)
		if err != nil || len(pods) == 0 {
			return "", err
		}
		return "the control plane is ending", nil
	})
}

func selector(labels map[string]string) string {
	var parts []string
	for k, v := range labels {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}
