package incluster

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
)

// owner is the field manager of what the control plane writes.
const owner = "istiod"

// rootKeyOf is the key under which Pods find the roots.
const rootKeyOf = "root-cert.pem"

// retry is the pause after a write that failed.
const retry = 5 * time.Second

// publisher keeps the CA's roots where others look for them: in a ConfigMap of every
// namespace, for proxies, and in the webhooks' configurations, for the API server.
// Several control planes write the same, so that none has to be the leader.
type publisher struct {
	client *kube.Client
	ca     *identity.CA
	logger *slog.Logger
	// namespace of the control plane: it tells the names of our webhooks
	namespace string
}

func (p *publisher) run(ctx context.Context) {
	logger := p.logger
	namespaces := p.client.Watch(ctx, kube.Resource("v1", "Namespace"), "", "", logger)
	maps := p.client.Watch(ctx, kube.Resource("v1", "ConfigMap"), "", "metadata.name="+inject.RootConfigMap, logger)
	failed := func(err error) { logger.Error("publish the root certificate", "error", err) }
	var wait sync.WaitGroup
	wait.Go(func() {
		p.follow(ctx, func(ctx context.Context) error { return p.roots(ctx, namespaces, maps) }, failed, namespaces, maps)
	})
	mutating, validating := WebhookNames(p.namespace)
	for kind, name := range map[string]string{"MutatingWebhookConfiguration": mutating, "ValidatingWebhookConfiguration": validating} {
		hooks := p.client.Watch(ctx, kube.Resource("admissionregistration.k8s.io/v1", kind), "", "metadata.name="+name, logger)
		wait.Go(func() {
			p.follow(ctx, func(ctx context.Context) error { return p.bundles(ctx, hooks) }, failed, hooks)
		})
	}
	wait.Wait()
}

// follow calls f whenever a mirror or the CA's roots change.
func (p *publisher) follow(ctx context.Context, f func(context.Context) error, failed func(error), mirrors ...*kube.Mirror) {
	for ctx.Err() == nil {
		changed := p.ca.Changed()
		round, stop := context.WithCancel(ctx)
		go func() {
			select {
			case <-changed:
				stop()
			case <-round.Done():
			}
		}()
		kube.Follow(round, retry, f, failed, mirrors...)
		stop()
	}
}

// roots writes the ConfigMaps that are missing or differ.
func (p *publisher) roots(ctx context.Context, namespaces, maps *kube.Mirror) error {
	want := string(p.ca.RootPEM())
	all, _, _ := namespaces.State()
	var errs []error
	for _, ns := range all {
		if phase, _, _ := unstructured.NestedString(ns.Object, "status", "phase"); phase == "Terminating" {
			continue
		}
		if found := maps.Get(ns.GetName(), inject.RootConfigMap); found != nil {
			if has, _, _ := unstructured.NestedString(found.Object, "data", rootKeyOf); has == want {
				continue
			}
		}
		_, err := p.client.Apply(ctx, rootMap(ns.GetName(), want), owner)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func rootMap(namespace, roots string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": inject.RootConfigMap, "namespace": namespace,
			"labels": map[string]any{kube.OwnerLabel: kube.OwnerValue, "istio.io/config": "true"}},
		"data": map[string]any{rootKeyOf: roots},
	}}
}

// bundles makes the API server trust the certificates of our webhooks.
func (p *publisher) bundles(ctx context.Context, hooks *kube.Mirror) error {
	want := base64.StdEncoding.EncodeToString(p.ca.RootPEM())
	all, _, _ := hooks.State()
	var errs []error
	for _, u := range all {
		list, _, _ := unstructured.NestedSlice(u.Object, "webhooks")
		var steps []map[string]any
		for i, hook := range list {
			m, _ := hook.(map[string]any)
			if has, _, _ := unstructured.NestedString(m, "clientConfig", "caBundle"); has != want {
				// The test keeps the bundle from a webhook that took another's place meanwhile.
				steps = append(steps,
					map[string]any{"op": "test", "path": fmt.Sprintf("/webhooks/%d/name", i), "value": m["name"]},
					map[string]any{"op": "add", "path": fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), "value": want})
			}
		}
		if len(steps) > 0 {
			errs = append(errs, p.client.Patch(ctx, u, steps))
		}
	}
	return errors.Join(errs...)
}
