package inject

import (
	"bytes"
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"go.yaml.in/yaml/v3"
)

// object and list are YAML's.
type (
	object = map[string]any
	list   = []any
)

// bootstrapOf are the parts of a bootstrap that differ between proxies.
type bootstrapOf struct {
	kind     string // sidecar or router
	pod      *corev1.Pod
	workload workload
	settings *settings
}

// sdsSocket is where a real Envoy would find Istio's agent; our proxy asks its own.
const sdsSocket = "./var/run/secrets/workload-spiffe-uds/socket"

// bootstrap writes an Envoy bootstrap. What is only known when the container starts
// stands in it as $(POD_NAME), $(INSTANCE_IP) and so on: Kubernetes replaces these in
// arguments.
func (o *Options) bootstrap(b bootstrapOf) (string, error) {
	admin := object{"socket_address": object{"address": "127.0.0.1", "port_value": AdminPort}}
	return text(object{
		"admin": object{"address": admin},
		"node":  o.node(b),
		"dynamic_resources": object{
			"ads_config": object{
				"api_type":                       "DELTA_GRPC",
				"transport_api_version":          "V3",
				"set_node_on_first_message_only": true,
				"grpc_services":                  list{object{"envoy_grpc": object{"cluster_name": "xds-grpc"}}},
			},
			"cds_config": ads(),
			"lds_config": ads(),
		},
		"static_resources": object{
			"clusters": list{
				o.discoveryCluster(),
				object{"name": "sds-grpc", "type": "STATIC", "connect_timeout": "1s", "typed_extension_protocol_options": http2(),
					"load_assignment": assignment("sds-grpc", object{"pipe": object{"path": sdsSocket}})},
				object{"name": "admin", "type": "STATIC", "connect_timeout": "0.250s",
					"load_assignment": assignment("admin", admin)},
			},
			"listeners": list{
				adminListener("health", HealthPort, object{"path": "/healthz/ready"}, "/ready"),
				adminListener("metrics", MetricsPort, object{"path": "/stats/prometheus"}, ""),
			},
		},
	})
}

func ads() object {
	return object{"ads": object{}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
}

func http2() object {
	return object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
		"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
		"explicit_http_config": object{"http2_protocol_options": object{}},
	}}
}

func assignment(cluster string, address object) object {
	return object{"cluster_name": cluster, "endpoints": list{object{"lb_endpoints": list{object{"endpoint": object{"address": address}}}}}}
}

func (o *Options) discoveryCluster() object {
	return object{
		"name": "xds-grpc", "type": "STRICT_DNS", "connect_timeout": "1s", "typed_extension_protocol_options": http2(),
		"load_assignment": assignment("xds-grpc", object{"socket_address": object{"address": o.controlPlane(), "port_value": 15012}}),
		"transport_socket": object{
			"name": "envoy.transport_sockets.tls",
			"typed_config": object{
				"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
				"sni":   o.controlPlane(),
				"common_tls_context": object{
					"alpn_protocols": list{"h2"},
					"validation_context": object{
						"trusted_ca": object{"filename": RootCertPath},
						"match_typed_subject_alt_names": list{object{
							"san_type": "DNS", "matcher": object{"exact": o.controlPlane()}}},
					},
				},
			},
		},
	}
}

