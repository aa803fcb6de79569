package build

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// byName maps the names that port names begin with, and protocol fields have.
var byName = map[string]model.Protocol{
	"http": model.HTTP, "http2": model.HTTP2, "https": model.HTTPS, "grpc": model.GRPC, "grpc-web": model.GRPCWeb,
	"tcp": model.TCP, "tls": model.TLS, "mongo": model.Mongo, "redis": model.Redis, "mysql": model.MySQL, "udp": model.UDP,
	"http_proxy": model.HTTP,
}

// byAppProtocol has the values that Kubernetes and Istio define for appProtocol.
var byAppProtocol = map[string]model.Protocol{
	"kubernetes.io/h2c": model.HTTP2, "kubernetes.io/ws": model.HTTP, "kubernetes.io/wss": model.HTTPS,
	"ws": model.HTTP, "wss": model.HTTPS, "istio.io/tls": model.TLS,
}

// serverFirst are ports on which the server speaks first: waiting to sniff the
// client's first bytes would wait forever.
var serverFirst = map[int32]model.Protocol{
	22: model.TCP, 25: model.TCP, 53: model.TCP, 853: model.TCP, 3306: model.MySQL, 27017: model.Mongo, 6379: model.Redis,
}

// kubernetesProtocol selects a Service port's protocol as Istio does: appProtocol,
// then the prefix of the name, then well-known ports, else it is sniffed.
func kubernetesProtocol(p corev1.ServicePort) model.Protocol {
	if p.Protocol != "" && p.Protocol != corev1.ProtocolTCP {
		return model.UDP
	}
	if p.AppProtocol != nil {
		name := strings.ToLower(*p.AppProtocol)
		if protocol, ok := byAppProtocol[name]; ok {
			return protocol
		}
		if protocol, ok := byName[name]; ok {
			return protocol
		}
	}
	if protocol, ok := namedProtocol(p.Name); ok {
		return protocol
	}
	if protocol, ok := serverFirst[p.Port]; ok && p.Port != 6379 && p.Port != 27017 {
		return protocol
	}
	return model.Auto
}

// namedProtocol reads "http", "http-web", "grpc-web-status" …
func namedProtocol(name string) (model.Protocol, bool) {
	name = strings.ToLower(name)
	if name == "grpc-web" || strings.HasPrefix(name, "grpc-web-") {
		return model.GRPCWeb, true
	}
	word, _, _ := strings.Cut(name, "-")
	protocol, ok := byName[word]
	return protocol, ok
}

// declaredProtocol reads the protocol of ServiceEntries and Gateways; none is TCP.
func declaredProtocol(name string) model.Protocol {
	if protocol, ok := byName[strings.ToLower(name)]; ok {
		return protocol
	}
	return model.TCP
}
