package translate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// TestIngressListeners: the ports of a Sidecar are chains of virtualInbound, or with
// captureMode NONE listeners of their own, which ask for no original destination.
func TestIngressListeners(t *testing.T) {
	for _, c := range []struct{ ingress, listeners, chains string }{
		{`{port: {number: 9080, protocol: HTTP, name: http}, defaultEndpoint: "127.0.0.1:80"}`, "", "10.1.0.6_9080"},
		{`{port: {number: 9080, protocol: HTTP, name: http}, bind: 10.9.9.9, defaultEndpoint: "127.0.0.1:80"}`, "", "10.9.9.9_9080"},
		{`{port: {number: 9080, protocol: HTTP, name: http}, captureMode: IPTABLES}`, "", "10.1.0.6_9080"},
		{`{port: {number: 9080, protocol: HTTP, name: http}, captureMode: NONE, defaultEndpoint: "127.0.0.1:80"}`, "10.1.0.6_9080 at 10.1.0.6:9080 tls_inspector", ""},
		{`{port: {number: 9080, protocol: TCP, name: tcp}, captureMode: NONE, bind: 0.0.0.0, defaultEndpoint: "127.0.0.1:80"}, {port: {number: 9090, protocol: HTTP, name: http}}`,
			"0.0.0.0_9080 at 0.0.0.0:9080 tls_inspector", "10.1.0.6_9090"},
	} {
		set := translated(t, productpage, bookinfo()+
			"apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default}\nspec: {ingress: ["+c.ingress+"], egress: [{hosts: [\"~/*\"]}]}\n")
		var listeners, names []string
		for name := range set[resource.Listener] {
			l := listener(t, set, name)
			if !strings.HasPrefix(name, "virtual") && l.GetBindToPort().GetValue() {
				at := l.GetAddress().GetSocketAddress()
				text := fmt.Sprintf("%s at %s:%d", name, at.GetAddress(), at.GetPortValue())
				for _, f := range l.GetListenerFilters() {
					text += " " + strings.TrimPrefix(f.GetName(), "envoy.filters.listener.")
				}
				listeners = append(listeners, text)
			}
		}
		for _, f := range listener(t, set, "virtualInbound").GetFilterChains() {
			if !strings.HasPrefix(f.GetName(), "virtual") && !slices.Contains(names, f.GetName()) {
				names = append(names, f.GetName())
			}
		}
		slices.Sort(listeners)
		if got := strings.Join(listeners, "; "); got != c.listeners {
			t.Errorf("%s: listeners %q, want %q", c.ingress, got, c.listeners)
		}
		if got := strings.Join(names, "; "); got != c.chains {
			t.Errorf("%s: chains of virtualInbound %q, want %q", c.ingress, got, c.chains)
		}
		if _, err := compile.Compile(set); err != nil {
			t.Errorf("%s: the data plane: %v", c.ingress, err)
		}
	}
}
