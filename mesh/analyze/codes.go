package analyze

import (
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
)

// Codes of what only this package looks for; they go on where mesh/build's end.
const (
	CodeShadowedRule      = "WT0450"
	CodeShadowedMatch     = "WT0451"
	CodeGatewayConflict   = "WT0452"
	CodeGatewayPort       = "WT0453"
	CodeServiceProtocol   = "WT0454"
	CodeServiceTarget     = "WT0455"
	CodePortName          = "WT0456"
	CodeEntryAddresses    = "WT0457"
	CodeEntryProtocol     = "WT0458"
	CodeSidecars          = "WT0459"
	CodeTelemetries       = "WT0460"
	CodeNoVerification    = "WT0461"
	CodeStrictServer      = "WT0462"
	CodeUnknownNamespace  = "WT0463"
	CodeInjectionLabels   = "WT0464"
	CodeNotInjected       = "WT0465"
	CodeCannotBeInstalled = "WT0466"

	CodeUnknownAnnotation    = "WT0467"
	CodeMisplacedAnnotation  = "WT0468"
	CodeInvalidAnnotation    = "WT0469"
	CodeDeprecatedAnnotation = "WT0470"
	CodeAlphaAnnotation      = "WT0471"
	CodeApplicationUser      = "WT0472"
	CodeImageAuto            = "WT0473"
	CodeImageAutoPod         = "WT0474"
	CodeNamespaceSidecars    = "WT0475"
	CodeNamespaceTelemetries = "WT0476"
	CodeNoPortVerification   = "WT0477"
	CodeSameCertificate      = "WT0478"
	CodeBadCertificate       = "WT0479"
	CodeRelativePatch        = "WT0480"
	CodeVersionedPatch       = "WT0481"
	CodeClaimRoute           = "WT0482"
	CodeExternalNamePort     = "WT0483"
	CodeAmbientSidecar       = "WT0484"
	CodeGatewaySelector      = "WT0485"
	CodeNegativeCondition    = "WT0486"
	CodeNoLogProvider        = "WT0487"
	CodeInvisibleHost        = "WT0488"
	CodeUnknownKeys          = "WT0489"
	CodeEmptyNamespace       = "WT0490"
	CodeUnusedDelegate       = "WT0491"
	CodeSidecarHost          = "WT0492"
	CodeUnknownPrincipal     = "WT0493"
	CodeMeshOnlyRule         = "WT0494"

	CodeScenario = "WT0601" // of scenario files
)

// meaning is a code of family 04 with what it means, and the code that istioctl
// analyze has for it (istio.io, Configuration Analysis Messages).
type meaning struct{ text, istio string }

