package kube

import (
	"context"
	"log/slog"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windtunnel-mesh/windtunnel/mesh/kube/kubetest"
)

func TestOneLeads(t *testing.T) {
	api := kubetest.New(t, nil)
	client, err := Connect(ClientOptions{Kubeconfig: api.Kubeconfig(), Agent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	of := func(identity string) LeaseOptions {
		return LeaseOptions{Namespace: "istio-system", Name: "leader", Identity: identity, Logger: slog.New(slog.DiscardHandler)}
	}
	holder := func() string {
		name, _, _ := unstructured.NestedString(api.Get("/apis/coordination.k8s.io/v1/namespaces/istio-system/leases/leader").Object, "spec", "holderIdentity")
		return name
	}
	ctx, end := context.WithCancel(t.Context())
	leads, ended := make(chan bool), make(chan bool)
	go func() {
		client.Lead(ctx, of("a"), func(ctx context.Context) {
			leads <- true
			<-ctx.Done()
			if holder() != "a" {
				t.Error("the lease was given back while its work was not done")
			}
		})
		close(ended)
	}()
	<-leads
	b := &lease{client: client, o: of("b")}
	if held, err := b.take(t.Context(), "b"); held || err != nil {
		t.Errorf("two have it: %v", err)
	}
	end()
	<-ended
	if name := holder(); name != "" {
		t.Errorf("%s has ended and keeps it", name)
	}
	if held, err := b.take(t.Context(), "b"); !held || err != nil || holder() != "b" {
		t.Errorf("b cannot have what nobody has: %v", err)
	}
	a := &lease{client: client, o: of("a")}
	if held, _ := a.take(t.Context(), "a"); held {
		t.Error("b has it")
	}
	a.since = a.since.Add(-leaseDuration) // b has said nothing for so long
	if held, err := a.take(t.Context(), "a"); !held || err != nil {
		t.Errorf("b is gone: %v", err)
	}
	if held, err := b.take(t.Context(), "b"); held || err != nil {
		t.Errorf("b has heard of it: %v", err)
	}
}
