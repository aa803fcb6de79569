package upstream

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/netx"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/message"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/reply"
	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
)

// zone is a network that has nothing but DNS.
type zone struct {
	netx.Network
	names   map[string]string
	lookups map[string]int
}

func (z *zone) LookupHost(_ context.Context, name string) ([]netip.Addr, error) {
	z.lookups[name]++
	time.Sleep(time.Millisecond)
	if a, ok := z.names[name]; ok {
		return []netip.Addr{netip.MustParseAddr(a)}, nil
	}
	return nil, errors.New("no such host")
}

func TestClusterByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{names: map[string]string{"a.example.com": "10.0.0.1", "b.example.com": "10.0.0.1"}, lookups: map[string]int{}}
		m := NewManager(Options{Network: z})
		defer func() { _ = m.Close() }()
		config := &snapshot.Cluster{Name: "c", Discovery: snapshot.ByName, Balancer: snapshot.ClusterProvided,
			Cache: &snapshot.DNSCache{Name: "cache", Refresh: time.Minute, HostTTL: 5 * time.Minute, Timeout: 5 * time.Second, MaxHosts: 3}}
		if err := m.Update(map[string]*snapshot.Cluster{"c": config}); err != nil {
			t.Fatal(err)
		}
		ask := func(authority string) *reply.Reply {
			var r *reply.Reply
			errors.As(m.Resolve(t.Context(), "c", "cache", authority), &r)
			return r
		}
		choose := func(authority string) *Host { return m.Cluster("c").Choose(t.Context(), &Selection{Name: authority}) }
		if choose("a.example.com") != nil {
			t.Error("there is a host that nobody has resolved")
		}
		for _, authority := range []string{"a.example.com", "A.example.com:80", "b.example.com"} {
			if r := ask(authority); r != nil {
				t.Fatalf("%s: %v", authority, r)
			}
		}
		a, b := choose("A.EXAMPLE.com"), choose("b.example.com")
		if a == nil || a == b || a.Target() != netip.MustParseAddrPort("10.0.0.1:80") || z.lookups["a.example.com"] != 1 {
			t.Fatalf("hosts %v and %v after look-ups %v", a, b, z.lookups)
		}
		for range 2 { // a failure is kept, too
			if r := ask("nobody.example.com"); r == nil || r.Status != 503 || r.Flag != message.DNSFailure || r.Details != "dns_resolution_failure{no_such_host}" {
				t.Errorf("an unknown name: %+v", r)
			}
		}
		if r := ask("c.example.com"); r == nil || r.Status != 503 || r.Details != "dns_cache_overflow" || z.lookups["nobody.example.com"] != 1 {
			t.Errorf("one name too many: %+v after look-ups %v", r, z.lookups)
		}
		if ask("anything") == nil || m.Resolve(t.Context(), "c", "another cache", "anything") != nil {
			t.Error("a filter fills its own cache only")
		}
		z.names["a.example.com"], z.names["nobody.example.com"] = "10.0.0.2", "10.0.0.3"
		time.Sleep(90 * time.Second)
		if choose("a.example.com") != a || a.Target().Addr() != netip.MustParseAddr("10.0.0.2") {
			t.Errorf("after a minute the name leads to %v", a.Target())
		}
		if r := ask("nobody.example.com"); r != nil {
			t.Errorf("a name that is known now: %v", r)
		}
		delete(z.names, "a.example.com")
		time.Sleep(time.Minute)
		if choose("a.example.com") != a {
			t.Error("a name that DNS does not know any more has lost its address")
		}
		time.Sleep(10 * time.Minute)
		if choose("a.example.com") != nil || len(m.Hosts("c")) != 0 {
			t.Errorf("nobody has asked for ten minutes: %v", m.Hosts("c"))
		}
	})
}
