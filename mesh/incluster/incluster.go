// Package incluster makes a control plane at home in a Kubernetes cluster: where its
// configuration comes from, who its callers are, where its authority is kept, and
// whom it tells the root certificate.
//
// In: a kubeconfig or the Pod's account, the installation's names. Out: what meshd
// takes for its place (meshd.Place). It must not import xds, the data plane or the
// simulator.
package incluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	meshpb "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/kube"
	"github.com/windtunnel-mesh/windtunnel/mesh/meshd"
)

// GatewayLease is whose holder deploys Gateways, and writes into the status of objects.
const GatewayLease = "istio-gateway-status-leader"

// identityOf tells this control plane from others: a Pod's host name is its own.
func identityOf() string {
	name, err := os.Hostname()
	if err != nil {
		return rand.Text()
	}
	return name
}

// MeshConfigMap has the mesh configuration, as YAML under the key "mesh".
const MeshConfigMap = "istio"

// Open connects to a cluster and returns when its objects have been read and the
// authority is there. What it starts ends with the context.
func Open(ctx context.Context, o meshd.PlaceOptions) (*meshd.Place, error) {
	client, err := kube.Connect(kube.ClientOptions{Kubeconfig: o.Kubeconfig, Context: o.Context, InCluster: o.Kubeconfig == "", Agent: "meshd"})
	if err != nil {
		return nil, err
	}
	if _, version, err := client.Minor(ctx); err != nil {
		return nil, err
	} else {
		o.Logger.Info("cluster", "host", client.Host(), "version", version)
	}
	mesh, err := meshConfig(ctx, client, o)
	if err != nil {
		return nil, err
	}
	ca, err := authority(ctx, client, o.Namespace, mesh.GetTrustDomain())
	if err != nil {
		return nil, err
	}
	source := kube.NewSource(ctx, client, kube.SourceOptions{Logger: o.Logger, OnDiagnostics: o.OnDiagnostics})
	select {
	case <-source.Synced():
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	p := &publisher{client: client, ca: ca, logger: o.Logger, namespace: o.Namespace}
	go p.run(ctx)
	meshes := make(chan *meshpb.MeshConfig)
	current := &atomic.Pointer[meshpb.MeshConfig]{}
	current.Store(mesh)
	var ended chan struct{}
	if o.Inject.ProxyImage != "" {
		ended = make(chan struct{})
		g := &gateways{client: client, source: source, inject: o.Inject, mesh: current.Load, logger: o.Logger}
		go func() {
			defer close(ended)
			client.Lead(ctx, kube.LeaseOptions{Namespace: o.Namespace, Name: GatewayLease, Identity: identityOf(), Logger: o.Logger}, g.run)
		}()
	}
	go followMeshConfig(ctx, client, o, current, meshes)
	return &meshd.Place{
		Source: source, MeshConfig: mesh, MeshConfigs: meshes, CA: ca,
		Authenticator: identity.AnyOf(tokenReviewer{client}, identity.PeerAuthenticator{}), Ended: ended,
	}, nil
}

// The names of the webhooks' configurations, as Istio has them in istio-system.
const (
	injectorName  = "istio-sidecar-injector"
	validatorName = "istio-validator"
)

// WebhookNames are the names of the mutating and of the validating webhook's
// configuration. They have the namespace where it is not istio-system: configurations
// belong to the whole cluster.
func WebhookNames(namespace string) (mutating, validating string) {
	if namespace == "istio-system" {
		return injectorName, validatorName + "-" + namespace
	}
	return injectorName + "-" + namespace, validatorName + "-" + namespace
}

// meshConfig reads the mesh configuration; Istio's defaults where there is none.
func meshConfig(ctx context.Context, c *kube.Client, o meshd.PlaceOptions) (*meshpb.MeshConfig, error) {
	found, err := c.Get(ctx, kube.Resource("v1", "ConfigMap"), o.Namespace, MeshConfigMap)
	if err != nil || found == nil {
		return config.DefaultMeshConfig(), err
	}
	var m corev1.ConfigMap
	if err := kube.Into(found, &m); err != nil {
		return nil, err
	}
	return decodeMeshConfig(&m, o.OnDiagnostics)
}

func decodeMeshConfig(m *corev1.ConfigMap, findings func([]config.Diagnostic)) (*meshpb.MeshConfig, error) {
	mesh, found := config.DecodeMeshConfig("ConfigMap/"+m.Namespace+"/"+m.Name+"/mesh", 1, []byte(m.Data["mesh"]))
	if len(found) > 0 && findings != nil {
		findings(found)
	}
	if mesh == nil {
		return nil, fmt.Errorf("the mesh configuration in the ConfigMap %s/%s cannot be used", m.Namespace, m.Name)
	}
	return mesh, nil
}

// followMeshConfig hands on mesh configurations that are written later. One with a
// mistake leaves the last good one in force, and so does one that is deleted.
func followMeshConfig(ctx context.Context, c *kube.Client, o meshd.PlaceOptions, last *atomic.Pointer[meshpb.MeshConfig], to chan<- *meshpb.MeshConfig) {
	mirror := c.Watch(ctx, kube.Resource("v1", "ConfigMap"), o.Namespace, "metadata.name="+MeshConfigMap, o.Logger)
	failed := func(err error) { o.Logger.Error("mesh configuration", "error", err) }
	text := ""
	kube.Follow(ctx, retry, func(ctx context.Context) error {
		found := mirror.Get(o.Namespace, MeshConfigMap)
		if found == nil {
			return nil
		}
		var m corev1.ConfigMap
		if err := kube.Into(found, &m); err != nil {
			return err
		}
		if m.Data["mesh"] == text {
			return nil
		}
		text = m.Data["mesh"]
		mesh, err := decodeMeshConfig(&m, o.OnDiagnostics)
		if err != nil {
			failed(err)
			return nil
		}
		if proto.Equal(mesh, last.Load()) {
			return nil
		}
		last.Store(mesh)
		select {
		case to <- mesh:
		case <-ctx.Done():
		}
		return nil
	}, failed, mirror)
}
