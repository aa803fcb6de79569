package meshd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/pflag"
	meshpb "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/identity"
	"github.com/windtunnel-mesh/windtunnel/mesh/inject"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
)

// Place is what a Kubernetes cluster gives to a control plane that lives in it.
type Place struct {
	Source        store.Source
	MeshConfig    *meshpb.MeshConfig
	MeshConfigs   <-chan *meshpb.MeshConfig
	CA            *identity.CA
	Authenticator identity.Authenticator
	// Ended is closed when, after the context's end, everything in the cluster has been
	// given back; nil: there is nothing.
	Ended <-chan struct{}
}

// PlaceOptions tell which cluster.
type PlaceOptions struct {
	Kubeconfig string // "": that of the Pod that this process runs in
	Context    string
	Namespace  string // of the control plane
	// Inject has the proxies of Gateways that are deployed; without an image none are.
	Inject inject.Options

	Logger *slog.Logger
	// OnDiagnostics gets what is wrong with an object or mesh configuration when it
	// is read.
	OnDiagnostics func([]config.Diagnostic)
}

// OpenPlace connects to a cluster; package incluster has it.
type OpenPlace func(context.Context, PlaceOptions) (*Place, error)

// onlyFolder are the flags that a cluster answers itself.
var onlyFolder = []string{"mesh-config", "trust-domain", "token-auth-file"}

// place sets up the control plane of a cluster.
func (c *flags) place(ctx context.Context, f *pflag.FlagSet, open OpenPlace, o *Options) error {
	for _, name := range onlyFolder {
		if f.Changed(name) {
			return fmt.Errorf("--%s is for --config; in a cluster it is the ConfigMap istio and the API server that tell", name)
		}
	}
	o.OnDiagnostics = named(o.OnDiagnostics)
	c.cluster.Logger, c.cluster.OnDiagnostics = o.Logger, o.OnDiagnostics
	o.OnDiagnostics = onlyChanges(o.OnDiagnostics)
	if c.image != "" {
		c.cluster.Inject = inject.Options{ProxyImage: c.image, ImagePullPolicy: corev1.PullPolicy(c.imagePull), SystemNamespace: c.cluster.Namespace}
	}
	p, err := open(ctx, c.cluster)
	if err != nil {
		return err
	}
	c.ended = p.Ended
	o.Source, o.MeshConfig, o.MeshConfigs, o.CA, o.Authenticator = p.Source, p.MeshConfig, p.MeshConfigs, p.CA, p.Authenticator
	o.Namespace, o.WebhookAddr, o.Cluster = c.cluster.Namespace, c.webhooks, true
	if c.image != "" {
		inject := c.cluster.Inject.Under(p.MeshConfig)
		o.Inject = &inject
	}
	if c.rootOut != "" {
		return os.WriteFile(c.rootOut, o.CA.RootPEM(), 0o644)
	}
	return nil
}

// named puts the object's name where others have the name of a file: what a cluster
// has comes from none.
func named(tell func([]config.Diagnostic)) func([]config.Diagnostic) {
	return func(ds []config.Diagnostic) {
		ds = slices.DeleteFunc(slices.Clone(ds), func(d config.Diagnostic) bool { return d.Severity == config.Info })
		for i := range ds {
			if ds[i].Position.File == "" {
				ds[i].Position.File = ds[i].Object.String()
			}
		}
		tell(ds)
	}
}

// onlyChanges tells findings when they differ from the last: a cluster changes all
// the time, and what is wrong with it stays.
func onlyChanges(tell func([]config.Diagnostic)) func([]config.Diagnostic) {
	var last []config.Diagnostic
	return func(now []config.Diagnostic) {
		if !slices.Equal(now, last) {
			last = now
			tell(now)
		}
	}
}
