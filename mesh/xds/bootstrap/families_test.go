package bootstrap

import (
	"slices"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
)

// Static listeners of 0.0.0.0 listen where the pod has addresses; others where they say.
func TestWiden(t *testing.T) {
	for ips, want := range map[string][]string{
		"10.1.0.9":         {"0.0.0.0:15021", "127.0.0.1:1"},
		"fd10::9":          {"[::]:15021", "127.0.0.1:1"},
		"10.1.0.9,fd10::9": {"0.0.0.0:15021", "[::]:15021", "127.0.0.1:1"},
		"fd10::9,10.1.0.9": {"0.0.0.0:15021", "[::]:15021", "127.0.0.1:1"},
	} {
		const chain = `filter_chains: [{filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: app}}]}]`
		b, err := Parse("b.yaml", []byte(`node: {id: n, cluster: c, metadata: {INSTANCE_IPS: "`+ips+`"}}
static_resources:
  clusters: [{name: app, type: STATIC, connect_timeout: 1s}]
  listeners:
  - {name: health, address: {socket_address: {address: 0.0.0.0, port_value: 15021}}, `+chain+`}
  - {name: own, address: {socket_address: {address: 127.0.0.1, port_value: 1}}, `+chain+`}
`))
		if err != nil {
			t.Fatal(err)
		}
		addresses, err := b.Addresses()
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Widen(addresses); err != nil {
			t.Fatal(err)
		}
		s, err := compile.Compile(b.Static)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range s.Listeners {
			for _, a := range l.Addresses() {
				got = append(got, a.String())
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", ips, got, want)
		}
	}
}
