//go:build netns && linux

package nft

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/windtunnel-mesh/windtunnel/mesh/build"
	"github.com/windtunnel-mesh/windtunnel/mesh/config"
	"github.com/windtunnel-mesh/windtunnel/mesh/model"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	dataplane "github.com/windtunnel-mesh/windtunnel/mesh/proxy"
	"github.com/windtunnel-mesh/windtunnel/mesh/store"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/compile"
	"github.com/windtunnel-mesh/windtunnel/mesh/xds/translate"
)

// inside is the network of a namespace, for a proxy's user.
type inside struct {
	netx.System
	ns netns.NsHandle
}

func (w inside) Listen(ctx context.Context, addr string) (l net.Listener, err error) {
	failed := on(w.ns, 0, 0, func() error { l, err = w.System.Listen(ctx, addr); return err })
	return l, failed
}

func (w inside) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return w.DialFrom(ctx, netip.Addr{}, addr)
}

func (w inside) DialFrom(ctx context.Context, source netip.Addr, addr string) (c net.Conn, err error) {
	failed := on(w.ns, proxy, proxy, func() error { c, err = w.System.DialFrom(ctx, source, addr); return err })
	return c, failed
}

// A mesh of two pods: web has a Service with an address of each family.
const twoPods = `apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.3, clusterIPs: [10.96.0.3, "fd96::3"], ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 3306, targetPort: 3307}], selector: {app: web}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-4, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.77.0.9], conditions: {ready: true}}]
ports: [{name: http, port: 8080, protocol: TCP}, {name: tcp, port: 3307, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-6, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
endpoints: [{addresses: ["fd77::9"], conditions: {ready: true}}]
ports: [{name: http, port: 8080, protocol: TCP}, {name: tcp, port: 3307, protocol: TCP}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
`

// sidecar runs the proxy of a pod, behind capture rules, with what the control plane gives
// to a pod of these addresses.
func sidecar(t *testing.T, ns netns.NsHandle, app string, ips ...string) {
	t.Helper()
	objects, found := config.Decode("mesh.yaml", 1, []byte(twoPods))
	m, more := build.Build(store.NewView(objects...), build.Options{MeshConfig: config.DefaultMeshConfig()})
	for _, d := range append(found, more...) {
		if d.Severity == config.Error {
			t.Fatalf("%s: %s", d.Position, d.Message)
		}
	}
	set, err := translate.New(m, nil).Proxy(model.Node{Type: model.Sidecar, ID: app + "-1", Namespace: "default", IP: ips[0], IPs: ips,
		DNSDomain: "default.svc.cluster.local", Labels: map[string]string{"app": app}})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := compile.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	p := dataplane.New(dataplane.Options{Network: inside{ns: ns}, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { _ = p.Close() })
	if err := p.Apply(snapshot); err != nil {
		t.Fatal(err)
	}
	if err := on(ns, 0, 0, func() error { _, err := Program(flowSets[0].rules(t)); return err }); err != nil {
		t.Fatal(err)
	}
}

// application answers on two ports of a pod with the address that a request came from, over
// HTTP and over TCP. Over TCP the client speaks first, as the inbound listener waits for it.
func application(t *testing.T, ns netns.NsHandle) {
	t.Helper()
	for _, address := range []string{":8080", ":3307"} {
		var l net.Listener
		if err := on(ns, 0, 0, func() (err error) { l, err = net.Listen("tcp", address); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		if address == ":8080" {
			go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr, " ", r.Host) }))
			continue
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				if _, err := c.Read(make([]byte, 5)); err == nil {
					fmt.Fprint(c, c.RemoteAddr())
				}
				c.Close()
			}
		}()
	}
}

// Two sidecars, in pods that have IPv6 only, or both families: requests and connections of
// either family go through both proxies, and reach the application from the address that
// the rules know.
func TestSidecarsOfEachFamily(t *testing.T) {
	for _, c := range []struct {
		name           string
		client, server []string
		services       map[string]string // by address: where the application sees it come from
	}{
		{"IPv6", []string{pod6}, []string{remote6}, map[string]string{service6: "[::6]:"}},
		{"IPv4 first", []string{pod4, pod6}, []string{remote4, remote6}, map[string]string{service4: "", service6: ""}},
		{"IPv6 first", []string{pod6, pod4}, []string{remote6, remote4}, map[string]string{service4: "", service6: ""}},
		{"IPv4", []string{pod4}, []string{remote4}, map[string]string{service4: "127.0.0.6:"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newPods(t)
			application(t, l.remote)
			sidecar(t, l.remote, "web", c.server...)
			sidecar(t, l.pod, "client", c.client...)
			for service, from := range c.services {
				sources := []string{from}
				if from == "" {
					sources = []string{"[::6]:", "127.0.0.6:"} // the balancer's choice of two endpoints
				}
				for _, port := range []string{"80", "3306"} {
					answer := ask(t, l.pod, net.JoinHostPort(service, port))
					if !startsWithOne(answer, sources) {
						t.Errorf("%s, port %s: the application was reached from %q, want %v", service, port, answer, sources)
					}
				}
			}
		})
	}
}

func startsWithOne(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// ask connects as a pod's application and returns the answer: HTTP's on port 80.
func ask(t *testing.T, ns netns.NsHandle, address string) (answer string) {
	t.Helper()
	err := on(ns, app, app, func() error {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		if !strings.HasSuffix(address, ":80") {
			fmt.Fprint(c, "hello")
		} else {
			fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", address)
		}
		text, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		head, body, split := strings.Cut(string(text), "\r\n\r\n")
		switch {
		case !split:
			answer = head
		case !strings.HasPrefix(head, "HTTP/1.1 200 ") || !strings.Contains(head, "x-envoy-upstream-service-time"):
			return fmt.Errorf("not through the proxies: %q", text)
		default:
			answer = body
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v", address, err)
	}
	return answer
}
