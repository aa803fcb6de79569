package config

import (
	networkingpb "istio.io/api/networking/v1alpha3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Canary is Flagger's object for automatic releases, flagger.app/v1beta1: what of it
// has an effect here. Fields of type any are refused by name.
type Canary struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   CanarySpec `json:"spec"`
	Status any        `json:"status,omitempty"` // the controller's own; what is written there counts for nothing, as in a cluster
}

// CanarySpec says what is released, and how.
type CanarySpec struct {
	Provider                string          `json:"provider,omitempty"` // istio
	TargetRef               CanaryReference `json:"targetRef"`
	Service                 CanaryService   `json:"service"`
	Analysis                *CanaryAnalysis `json:"analysis,omitempty"`
	ProgressDeadlineSeconds *int32          `json:"progressDeadlineSeconds,omitempty"` // 600 s by default
	SkipAnalysis            bool            `json:"skipAnalysis,omitempty"`
	Suspend                 bool            `json:"suspend,omitempty"`

	MetricsServer    any `json:"metricsServer,omitempty"`
	AutoscalerRef    any `json:"autoscalerRef,omitempty"`
	IngressRef       any `json:"ingressRef,omitempty"`
	RouteRef         any `json:"routeRef,omitempty"`
	UpstreamRef      any `json:"upstreamRef,omitempty"`
	RevertOnDeletion any `json:"revertOnDeletion,omitempty"`
	CanaryAnalysis   any `json:"canaryAnalysis,omitempty"`
}

// CanaryReference names another object.
type CanaryReference struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Name       string `json:"name"`
	Namespace  string `json:"namespace,omitempty"`
}

// CanaryService says what the generated Services and routes are like.
type CanaryService struct {
	Name        string             `json:"name,omitempty"` // the target's by default
	Port        int32              `json:"port"`
	PortName    string             `json:"portName,omitempty"` // http by default
	AppProtocol string             `json:"appProtocol,omitempty"`
	TargetPort  intstr.IntOrString `json:"targetPort,omitempty"` // port by default

	Hosts         []string                         `json:"hosts,omitempty"`
	Gateways      []string                         `json:"gateways,omitempty"`
	Timeout       string                           `json:"timeout,omitempty"`
	Match         []*networkingpb.HTTPMatchRequest `json:"match,omitempty"`
	Rewrite       *networkingpb.HTTPRewrite        `json:"rewrite,omitempty"`
	Retries       *networkingpb.HTTPRetry          `json:"retries,omitempty"`
	Headers       *networkingpb.Headers            `json:"headers,omitempty"`
	CorsPolicy    *networkingpb.CorsPolicy         `json:"corsPolicy,omitempty"`
	TrafficPolicy *networkingpb.TrafficPolicy      `json:"trafficPolicy,omitempty"`

	PortDiscovery     any `json:"portDiscovery,omitempty"`
	Delegation        any `json:"delegation,omitempty"`
	Mirror            any `json:"mirror,omitempty"`
	GatewayRefs       any `json:"gatewayRefs,omitempty"`
	MeshName          any `json:"meshName,omitempty"`
	Backends          any `json:"backends,omitempty"`
	Apex              any `json:"apex,omitempty"`
	Primary           any `json:"primary,omitempty"`
	Canary            any `json:"canary,omitempty"`
	Headless          any `json:"headless,omitempty"`
	UnmanagedMetadata any `json:"unmanagedMetadata,omitempty"`
}

// CanaryAnalysis says when a release goes on, and when it does not.
type CanaryAnalysis struct {
	Interval            string         `json:"interval,omitempty"` // 1m by default, 10s at least
	Threshold           int            `json:"threshold,omitempty"`
	MaxWeight           int            `json:"maxWeight,omitempty"`
	StepWeight          int            `json:"stepWeight,omitempty"`
	StepWeights         []int          `json:"stepWeights,omitempty"`
	StepWeightPromotion int            `json:"stepWeightPromotion,omitempty"`
	Metrics             []CanaryMetric `json:"metrics,omitempty"`

	Iterations            any `json:"iterations,omitempty"`
	Match                 any `json:"match,omitempty"`
	Mirror                any `json:"mirror,omitempty"`
	MirrorWeight          any `json:"mirrorWeight,omitempty"`
	SessionAffinity       any `json:"sessionAffinity,omitempty"`
	Webhooks              any `json:"webhooks,omitempty"`
	Alerts                any `json:"alerts,omitempty"`
	PrimaryReadyThreshold any `json:"primaryReadyThreshold,omitempty"`
	CanaryReadyThreshold  any `json:"canaryReadyThreshold,omitempty"`
}

// CanaryMetric is one check of every round of the analysis.
type CanaryMetric struct {
	Name           string           `json:"name"`
	Interval       string           `json:"interval,omitempty"` // 1m by default
	ThresholdRange *CanaryRange     `json:"thresholdRange,omitempty"`
	Threshold      *float64         `json:"threshold,omitempty"` // the deprecated form
	Query          string           `json:"query,omitempty"`
	TemplateRef    *CanaryReference `json:"templateRef,omitempty"`

	TemplateVariables any `json:"templateVariables,omitempty"`
}

// CanaryRange is what a metric may be, ends included.
type CanaryRange struct {
	Min *float64 `json:"min,omitempty"`
	Max *float64 `json:"max,omitempty"`
}

// MetricTemplate is Flagger's object for queries that several Canaries use.
type MetricTemplate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   MetricTemplateSpec `json:"spec"`
	Status any                `json:"status,omitempty"`
}

// MetricTemplateSpec has the query, a text/template.
type MetricTemplateSpec struct {
	Provider MetricProvider `json:"provider"`
	Query    string         `json:"query"`
}

// MetricProvider is who is asked; of type prometheus, wherever it is.
type MetricProvider struct {
	Type    string `json:"type"`
	Address string `json:"address,omitempty"`

	SecretRef          any `json:"secretRef,omitempty"`
	InsecureSkipVerify any `json:"insecureSkipVerify,omitempty"`
	Region             any `json:"region,omitempty"`
	Headers            any `json:"headers,omitempty"`
}
