package engine_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/load"
	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/engine"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/manager"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// proxied runs a server behind a proxy on real sockets, and returns how to reach it.
func proxied(t *testing.T, h http.HandlerFunc, http2 bool, mirror float64) load.Dialer {
	t.Helper()
	server := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	back, front := listen(), listen()
	go server.Serve(back)
	e := engine.New(engine.Options{Network: netx.System{}, Seed: seed.New(1)})
	cluster := &snapshot.Cluster{Name: "web", ConnectTimeout: time.Minute, HTTP: snapshot.HTTPOptions{HTTP2: http2},
		Endpoints: []*snapshot.Locality{{Endpoints: []*snapshot.Endpoint{{Address: netip.MustParseAddrPort(back.Addr().String()), Weight: 1}}}}}
	for i := range cluster.Breaker {
		cluster.Breaker[i] = snapshot.Breaker{MaxConnections: 10, MaxPending: 10, MaxRequests: 10, MaxRetries: 3}
	}
	if err := e.UpdateClusters(map[string]*snapshot.Cluster{"web": cluster}); err != nil {
		t.Fatal(err)
	}
	root := "/"
	forward := &snapshot.Forward{Clusters: []snapshot.WeightedCluster{{Name: "web", Weight: 1}}, Retry: &snapshot.Retry{On: []string{"5xx"}, Attempts: 2}}
	if mirror > 0 {
		forward.Mirrors = []snapshot.Mirror{{Cluster: "web", Percent: mirror}}
	}
	config := &snapshot.HTTPManager{Filters: []snapshot.Filter{snapshot.Router{}}, Routes: &snapshot.RouteConfig{VirtualHosts: []*snapshot.VirtualHost{
		{Name: "v", Domains: []string{"*"}, Routes: []*snapshot.Route{{Match: snapshot.RouteMatch{Prefix: &root}, Forward: forward}}}}}}
	handler, err := e.Handler(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	slot := manager.NewSlot(manager.New(manager.Options{Config: config, Handler: handler, Seed: seed.New(1)}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			c, err := front.Accept()
			if err != nil {
				return
			}
			go slot.Serve(ctx, manager.Connection{Conn: c, Facts: &message.Conn{Start: time.Now(), Remote: netx.AddrPort(c.RemoteAddr()), Local: netx.AddrPort(c.LocalAddr())}})
		}
	}()
	t.Cleanup(func() {
		cancel()
		front.Close()
		server.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, front.Addr().String())
	}
}

// An upload of 300 MB, with a server that now and then does not read, a retry policy and
// a mirror, takes a few megabytes: what streams is never kept.
func TestLargeUploadTakesLittleMemory(t *testing.T) {
	const size, most = 300 << 20, 24 << 20
	for _, protocol := range []string{"http1", "http2"} {
		t.Run(protocol, func(t *testing.T) {
			live := func() uint64 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			var before, peak uint64
			received := make(chan int64, 2)
			dial := proxied(t, func(w http.ResponseWriter, r *http.Request) {
				total := int64(0)
				for {
					n, err := io.CopyN(io.Discard, r.Body, size/6)
					if total += n; err != nil {
						break
					}
					if r.Host == "web" {
						time.Sleep(20 * time.Millisecond) // what can pile up does
						peak = max(peak, live())
					}
				}
				if r.Host == "web" {
					received <- total
				}
			}, protocol == "http2", 100)
			before = live()
			found, err := load.Send(t.Context(), load.SendOptions{Target: load.Target{Dial: dial, Protocol: protocol, URL: "http://web/", Method: "POST", Filler: size, Seed: seed.New(1)}})
			if err != nil || found.Records[0].Status != 200 {
				t.Fatalf("%+v, %v", found.Records[0], err)
			}
			if got := <-received; got != size {
				t.Errorf("the server got %d bytes of %d", got, size)
			}
			if peak == 0 || peak > before+most {
				t.Errorf("live memory rose from %d to %d bytes", before, peak)
			}
			t.Logf("live memory rose by %d KiB", (int64(peak)-int64(before))>>10)
		})
	}
}