var meanings = map[string]meaning{
	build.CodeUnsupported:     {"A kind, a field or a value that is not supported.", ""},
	build.CodeUnknownHost:     {"A route to a host that no service has.", "IST0101"},
	build.CodeUnknownSubset:   {"A route to a subset that no DestinationRule defines.", "IST0101"},
	build.CodeConflictingHost: {"Two VirtualServices route one host of the mesh.", "IST0109"},
	build.CodePortRequired:    {"A destination without a port where the service has several.", "IST0112"},
	build.CodeUnknownGateway:  {"A VirtualService on a gateway that does not exist.", "IST0101"},
	build.CodeNoWorkload:      {"A selector that matches no workload.", "IST0127"},
	build.CodeUnknownPort:     {"A destination's port that the service does not have.", "IST0101"},
	build.CodeUnknownDelegate: {"A delegate that does not exist, or is not one.", "IST0101"},
	build.CodeEmptySubset:     {"A subset whose labels no endpoint has.", "IST0173"},
	build.CodeNoCredential:    {"A gateway's credential that is not there.", "IST0101"},
	build.CodePolicyHost:      {"A DestinationRule for a host that no service has.", "IST0174"},
	build.CodeGatewayHost:     {"A VirtualService whose host its gateways do not serve.", "IST0132"},
	build.CodeParent:          {"A route that its parent does not accept.", ""},
	build.CodeBackend:         {"A backend that is not there, or may not be used.", "IST0101"},
	build.CodeListener:        {"A listener that cannot be served as it is written.", ""},
	build.CodeGatewayClass:    {"A Gateway of a class that the mesh does not serve.", ""},
	build.CodeGatewayAddress:  {"A Gateway whose proxies are not there.", ""},
	build.CodeBadCredential:   {"A gateway's credential that is incomplete.", "IST0161"},
	build.CodeBadReplace:      {"An EnvoyFilter that replaces what cannot be replaced.", "IST0152"},
	build.CodeBadAdd:          {"An EnvoyFilter that adds what cannot be added.", "IST0153"},
	build.CodeBadRemove:       {"An EnvoyFilter that removes what cannot be removed.", "IST0154"},
	build.CodeInternalGateway: {"A VirtualService on a gateway that Istio makes for itself.", "IST0165"},
	build.CodePatch:           {"An EnvoyFilter whose value is not Envoy's.", "IST0106"},
	build.CodeProvider:        {"A provider that is not there, or does not fit.", "IST0101"},
	build.CodeBadExpression:   {"An expression over attributes that cannot be evaluated.", "IST0106"},
	build.CodeSidecarsOnly:    {"A condition of a match that gateways do not look at.", "IST0133"},
	build.CodeIneffectiveTLS:  {"A setting of a server's tls that its mode does not look at.", "IST0133"},
	build.CodeMergedPolicy:    {"A second DestinationRule of a host, whose policy has no effect.", ""},

	CodeShadowedRule:         {"A rule that no request can get to: earlier ones take all that it matches.", "IST0130"},
	CodeShadowedMatch:        {"A match that no request can get to: an earlier one takes all that it matches.", "IST0131"},
	CodeGatewayConflict:      {"Two Gateways for the same Pods, port and host.", "IST0145"},
	CodeGatewayPort:          {"A Gateway's port that no Service of its Pods has.", "IST0162"},
	CodeServiceProtocol:      {"One port of a workload, in two Services with two protocols.", "IST0116"},
	CodeServiceTarget:        {"Two ports of Services lead to one port of a workload with different protocols.", "IST0137"},
	CodePortName:             {"A port whose name does not tell its protocol.", "IST0118"},
	CodeEntryAddresses:       {"A ServiceEntry for TCP without addresses.", "IST0134"},
	CodeEntryProtocol:        {"Two ServiceEntries with two protocols for one port of a host.", "IST0177"},
	CodeSidecars:             {"Two Sidecars for the same workloads.", "IST0110"},
	CodeTelemetries:          {"Two Telemetries for the same workloads.", "IST0159"},
	CodeNoVerification:       {"TLS to servers whose certificates nobody checks.", "IST0128"},
	CodeStrictServer:         {"Clients speak plaintext to workloads that want mutual TLS.", ""},
	CodeUnknownNamespace:     {"A policy about a namespace that does not exist.", "IST0101"},
	CodeInjectionLabels:      {"A namespace with two labels for injection.", "IST0123"},
	CodeNotInjected:          {"A namespace whose Pods get no sidecar.", "IST0102"},
	CodeCannotBeInstalled:    {"A workload whose Pods cannot be made.", ""},
	CodeUnknownAnnotation:    {"An annotation of Istio's domains that Istio does not have.", "IST0108"},
	CodeMisplacedAnnotation:  {"An annotation at a kind that nobody looks for it at.", "IST0107"},
	CodeInvalidAnnotation:    {"An annotation's value that cannot be read.", "IST0125"},
	CodeDeprecatedAnnotation: {"An annotation that is out of use.", "IST0135"},
	CodeAlphaAnnotation:      {"An annotation that Istio may change with any version.", "IST0136"},
	CodeApplicationUser:      {"An application that runs as the proxy's user: it is not captured.", "IST0144"},
	CodeImageAuto:            {"A workload whose proxy image is the injector's, where it does not come.", "IST0146"},
	CodeImageAutoPod:         {"A Pod whose proxy image is the injector's, where it does not come.", "IST0147"},
	CodeNamespaceSidecars:    {"Two Sidecars for all workloads of a namespace.", "IST0111"},
	CodeNamespaceTelemetries: {"Two Telemetries for all workloads of a namespace.", "IST0160"},
	CodeNoPortVerification:   {"TLS at one port to servers whose certificates nobody checks.", "IST0129"},
	CodeSameCertificate:      {"Two Gateways for the same Pods with one certificate.", "IST0138"},
	CodeBadCertificate:       {"A gateway's credential whose certificate is of no use.", "IST0161"},
	CodeRelativePatch:        {"A patch that needs another one to be applied before, and does not say so.", "IST0151"},
	CodeVersionedPatch:       {"Such a patch, for some versions of proxies only.", "IST0155"},
	CodeClaimRoute:           {"A route by a token's claims, where nobody checks tokens.", "IST0149"},
	CodeExternalNamePort:     {"A port of a Service that is another name, without a protocol.", "IST0150"},
	CodeAmbientSidecar:       {"A Sidecar for workloads that have none: the namespace is ambient.", "IST0167"},
	CodeGatewaySelector:      {"A policy that selects the Pods of a Gateway of the Gateway API by their labels.", "IST0166"},
	CodeNegativeCondition:    {"A status says that something is wrong.", "IST0171"},
	CodeNoLogProvider:        {"A Telemetry about logs that names no provider, and has no effect.", "IST0157"},
	CodeInvisibleHost:        {"A route to a host that is not exported to where the route holds.", "IST0101"},
	CodeUnknownKeys:          {"Keys of tokens at a host of the cluster that no service has.", "IST0101"},
	CodeEmptyNamespace:       {"A policy for a namespace without workloads.", "IST0127"},
	CodeUnusedDelegate:       {"A VirtualService without hosts that nobody delegates to.", ""},
	CodeSidecarHost:          {"A host that a Sidecar shows its workloads, and that no service has.", "IST0101"},
	CodeUnknownPrincipal:     {"A principal in a policy that no workload runs as.", ""},
	CodeMeshOnlyRule:         {"A route of a gateway to a host whose subsets only sidecars choose.", "IST0140"},
	CodeScenario:             {"A scenario file that does not follow the format.", ""},
}

// Meaning returns what a code means, in one line.
func Meaning(code string) string {
	if m, ok := meanings[code]; ok {
		return m.text
	}
	return config.Meaning(code)
}

// istioCode is istioctl's code for a finding.
func istioCode(d config.Diagnostic) string {
	switch {
	case d.Code == build.CodeNoWorkload && (d.Object.Kind == "Gateway" || d.Object.Kind == "Sidecar" || d.Object.Kind == "Telemetry"):
		return "IST0101"
	case meanings[d.Code].istio != "":
		return meanings[d.Code].istio
	case d.Code == config.CodeUnreachable:
		return "IST0130"
	case d.Code == config.CodeRepeatedMatch:
		return "IST0131"
	case strings.HasPrefix(d.Code, "WT03"):
		return "IST0002"
	case d.Severity == config.Error && (strings.HasPrefix(d.Code, "WT01") || strings.HasPrefix(d.Code, "WT02")):
		return "IST0106"
	case strings.HasPrefix(d.Code, "WT02"):
		return "IST0133"
	}
	return ""
}
