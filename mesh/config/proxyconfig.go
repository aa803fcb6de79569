package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	meshpb "istio.io/api/mesh/v1alpha1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Variables that say how proxies end, and whether they answer DNS.
const (
	exitOnZero   = "EXIT_ON_ZERO_ACTIVE_CONNECTIONS"
	minimumDrain = "MINIMUM_DRAIN_DURATION"
	// DNSCapture has a sidecar answer its application's DNS queries. ServiceEntries without
	// addresses have some of their own then: Istio asked for these with dnsAutoAllocate
	// once, and allocates in any case since 1.25.
	DNSCapture      = "ISTIO_META_DNS_CAPTURE"
	dnsAutoAllocate = "ISTIO_META_DNS_AUTO_ALLOCATE"
)

// switchedOff are variables of Istio's tasks that ask for what proxies do not have, and
// may be there as long as they do not ask.
var switchedOff = map[string]string{
	"BOOTSTRAP_XDS_AGENT":    "the bootstrap is the injector's",
	"PROXY_CONFIG_XDS_AGENT": "proxies ask the control plane themselves",
	"PROXY_XDS_VIA_AGENT":    "proxies ask the control plane themselves",
}

// reserved are the beginnings of variables by which Istio's agent, or this one, is
// configured (Istio's reference of pilot-agent). All others are the user's: spans are tagged
// with them.
var reserved = []string{"ISTIO", "PILOT_", "ENVOY_", "PROXY_", "BOOTSTRAP_", "XDS_", "CA_", "CITADEL_", "CREDENTIAL_", "SECRET_", "PROV_CERT", "OUTPUT_CERTS",
	"FILE_MOUNTED_CERTS", "PKCS8_KEY", "ECC_", "JWT_POLICY", "TOKEN_AUDIENCES", "TRUST_DOMAIN", "WORKLOAD_", "WASM_", "DNS_", "GCP_", "CLOUD_PLATFORM", "GRPC_",
	"KUBERNETES_", "METRICS_LOCALHOST", "PEER_METADATA", "DISABLE_ENVOY", "COMPLIANCE_POLICY", "POD_", "INSTANCE_IP", "SERVICE_ACCOUNT", "HOST_IP", "NODE_NAME",
	"TERMINATION_DRAIN_DURATION", "ENABLE_PROBE_KEEPALIVE", "REWRITE_PROBE", "FILE_DEBOUNCE", "HTTP_STRIP_FRAGMENT", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG", "GOGC"}

// CheckProxyMetadata says what is wrong with a variable of proxyMetadata. It is the same
// for the whole mesh, for ProxyConfigs and for one Pod.
func CheckProxyMetadata(name, value string) error {
	switch {
	case switchedOff[name] != "":
		if on, err := strconv.ParseBool(value); err != nil || on {
			return fmt.Errorf("%s %q is not supported: %s", name, value, switchedOff[name])
		}
	case name == exitOnZero, name == DNSCapture, name == dnsAutoAllocate:
		if _, err := strconv.ParseBool(value); err != nil {
			return fmt.Errorf("%s %q: expected true or false", name, value)
		}
	case name == minimumDrain:
		if d, err := time.ParseDuration(value); err != nil || d < 0 {
			return fmt.Errorf("%s %q: expected a duration, such as 5s", name, value)
		}
	case slices.ContainsFunc(reserved, func(begins string) bool { return strings.HasPrefix(name, begins) }):
		return fmt.Errorf("%s is not supported: of the variables that configure proxies only %s are", name,
			strings.Join([]string{exitOnZero, minimumDrain, DNSCapture, dnsAutoAllocate}, ", "))
	case len(validation.IsEnvVarName(name)) > 0:
		return fmt.Errorf("%q is no name of a variable: %s", name, validation.IsEnvVarName(name)[0])
	}
	return nil
}

// CheckDrain says what is wrong with how long the connections of a listener may take to
// end, by the rule of Istio's validation.
func CheckDrain(d time.Duration) error {
	if d < time.Second || d%time.Second != 0 {
		return fmt.Errorf("drainDuration %v: expected whole seconds, one at least, such as 45s", d)
	}
	return nil
}

// ProxyConfigText is a ProxyConfig as somebody wrote it into the annotation
// proxy.istio.io/config.
type ProxyConfigText struct {
	Value *meshpb.ProxyConfig
	at    map[string]Position
	lines []string
}

// DecodeProxyConfig reads the annotation as strictly as Decode reads files; nil where
// there is an error. Places count within the text, and have no file.
func DecodeProxyConfig(text string) (*ProxyConfigText, []Diagnostic) {
	written := &ProxyConfigText{Value: &meshpb.ProxyConfig{}, lines: strings.Split(text, "\n")}
	diags := single("", 1, []byte(text), "proxy.istio.io/config", func(d *document, n *yaml.Node) {
		d.key = Key{Kind: "ProxyConfig"}
		tree, ok := d.message(n, written.Value.ProtoReflect().Descriptor(), "")
		if !ok || d.failed() {
			return
		}
		if err := assign(tree, written.Value); err != nil {
			d.errorf(CodeFormat, n, "", "%v", err)
		}
		written.at = d.at
	})
	if failed(diags) {
		return nil, diags
	}
	return written, diags
}

// Has tells whether a field stands in the text.
func (p *ProxyConfigText) Has(path string) bool {
	_, ok := p.at[path]
	return ok
}

// Diagnose makes an error about a field, with its place within the text.
func (p *ProxyConfigText) Diagnose(code, path, message, hint string) Diagnostic {
	d := Diagnostic{Severity: Error, Code: code, Path: path, Message: message, Hint: hint, Position: p.at[path]}
	d.Excerpt = excerpt(p.lines, 1, d.Position.Line)
	return d
}
