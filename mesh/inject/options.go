// Package inject puts the sidecar into Pods, as Istio's webhook does: Pod in, Pod
// out. The webhook, the command line and the simulator call the same function. It
// also makes the Deployments of gateways, whose Pods are a proxy and nothing else.
//
// It knows Kubernetes' types, mesh/config and mesh/capture; it must not import Envoy's protos: the
// bootstrap is text to it.
package inject

import (
	"errors"
	"fmt"
	"time"

	meshpb "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// Names and places that the injector and what starts the containers agree on.
const (
	InitContainer  = "istio-init"
	ProxyContainer = "istio-proxy"

	TokenPath    = "/var/run/secrets/tokens/istio-token"
	RootCertPath = "/var/run/secrets/istio/root-cert.pem"
	// RootConfigMap has the control plane's roots under the key root-cert.pem, in every
	// namespace.
	RootConfigMap = "istio-ca-root-cert"

	// AppProbersEnv has the application's own probes, as JSON by path, for who answers
	// in their place on HealthPort.
	AppProbersEnv = "ISTIO_KUBE_APP_PROBERS"
	// AppMetricsEnv says where the application's own metrics are, which AppPort merges
	// with the proxy's.
	AppMetricsEnv = "ISTIO_PROMETHEUS_ANNOTATIONS"
	// drainEnv is how long the proxy outlives the signal to end, in seconds.
	drainEnv = "TERMINATION_DRAIN_DURATION_SECONDS"

	AdminPort   = 15000
	AppPort     = 15020 // the application's rewritten probes, merged metrics
	HealthPort  = 15021 // the proxy's own readiness
	MetricsPort = 15090
)

// defaultListenerDrain is the proxy's own.
const defaultListenerDrain = 45 * time.Second

// ProxyUser is the user and group that the proxy runs as; capture rules know it.
const ProxyUser int64 = 1337

// Options are the mesh's settings for all proxies. Only ProxyImage is needed.
type Options struct {
	ProxyImage      string
	ImagePullPolicy corev1.PullPolicy
	Revision        string // of the control plane, "default"
	SystemNamespace string // istio-system
	ClusterDomain   string // cluster.local
	ClusterID       string // Kubernetes
	MeshID          string // cluster.local
	Version         string // of the proxy, as its node metadata says; 1.31.0
	// Capture is what sidecars capture where annotations say nothing; nil: everything.
	Capture *capture.Options
	// HoldApplication starts applications after their proxy is ready.
	HoldApplication bool
	// Drain is how long proxies outlive the signal to end, in whole seconds; nil: five.
	Drain *time.Duration
	// ListenerDrain is how long connections of a listener that changed may take to end, in
	// whole seconds; nil: 45.
	ListenerDrain *time.Duration
	// Concurrency is the number of processors that proxies use; 0: all.
	Concurrency uint16
	// NoCapture is the interception mode NONE: nothing is captured, whatever Capture says.
	NoCapture bool
	// Metadata are variables of proxyMetadata, which config.CheckProxyMetadata has let pass.
	Metadata map[string]string
	// ProxyConfigs are those of the cluster, as objects; RootNamespace has those for the whole
	// mesh, istio-system.
	ProxyConfigs  []*config.Object
	RootNamespace string
	// NativeSidecars makes the proxy an init container that keeps running: it starts before
	// the application and ends after it. Kubernetes has them since 1.29.
	NativeSidecars bool
	// KeepProbes leaves the application's probes alone. They are sent to the proxy
	// otherwise, which passes them on: kubelet has no mesh certificate.
	KeepProbes bool
}

// Under are the options as the mesh's configuration has them, where the annotations of a
// Pod say nothing else.
func (o Options) Under(mesh *meshpb.MeshConfig) Options {
	c := mesh.GetDefaultConfig()
	o.HoldApplication = c.GetHoldApplicationUntilProxyStarts().GetValue()
	if d := c.GetTerminationDrainDuration(); d != nil {
		o.Drain = pointer(d.AsDuration())
	}
	if d := c.GetDrainDuration(); d != nil {
		o.ListenerDrain = pointer(d.AsDuration())
	}
	o.Concurrency = uint16(c.GetConcurrency().GetValue())
	o.NoCapture = c.GetInterceptionMode() == meshpb.ProxyConfig_NONE
	o.Metadata = c.GetProxyMetadata()
	o.RootNamespace = mesh.GetRootNamespace()
	return o
}

func (o *Options) setDefaults() error {
	if o.ProxyImage == "" {
		return errors.New("inject: no proxy image")
	}
	for _, d := range []struct {
		value *string
		is    string
	}{{&o.Revision, "default"}, {&o.SystemNamespace, "istio-system"}, {&o.RootNamespace, "istio-system"}, {&o.ClusterDomain, "cluster.local"},
		{&o.ClusterID, "Kubernetes"}, {&o.MeshID, "cluster.local"}, {&o.Version, "1.31.0"}} {
		if *d.value == "" {
			*d.value = d.is
		}
	}
	if o.Capture == nil {
		c := capture.Defaults()
		o.Capture = &c
	}
	return nil
}

// controlPlane is the host name of the control plane's Service; its certificate has it.
func (o *Options) controlPlane() string { return "istiod." + o.SystemNamespace + ".svc" }

func (o *Options) discoveryAddress() string { return fmt.Sprintf("%s:15012", o.controlPlane()) }
