package translate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/nds"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// namedMesh has a service of each kind that DNS tells apart.
func namedMesh() *model.Mesh {
	tcp := []*model.Port{{Number: 9000, Target: 9000, Name: "tcp", Protocol: model.TCP}}
	all := model.Visibility{All: true}
	endpoint := func(address, hostname string, health model.Health) *model.Endpoint {
		return &model.Endpoint{Address: address, Port: 9000, Hostname: hostname, Health: health, Weight: 1}
	}
	none := func() *model.Endpoints { return &model.Endpoints{ByPort: map[uint32][]*model.Endpoint{}} }
	entry := func(host, namespace string, e model.Visibility) *model.Service {
		return &model.Service{Host: host, Name: host, Namespace: namespace, Ports: tcp, Export: e, External: true, Resolution: model.ByDNS, Endpoints: none()}
	}
	one, two, hidden := entry("one.example.com", "default", all), entry("two.example.com", "default", all), entry("hidden.example.com", "other", model.Visibility{Namespaces: []string{"other"}})
	one.Allocated, two.Allocated = []string{"240.240.0.1", "2001:2::f0f0:1"}, []string{"240.240.0.2", "2001:2::f0f0:2"}
	written := entry("written.example.com", "other", all)
	written.Addresses = []string{"198.51.100.0/24", "198.51.100.1"}
	return model.New(model.Parts{Settings: model.Settings{ClusterDomain: "cluster.local", ConnectTimeout: time.Second, DNSRefresh: time.Minute, OutboundPort: 15001, InboundPort: 15006, AllowAny: true}, Services: []*model.Service{
		one, two, hidden, written, entry("unallocated.example.com", "default", all),
		{Host: "web.default.svc.cluster.local", Name: "web", Namespace: "default", Kubernetes: true, Addresses: []string{"10.96.0.1", "fd96::1"}, Ports: tcp, Export: all, Endpoints: none()},
		{Host: "db.default.svc.cluster.local", Name: "db", Namespace: "default", Kubernetes: true, Headless: true, Ports: tcp, Export: all,
			Endpoints: &model.Endpoints{ByPort: map[uint32][]*model.Endpoint{9000: {
				endpoint("10.244.0.7", "db-0", model.Healthy), endpoint("10.244.0.8", "db-1", model.Unhealthy), endpoint("10.244.0.9", "", model.Healthy), endpoint("fd00::9", "db-6", model.Healthy)}}}},
	}})
}

func namesFor(t *testing.T, n model.Node) (lines []string, listeners []string) {
	t.Helper()
	set, err := New(namedMesh(), nil).Proxy(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range set.Names(resource.Listener) {
		if strings.HasSuffix(l, "_9000") {
			listeners = append(listeners, l)
		}
	}
	table := set[resource.NameTable][""]
	if table == nil {
		return nil, listeners
	}
	entries, err := nds.Read(table)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		lines = append(lines, fmt.Sprintf("%s %v %s %s", e.Host, e.Addresses, e.Name, e.Namespace))
	}
	return lines, listeners
}

func TestNameTable(t *testing.T) {
	node := model.Node{Type: model.Sidecar, ID: "a-1", Namespace: "default", IP: "10.244.0.2", DNSDomain: "default.svc.cluster.local"}
	plain, listeners := namesFor(t, node)
	if plain != nil || strings.Join(listeners, " ") != "0.0.0.0_9000 10.244.0.7_9000 10.244.0.8_9000 10.244.0.9_9000 10.96.0.1_9000 198.51.100.1_9000 fd00::9_9000" {
		t.Errorf("a proxy that answers no DNS has %v, and listens on %v", plain, listeners)
	}
	node.AnswersDNS = true
	const want = `db-0.db.default.svc.cluster.local [10.244.0.7] db-0.db default
db.default.svc.cluster.local [10.244.0.7 10.244.0.9] db default
one.example.com [240.240.0.1]  
two.example.com [240.240.0.2]  
web.default.svc.cluster.local [10.96.0.1] web default
written.example.com [198.51.100.1]  `
	names, listeners := namesFor(t, node)
	if got := strings.Join(names, "\n"); got != want {
		t.Errorf("the table is\n%s\nwant\n%s", got, want)
	}
	for _, l := range []string{"240.240.0.1_9000", "240.240.0.2_9000", "0.0.0.0_9000"} { // the last one is unallocated.example.com's
		if !strings.Contains(strings.Join(listeners, " "), l) {
			t.Errorf("there is no listener %s: %v", l, listeners)
		}
	}
	node.IP, node.IPs = "fd00::2", []string{"fd00::2", "10.244.0.2"}
	names, _ = namesFor(t, node)
	if got := strings.Join(names, "\n"); !strings.Contains(got, "one.example.com [240.240.0.1 2001:2::f0f0:1]") || !strings.Contains(got, "web.default.svc.cluster.local [10.96.0.1 fd96::1]") {
		t.Errorf("with both families the table is\n%s", got)
	}
}

// A wildcard whose names the proxy resolves has an address, too; what is sent there goes by
// its server name, as it does anywhere else.
func TestAllocatedForWildcard(t *testing.T) {
	s := &model.Service{Host: "*.example.com", Name: "*.example.com", Namespace: "default", Export: model.Visibility{All: true}, External: true, Resolution: model.ByName,
		Ports: []*model.Port{{Number: 443, Target: 443, Name: "tls", Protocol: model.TLS}}, Allocated: []string{"240.240.0.1", "2001:2::f0f0:1"},
		Endpoints: &model.Endpoints{ByPort: map[uint32][]*model.Endpoint{}}}
	settings := model.Settings{ClusterDomain: "cluster.local", ConnectTimeout: time.Second, DNSRefresh: time.Minute, OutboundPort: 15001, InboundPort: 15006, AllowAny: true}
	set, err := New(model.New(model.Parts{Settings: settings, Services: []*model.Service{s}}), nil).Proxy(
		model.Node{Type: model.Sidecar, ID: "a-1", Namespace: "default", IP: "10.244.0.2", DNSDomain: "default.svc.cluster.local", AnswersDNS: true})
	if err != nil {
		t.Fatal(err)
	}
	r := set[resource.Listener]["240.240.0.1_443"]
	if r == nil {
		t.Fatalf("listeners are %v", set.Names(resource.Listener))
	}
	m, err := r.Unmarshal(resource.Listener)
	if err != nil {
		t.Fatal(err)
	}
	l := m.(*listenerpb.Listener)
	if got := l.GetFilterChains()[0].GetFilterChainMatch().GetServerNames(); len(got) != 1 || got[0] != "*.example.com" || len(l.GetListenerFilters()) != 1 {
		t.Errorf("the chain is for %v, with the inspectors %v", got, l.GetListenerFilters())
	}
}
