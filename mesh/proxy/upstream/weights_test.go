package upstream

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// inLocalities makes a cluster of two localities with weights and numbers of hosts;
// hosts of the first end in 1, 2, ... and of the second in 101, 102, ...
func inLocalities(t *testing.T, config snapshot.Cluster, weights [2]uint32, hosts [2]int) *Cluster {
	t.Helper()
	config.Name, config.MaglevSize, config.RingMin, config.RingMax = "c", 65537, 8192, 8<<20
	for i := range 2 {
		l := &snapshot.Locality{Zone: fmt.Sprint(i), Weight: weights[i]}
		for n := range hosts[i] {
			l.Endpoints = append(l.Endpoints, &snapshot.Endpoint{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(100*i + n + 1)}), 80), Weight: 1})
		}
		config.Endpoints = append(config.Endpoints, l)
	}
	m := NewManager(Options{Seed: seed.New(1)})
	t.Cleanup(func() { _ = m.Close() })
	if err := m.Update(map[string]*snapshot.Cluster{"c": &config}); err != nil {
		t.Fatal(err)
	}
	return m.Cluster("c")
}

// TestLocalityWeights (Envoy: locality weighted load balancing): a locality has its
// weight's share, less where too few of its hosts are healthy, whatever their number.
func TestLocalityWeights(t *testing.T) {
	for _, c := range []struct {
		name      string
		balancer  snapshot.Balancer
		weighted  bool
		threshold float64
		weights   [2]uint32
		hosts     [2]int
		ejected   int // of the first locality
		first     float64
	}{
		{"round robin", snapshot.RoundRobin, true, 50, [2]uint32{1, 3}, [2]int{3, 1}, 0, 25},
		{"least request", snapshot.LeastRequest, true, 50, [2]uint32{1, 3}, [2]int{3, 1}, 0, 25},
		{"random", snapshot.Random, true, 50, [2]uint32{1, 3}, [2]int{3, 1}, 0, 25},
		{"ring hash", snapshot.RingHash, true, 50, [2]uint32{1, 3}, [2]int{3, 1}, 0, 25},
		{"maglev", snapshot.Maglev, true, 50, [2]uint32{1, 3}, [2]int{3, 1}, 0, 25},
		{"not asked for", snapshot.RoundRobin, false, 50, [2]uint32{1, 3}, [2]int{3, 1}, 0, 75},
		{"weight 0 gets nothing", snapshot.RoundRobin, true, 50, [2]uint32{0, 3}, [2]int{3, 1}, 0, 0},
		{"70% healthy loses nothing much", snapshot.RoundRobin, true, 0, [2]uint32{1, 1}, [2]int{10, 10}, 3, 49.5},
		{"half healthy carry 70%", snapshot.RoundRobin, true, 0, [2]uint32{1, 1}, [2]int{10, 10}, 5, 70 / 1.7},
		{"panic knows no localities", snapshot.RoundRobin, true, 80, [2]uint32{1, 9}, [2]int{8, 2}, 8, 80},
	} {
		cluster := inLocalities(t, snapshot.Cluster{Balancer: c.balancer, LocalityWeighted: c.weighted, PanicThreshold: c.threshold}, c.weights, c.hosts)
		cluster.mu.Lock()
		for _, h := range cluster.localities[0].hosts[:c.ejected] {
			h.ejected.Store(true)
		}
		cluster.rebuild(cluster.config())
		cluster.mu.Unlock()
		first := 0.0
		for octet, share := range spread(cluster, 10_000, Selection{HasHash: consistent(cluster.config())}) {
			if octet <= 100 {
				first += share
			}
		}
		if math.Abs(first-c.first) > 2 {
			t.Errorf("%s: the first locality has %.1f%%, want %.1f%%", c.name, first, c.first)
		}
	}
}

// TestHashesKnowNoOrder: the host of a hash is the same whatever was chosen before, with
// localities and priorities, too.
func TestHashesKnowNoOrder(t *testing.T) {
	for _, balancer := range []snapshot.Balancer{snapshot.RingHash, snapshot.Maglev} {
		c := inLocalities(t, snapshot.Cluster{Balancer: balancer, LocalityWeighted: true}, [2]uint32{1, 2}, [2]int{3, 3})
		for i := range 100 {
			sel := Selection{HasHash: true, Hash: Hash(fmt.Sprint(i))}
			first := c.Choose(c.ctx, &sel)
			for n := range 5 {
				sel.Key, sel.Attempt = uint64(n), n
				if again := c.Choose(c.ctx, &sel); again != first {
					t.Fatalf("balancer %d: a hash moved from %v to %v", balancer, first.Address, again.Address)
				}
			}
		}
	}
}

// TestSlowStart: a host that comes later gets at least the minimum, then its age's
// share of the window, and all of its weight at the window's end.
func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := snapshot.Cluster{Name: "c", Discovery: snapshot.EDS, Balancer: snapshot.RoundRobin, SlowStart: &snapshot.SlowStart{Window: 100 * time.Second, MinPercent: 10, Aggression: 1}}
		endpoint := func(n byte) *snapshot.Endpoint {
			return &snapshot.Endpoint{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 80), Weight: 1}
		}
		config.Endpoints = []*snapshot.Locality{{Endpoints: []*snapshot.Endpoint{endpoint(1)}}}
		m := NewManager(Options{Seed: seed.New(1)})
		defer func() { _ = m.Close() }()
		update := func(c snapshot.Cluster) {
			if err := m.Update(map[string]*snapshot.Cluster{"c": &c}); err != nil {
				t.Fatal(err)
			}
		}
		update(config)
		config.Endpoints = []*snapshot.Locality{{Endpoints: []*snapshot.Endpoint{endpoint(1), endpoint(2)}}}
		update(config)
		for _, step := range []struct {
			age    time.Duration
			weight float64
		}{{0, 0.1}, {5 * time.Second, 0.1}, {30 * time.Second, 0.3}, {50 * time.Second, 0.5}, {100 * time.Second, 1}, {time.Hour, 1}} {
			added := m.Cluster("c").localities[0].hosts[1].added
			time.Sleep(step.age - time.Since(added))
			spread(m.Cluster("c"), 200, Selection{}) // what was scheduled with the weight before
			want := 100 * step.weight / (1 + step.weight)
			if got := spread(m.Cluster("c"), 1000, Selection{}); math.Abs(got[2]-want) > 1 {
				t.Errorf("after %v the new host has %.1f%%, want %.1f%%", step.age, got[2], want)
			}
		}
		for _, a := range []struct{ aggression, want float64 }{{1, 0.25}, {2, 0.5}, {0.5, 0.0625}} {
			s := &snapshot.SlowStart{Window: 100 * time.Second, Aggression: a.aggression}
			if got := warmth(s, time.Now().Add(-25*time.Second)); math.Abs(got-a.want) > 1e-9 {
				t.Errorf("aggression %v after a quarter of the window gives %v, want %v", a.aggression, got, a.want)
			}
		}
	})
}
