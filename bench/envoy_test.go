package bench

import (
	"fmt"
	"os"
	"slices"
	"testing"

	managerpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/bootstrap"
)

// What the peer Envoy gets is a bootstrap by Envoy's own types and their rules, down to the
// filters: no field that they do not have, no value that they refuse, one place to listen
// and one to send to.
func TestThePeersBootstrapIsEnvoys(t *testing.T) {
	c, err := Plan{}.peerCommand("envoy", Build{}, t.TempDir(), "127.0.0.1:10000", "127.231.0.4:8080")
	if err != nil {
		t.Fatal(err)
	}
	at := slices.Index(c.Args, "-c")
	if at < 0 || !slices.Equal(c.Args[:at], []string{"envoy", "--disable-hot-restart", "--log-level", "error", "--concurrency", "1"}) {
		t.Fatalf("the command is %q", c.Args)
	}
	text, err := os.ReadFile(c.Args[at+1])
	if err != nil {
		t.Fatal(err)
	}
	read, err := bootstrap.Parse(c.Args[at+1], text)
	if err != nil {
		t.Fatal(err)
	}
	valid := func(m any) {
		t.Helper()
		if v, ok := m.(interface{ ValidateAll() error }); !ok {
			t.Errorf("%T has no rules", m)
		} else if err := v.ValidateAll(); err != nil {
			t.Error(err)
		}
	}
	valid(read.Proto)
	listener, cluster := read.Proto.StaticResources.Listeners[0], read.Proto.StaticResources.Clusters[0]
	var manager managerpb.HttpConnectionManager
	if err := listener.FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(&manager); err != nil {
		t.Fatal(err)
	}
	valid(&manager)
	router, err := manager.HttpFilters[0].GetTypedConfig().UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	valid(router)
	in, out := listener.Address.GetSocketAddress(), cluster.LoadAssignment.Endpoints[0].LbEndpoints[0].GetEndpoint().Address.GetSocketAddress()
	if got := fmt.Sprintf("%s:%d to %s:%d", in.Address, in.GetPortValue(), out.Address, out.GetPortValue()); got != "127.0.0.1:10000 to 127.231.0.4:8080" {
		t.Errorf("it leads from %s", got)
	}
}