// adminListener answers one path from the admin port, which itself listens on
// localhost only: kubelet asks for readiness, Prometheus for metrics.
func adminListener(name string, port int, match object, rewrite string) object {
	route := object{"cluster": "admin"}
	if rewrite != "" {
		route["prefix_rewrite"] = rewrite
	}
	manager := object{
		"@type":       "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": name,
		"route_config": object{"virtual_hosts": list{object{"name": name, "domains": list{"*"},
			"routes": list{object{"match": match, "route": route}}}}},
		"http_filters": list{object{"name": "envoy.filters.http.router",
			"typed_config": object{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}},
	}
	return object{
		"name":    name,
		"address": object{"socket_address": object{"address": "0.0.0.0", "port_value": port}},
		"filter_chains": list{object{"filters": list{
			object{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}}}},
	}
}

// node says who the proxy is, with the metadata that Istio's agent sends.
func (o *Options) node(b bootstrapOf) object {
	w := b.workload
	n := object{
		"id":       b.kind + "~$(INSTANCE_IP)~$(POD_NAME).$(POD_NAMESPACE)~$(POD_NAMESPACE).svc." + o.ClusterDomain,
		"cluster":  first(b.pod.Labels, w.name, "app") + ".$(POD_NAMESPACE)",
		"metadata": o.metadata(b),
	}
	// Istio's label for a workload's place has dots where places have slashes.
	if place := strings.SplitN(b.pod.Labels["istio-locality"], ".", 3); place[0] != "" {
		locality := object{}
		for i, key := range []string{"region", "zone", "sub_zone"}[:len(place)] {
			locality[key] = place[i]
		}
		n["locality"] = locality
	}
	return n
}

func (o *Options) metadata(b bootstrapOf) object {
	m := object{
		"NAME":                  "$(POD_NAME)",
		"NAMESPACE":             "$(POD_NAMESPACE)",
		"INSTANCE_IPS":          "$(INSTANCE_IPS)",
		"NODE_NAME":             "$(NODE_NAME)",
		"SERVICE_ACCOUNT":       "$(SERVICE_ACCOUNT)",
		"WORKLOAD_NAME":         b.workload.name,
		"OWNER":                 b.workload.owner,
		"CLUSTER_ID":            o.ClusterID,
		"MESH_ID":               o.MeshID,
		"ISTIO_VERSION":         o.Version,
		"ENVOY_STATUS_PORT":     HealthPort,
		"ENVOY_PROMETHEUS_PORT": MetricsPort,
		"LABELS":                escapeAll(b.pod.Labels),
	}
	if a := ownAnnotations(b.pod.Annotations); len(a) > 0 {
		m["ANNOTATIONS"] = escapeAll(a)
	}
	if b.settings.config != nil {
		m["PROXY_CONFIG"] = escapeValue(b.settings.config)
	}
	if b.kind == "router" {
		return m
	}
	if b.settings.capture != nil && b.settings.capture.RedirectDNS {
		m["DNS_CAPTURE"] = "true"
	}
	m["INTERCEPTION_MODE"] = "REDIRECT"
	if b.settings.capture == nil {
		m["INTERCEPTION_MODE"] = "NONE"
	}
	var names []string
	ports := []corev1.ContainerPort{}
	for _, c := range applications(b.pod) {
		names = append(names, c.Name)
		ports = append(ports, c.Ports...)
	}
	m["APP_CONTAINERS"] = strings.Join(names, ",")
	// Istio's agent sends the ports as text. Plain data always marshals.
	if text, err := json.Marshal(ports); err == nil {
		m["POD_PORTS"] = string(text)
	}
	return m
}

// ownAnnotations leaves out what tools write for themselves.
func ownAnnotations(all map[string]string) map[string]string {
	own := make(map[string]string)
	for k, v := range all {
		if k != "kubectl.kubernetes.io/last-applied-configuration" && k != statusKey {
			own[k] = v
		}
	}
	return own
}

// text writes YAML. Strings with references are quoted: what is put in their place
// must stay a string, whatever it looks like.
func text(v object) (string, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(quote(v)); err != nil {
		return "", err
	}
	return b.String(), e.Close()
}

// quote replaces the strings with references by what is written in quotes.
func quote(v any) any {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "$(") {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: v}
		}
	case list:
		quoted := make(list, len(v))
		for i := range v {
			quoted[i] = quote(v[i])
		}
		return quoted
	case object:
		quoted := make(object, len(v))
		for key, field := range v {
			quoted[key] = quote(field)
		}
		return quoted
	case map[string]string:
		quoted := make(object, len(v))
		for key, field := range v {
			quoted[key] = quote(field)
		}
		return quoted
	}
	return v
}
