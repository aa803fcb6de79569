// Package names makes and takes apart the names that Istio's users know from
// Envoy's admin pages: clusters, SNI values, routes, node ids. In: parts of the
// model. Out: strings. It imports the model only.
package names

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
)

// The clusters and listeners that every proxy has.
const (
	BlackHole          = "BlackHoleCluster"
	Passthrough        = "PassthroughCluster"
	AnyByName          = "AllowAnyDynamicDNSCluster"
	InboundPassthrough = "InboundPassthroughCluster"
	// UnknownService is no cluster: requests for it fail. Routes of the Gateway API name
	// it in place of a backend that they may not use.
	UnknownService  = "UnknownService"
	VirtualOutbound = "virtualOutbound"
	VirtualInbound  = "virtualInbound"
	// WorkloadCertificate and Roots are the secrets of a workload's own identity,
	// which its agent serves on the cluster SDS.
	WorkloadCertificate = "default"
	Roots               = "ROOTCA"
	SDS                 = "sds-grpc"
)

// Outbound is "outbound|9080|v1|reviews.default.svc.cluster.local".
func Outbound(port uint32, subset, host string) string {
	return "outbound|" + strconv.Itoa(int(port)) + "|" + subset + "|" + host
}

// Inbound is "inbound|9080||".
func Inbound(port uint32) string { return "inbound|" + strconv.Itoa(int(port)) + "||" }

// SNI is "outbound_.9080_.v1_.reviews.default.svc.cluster.local", the server name of mTLS.
func SNI(port uint32, subset, host string) string {
	return "outbound_." + strconv.Itoa(int(port)) + "_." + subset + "_." + host
}

// ParseCluster takes an outbound or inbound cluster's name apart.
func ParseCluster(name string) (direction string, port uint32, subset, host string, ok bool) {
	parts := strings.SplitN(name, "|", 4)
	if len(parts) != 4 || parts[0] != "outbound" && parts[0] != "inbound" {
		return "", 0, "", "", false
	}
	n, err := strconv.ParseUint(parts[1], 10, 16)
	if err != nil {
		return "", 0, "", "", false
	}
	return parts[0], uint32(n), parts[2], parts[3], true
}

// Listener is "0.0.0.0_9080" or "10.96.1.1_443".
func Listener(address string, port uint32) string { return fmt.Sprintf("%s_%d", address, port) }

// VirtualHost is "reviews.default.svc.cluster.local:9080".
func VirtualHost(host string, port uint32) string { return host + ":" + strconv.Itoa(int(port)) }

// ID is a sidecar's or gateway's node id.
func ID(n model.Node) string {
	return n.Type + "~" + n.IP + "~" + n.ID + "." + n.Namespace + "~" + n.DNSDomain
}

// SPIFFE is the identity of a service account.
func SPIFFE(trustDomain, namespace, account string) string {
	return "spiffe://" + trustDomain + "/ns/" + namespace + "/sa/" + account
}

// ParseNode reads a node id, "sidecar~10.0.0.7~reviews-v1-abc.default~default.svc.cluster.local",
// and the metadata that Istio's agent sends with it.
func ParseNode(id string, metadata map[string]any) (model.Node, error) {
	parts := strings.Split(id, "~")
	if len(parts) != 4 {
		return model.Node{}, fmt.Errorf("expected TYPE~IP~POD.NAMESPACE~DOMAIN, got %d parts", len(parts))
	}
	n := model.Node{Type: parts[0], IP: parts[1], DNSDomain: parts[3]}
	if n.Type != model.Sidecar && n.Type != model.Router {
		return model.Node{}, fmt.Errorf("type %q is not supported: expected %q or %q", n.Type, model.Sidecar, model.Router)
	}
	if _, err := netip.ParseAddr(n.IP); err != nil {
		return model.Node{}, fmt.Errorf("address %q: %w", n.IP, err)
	}
	dot := strings.LastIndexByte(parts[2], '.')
	if dot <= 0 || dot == len(parts[2])-1 {
		return model.Node{}, fmt.Errorf("%q is not POD.NAMESPACE", parts[2])
	}
	n.ID, n.Namespace = parts[2][:dot], parts[2][dot+1:]
	for ip := range strings.SplitSeq(text(metadata, "INSTANCE_IPS"), ",") {
		if ip == "" {
			continue
		}
		if _, err := netip.ParseAddr(ip); err != nil {
			return model.Node{}, fmt.Errorf("metadata INSTANCE_IPS: address %q: %w", ip, err)
		}
		n.IPs = append(n.IPs, ip)
	}
	if ns := text(metadata, "NAMESPACE"); ns != "" {
		n.Namespace = ns
	}
	n.Workload = text(metadata, "WORKLOAD_NAME")
	n.Account = text(metadata, "SERVICE_ACCOUNT")
	n.Cluster = text(metadata, "CLUSTER_ID")
	n.MeshID = text(metadata, "MESH_ID")
	n.Version = text(metadata, "ISTIO_VERSION")
	labels, ok := metadata["LABELS"].(map[string]any)
	if !ok && metadata["LABELS"] != nil {
		return model.Node{}, fmt.Errorf("metadata LABELS is %T, expected a map", metadata["LABELS"])
	}
	n.Labels = make(map[string]string, len(labels))
	for k, v := range labels {
		s, ok := v.(string)
		if !ok {
			return model.Node{}, fmt.Errorf("metadata LABELS[%q] is %T, expected a string", k, v)
		}
		n.Labels[k] = s
	}
	var err error
	if word := text(metadata, "DNS_CAPTURE"); word != "" {
		if n.AnswersDNS, err = strconv.ParseBool(word); err != nil {
			return model.Node{}, fmt.Errorf("metadata DNS_CAPTURE: %q, expected true or false", word)
		}
	}
	n.Topology, err = topology(metadata)
	return n, err
}

func text(metadata map[string]any, key string) string {
	s, _ := metadata[key].(string)
	return s
}
