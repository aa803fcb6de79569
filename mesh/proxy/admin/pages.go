package admin

import (
	"crypto/x509"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/upstream"
)

// clusters is /clusters: "cluster::host::name::value" lines, or JSON.
func (s *server) clusters(w http.ResponseWriter, r *http.Request) error {
	if s.options.Upstream == nil {
		return errUnavailable
	}
	if r.URL.Query().Get("format") == "json" {
		return s.clustersJSON(w)
	}
	for _, name := range s.options.Upstream.Names() {
		c := s.options.Upstream.Cluster(name)
		if c == nil {
			continue
		}
		writeBreakers(w, name, c.Config())
		for _, h := range c.Hosts() {
			writeHost(w, name, h)
		}
	}
	return nil
}

func writeBreakers(w http.ResponseWriter, name string, c *snapshot.Cluster) {
	_, _ = fmt.Fprintf(w, "%s::observability_name::%s\n", name, name)
	for i, priority := range [...]string{"default", "high"} {
		b := c.Breaker[i]
		for _, limit := range [...]struct {
			name  string
			value uint32
		}{{"max_connections", b.MaxConnections}, {"max_pending_requests", b.MaxPending}, {"max_requests", b.MaxRequests}, {"max_retries", b.MaxRetries}} {
			_, _ = fmt.Fprintf(w, "%s::%s_priority::%s::%d\n", name, priority, limit.name, limit.value)
		}
	}
	_, _ = fmt.Fprintf(w, "%s::added_via_api::true\n", name)
}

func writeHost(w http.ResponseWriter, cluster string, h upstream.HostStatus) {
	for _, line := range [...]struct {
		name  string
		value any
	}{{"cx_active", h.Connections}, {"rq_active", h.Active}, {"rq_error", h.Failure}, {"rq_success", h.Success}, {"rq_total", h.Requests},
		{"hostname", h.Hostname}, {"health_flags", healthFlags(h)}, {"weight", h.Weight}, {"region", part(h.Locality, 0)}, {"zone", part(h.Locality, 1)},
		{"sub_zone", part(h.Locality, 2)}, {"canary", false}, {"priority", h.Priority}, {"success_rate", -1}, {"local_origin_success_rate", -1}} {
		_, _ = fmt.Fprintf(w, "%s::%s::%s::%v\n", cluster, h.Address, line.name, line.value)
	}
}

func part(locality string, i int) string {
	if parts := strings.SplitN(locality, "/", 3); i < len(parts) {
		return parts[i]
	}
	return ""
}

// healthFlags are Envoy's words, joined with slashes.
func healthFlags(h upstream.HostStatus) string {
	flags := ""
	if h.CheckFailed {
		flags += "/failed_active_hc"
	}
	if h.Ejected {
		flags += "/failed_outlier_check"
	}
	switch h.Health {
	case snapshot.Unhealthy, snapshot.Draining:
		flags += "/failed_eds_health"
	case snapshot.Degraded:
		flags += "/eds_degraded"
	}
	if h.Unchecked {
		flags += "/pending_active_hc"
	}
	if flags == "" {
		return "healthy"
	}
	return flags
}

func (s *server) clustersJSON(w http.ResponseWriter) error {
	list := []any{}
	for _, name := range s.options.Upstream.Names() {
		c := s.options.Upstream.Cluster(name)
		if c == nil {
			continue
		}
		hosts := []any{}
		for _, h := range c.Hosts() {
			hosts = append(hosts, hostJSON(h))
		}
		list = append(list, map[string]any{"name": name, "observability_name": name, "added_via_api": true, "host_statuses": hosts})
	}
	return writeJSON(w, map[string]any{"cluster_statuses": list})
}

func hostJSON(h upstream.HostStatus) map[string]any {
	health := map[string]any{"eds_health_status": [...]string{"HEALTHY", "UNHEALTHY", "DRAINING", "DEGRADED"}[h.Health]}
	if h.Ejected {
		health["failed_outlier_check"] = true
	}
	if h.CheckFailed {
		health["failed_active_health_check"] = true
	}
	if h.Unchecked {
		health["pending_active_hc"] = true
	}
	counter := func(name string, v uint64) map[string]any {
		return map[string]any{"name": name, "value": fmt.Sprint(v)}
	}
	gauge := func(name string, v int64) map[string]any {
		return map[string]any{"name": name, "value": fmt.Sprint(v), "type": "GAUGE"}
	}
	return map[string]any{"address": address(h.Address), "health_status": health, "weight": h.Weight, "priority": h.Priority, "hostname": h.Hostname,
		"locality": map[string]string{"region": part(h.Locality, 0), "zone": part(h.Locality, 1), "sub_zone": part(h.Locality, 2)},
		"stats": []any{counter("rq_total", h.Requests), counter("rq_success", h.Success), counter("rq_error", h.Failure),
			gauge("rq_active", h.Active), gauge("cx_active", h.Connections)}}
}

func address(a netip.AddrPort) map[string]any {
	return map[string]any{"socket_address": map[string]any{"address": a.Addr().String(), "port_value": a.Port()}}
}

// listeners is /listeners: "name::address" lines, or JSON.
func (s *server) listeners(w http.ResponseWriter, r *http.Request) error {
	if s.options.Snapshot == nil {
		return errUnavailable
	}
	list := []any{}
	asJSON := r.URL.Query().Get("format") == "json"
	if p := s.options.Snapshot(); p != nil {
		for _, l := range p.Listeners {
			status := map[string]any{"name": l.Name, "local_address": address(l.Address)}
			var also []any
			for _, a := range l.Also {
				also = append(also, address(a))
			}
			if also != nil {
				status["additional_local_addresses"] = also
			}
			list = append(list, status)
			for _, a := range l.Addresses() {
				if !asJSON {
					_, _ = fmt.Fprintf(w, "%s::%s\n", l.Name, a)
				}
			}
		}
	}
	if asJSON {
		return writeJSON(w, map[string]any{"listener_statuses": list})
	}
	return nil
}

// certs is /certs: every certificate and trust bundle in use.
func (s *server) certs(w http.ResponseWriter, _ *http.Request) error {
	if s.options.Secrets == nil || s.options.SecretNames == nil {
		return errUnavailable
	}
	list := []any{}
	for _, name := range s.options.SecretNames() {
		secret := s.options.Secrets.Secret(name)
		if secret == nil || secret.Certificate == nil {
			continue
		}
		chain := []any{}
		for _, der := range secret.Certificate.Certificate {
			if c, err := x509.ParseCertificate(der); err == nil {
				chain = append(chain, certificate(c))
			}
		}
		list = append(list, map[string]any{"name": name, "cert_chain": chain})
	}
	return writeJSON(w, map[string]any{"certificates": list})
}

func certificate(c *x509.Certificate) map[string]any {
	names := []any{}
	for _, uri := range c.URIs {
		names = append(names, map[string]string{"uri": uri.String()})
	}
	for _, dns := range c.DNSNames {
		names = append(names, map[string]string{"dns": dns})
	}
	days := math.Max(0, math.Floor(time.Until(c.NotAfter).Hours()/24))
	return map[string]any{"serial_number": fmt.Sprintf("%x", c.SerialNumber), "subject_alt_names": names, "days_until_expiration": fmt.Sprint(days),
		"valid_from": c.NotBefore.UTC().Format(time.RFC3339), "expiration_time": c.NotAfter.UTC().Format(time.RFC3339)}
}
