package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// doors is a network in which addresses can be dialled, or not.
type doors struct {
	netx.Network
	shut  map[string]bool
	asked []string
}

func (d *doors) DialFrom(_ context.Context, _ netip.Addr, addr string) (net.Conn, error) {
	if !slices.Contains(d.asked, addr) {
		d.asked = append(d.asked, addr)
	}
	if d.shut[addr] {
		return nil, errors.New("refused")
	}
	here, there := net.Pipe()
	_ = there.Close()
	return here, nil
}

func (d *doors) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return d.DialFrom(ctx, netip.Addr{}, addr)
}

func TestHostsThatPassOutliveDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &doors{shut: map[string]bool{}}
		m := NewManager(Options{Network: d})
		defer func() { _ = m.Close() }()
		check := &snapshot.HealthCheck{Timeout: time.Second, Interval: time.Second, NoTraffic: time.Second, NoTrafficHealthy: time.Second,
			UnhealthyInterval: time.Second, UnhealthyEdge: time.Second, HealthyEdge: time.Second, Healthy: 1, Unhealthy: 1, KeepPassing: true, TCP: &snapshot.TCPCheck{}}
		update := func(keep bool, endpoints ...*snapshot.Endpoint) string {
			t.Helper()
			c := *check
			c.KeepPassing = keep
			err := m.Update(map[string]*snapshot.Cluster{"c": {Name: "c", Discovery: snapshot.EDS, HealthCheck: &c,
				Endpoints: []*snapshot.Locality{{Zone: "a", Endpoints: endpoints}}}})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			hosts := ""
			for _, h := range m.Hosts("c") {
				hosts += h.Address.String() + " "
			}
			return hosts
		}
		at := func(address string) *snapshot.Endpoint {
			return &snapshot.Endpoint{Address: netip.MustParseAddrPort(address)}
		}
		if got := update(true, at("10.0.0.1:80"), at("10.0.0.2:80"), at("10.0.0.3:80")); got != "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80 " {
			t.Fatal("at first there are", got)
		}
		d.shut["10.0.0.2:80"] = true
		if got := update(true, at("10.0.0.1:80")); got != "10.0.0.1:80 10.0.0.3:80 " {
			t.Error("of two that discovery lost, one of which passes, there are", got)
		}
		d.shut["10.0.0.3:80"] = true
		if got := update(true, at("10.0.0.1:80")); got != "10.0.0.1:80 " {
			t.Error("when that fails, too, there are", got)
		}
		if got := update(false, at("10.0.0.4:80")); got != "10.0.0.4:80 " {
			t.Error("where health does not count, there are", got)
		}
		own := at("10.0.0.5:80")
		own.Check = snapshot.EndpointCheck{Port: 8080, Address: netip.MustParseAddr("10.9.9.9")}
		free := at("10.0.0.6:80")
		free.Check.Disabled = true
		d.asked, d.shut = nil, map[string]bool{"10.0.0.6:80": true}
		if got := update(true, own, free); got != "10.0.0.5:80 10.0.0.6:80 " || !slices.Equal(d.asked, []string{"10.9.9.9:8080"}) {
			t.Error("with checks of their own there are", got, "after asking", d.asked)
		}
		if h := m.Cluster("c").Choose(t.Context(), &Selection{}); h == nil {
			t.Error("no host is healthy")
		}
	})
}
