package names

import (
	"fmt"
	"slices"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// forwardings are Istio's words for what becomes of x-forwarded-client-cert, in the order
// of their numbers.
var forwardings = []string{"UNDEFINED", "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"}

// topology reads what a gateway's own configuration (PROXY_CONFIG) says of the proxies in
// front of it; nil: nothing.
func topology(metadata map[string]any) (*model.GatewayTopology, error) {
	config, _ := metadata["PROXY_CONFIG"].(map[string]any)
	fields, ok := config["gatewayTopology"].(map[string]any)
	if !ok {
		return nil, nil
	}
	t := &model.GatewayTopology{}
	if n, ok := fields["numTrustedProxies"]; ok {
		number, ok := n.(float64)
		if !ok || number < 0 || number != float64(uint32(number)) {
			return nil, fmt.Errorf("metadata PROXY_CONFIG: numTrustedProxies is %v, expected a number", n)
		}
		t.TrustedProxies = uint32(number)
	}
	if word, ok := fields["forwardClientCertDetails"]; ok {
		i := slices.IndexFunc(forwardings, func(known string) bool { return word == any(known) })
		if i < 0 {
			return nil, fmt.Errorf("metadata PROXY_CONFIG: forwardClientCertDetails is %v, expected one of %v", word, forwardings)
		}
		t.ForwardCert = uint8(i)
	}
	_, t.ProxyProtocol = fields["proxyProtocol"]
	return t, nil
}
