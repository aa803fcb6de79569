package build

// Codes of what only shows when objects are looked at together. Family 04, after
// those of package config.
const (
	CodeUnsupported     = "WT0400" // a kind or setting that is not supported yet
	CodeUnknownHost     = "WT0401" // a route to a host that no service has
	CodeUnknownSubset   = "WT0402" // a route to a subset that no DestinationRule defines
	CodeConflictingHost = "WT0403" // two VirtualServices for one host of the mesh
	CodePortRequired    = "WT0404" // a destination without port where the service has several
	CodeUnknownGateway  = "WT0405" // a VirtualService on a gateway that does not exist
	CodeNoWorkload      = "WT0406" // a selector that matches no workload
	CodeUnknownPort     = "WT0407" // a destination port that the service does not have
	CodeUnknownDelegate = "WT0408" // a delegate that does not exist, or is not one
	CodeEmptySubset     = "WT0409" // a subset whose labels no endpoint has
	CodeNoCredential    = "WT0410" // a gateway's credential that is not there
	CodePolicyHost      = "WT0411" // a DestinationRule for a host that no service has
	CodeGatewayHost     = "WT0412" // a VirtualService whose hosts its gateway does not serve
	CodeMergedPolicy    = "WT0413" // a second DestinationRule's policy that has no effect
	CodePatch           = "WT0414" // an EnvoyFilter whose value is not Envoy's
	CodeProvider        = "WT0415" // an AuthorizationPolicy whose provider does not fit, or is not there
	CodeBadExpression   = "WT0416" // an expression over attributes that cannot be evaluated
	CodeSidecarsOnly    = "WT0420" // a condition of a match that gateways do not look at
	CodeBadCredential   = "WT0422" // a gateway's credential that is incomplete
	CodeBadReplace      = "WT0423" // an EnvoyFilter's REPLACE of what cannot be replaced
	CodeBadAdd          = "WT0424" // its ADD of what cannot be added
	CodeBadRemove       = "WT0425" // its REMOVE of what cannot be removed
	CodeInternalGateway = "WT0426" // a VirtualService on a gateway that Istio makes for itself
	CodeIneffectiveTLS  = "WT0421" // a setting of a server's tls that its mode does not look at
)

// Codes of the Kubernetes Gateway API: what Istio writes into the conditions of a status.
const (
	CodeParent         = "WT0430" // a route that its parent does not accept
	CodeBackend        = "WT0431" // a backend that is not there, or may not be used
	CodeListener       = "WT0432" // a listener that cannot be served as written
	CodeGatewayClass   = "WT0433" // a Gateway of a class that the mesh does not serve
	CodeGatewayAddress = "WT0434" // a Gateway whose proxies are not there
	CodeIngressClass   = "WT0435" // an Ingress of a class that the mesh does not serve
	CodeIngress        = "WT0436" // a part of an Ingress that has no effect
)
