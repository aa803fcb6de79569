package upstream

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// clusterOf makes a cluster in force whose hosts have these weights, in groups by priority.
func clusterOf(t *testing.T, config snapshot.Cluster, priorities ...[]uint32) *Cluster {
	t.Helper()
	config.Name, config.MaglevSize, config.RingMin, config.RingMax = "c", 65537, 1024, 8<<20
	n := byte(1)
	for p, weights := range priorities {
		l := &snapshot.Locality{Priority: uint32(p), Weight: 1}
		for _, w := range weights {
			l.Endpoints = append(l.Endpoints, &snapshot.Endpoint{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 80), Weight: w})
			n++
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

// spread chooses n times and gives the share of every host in percent, by last octet.
func spread(c *Cluster, n int, s Selection) map[byte]float64 {
	shares := map[byte]float64{}
	for i := range n {
		s.Key = uint64(i)
		if s.HasHash {
			s.Hash = Hash(fmt.Sprint(i))
		}
		if h := c.Choose(c.ctx, &s); h != nil {
			shares[h.Address.Addr().As4()[3]] += 100 / float64(n)
		}
	}
	return shares
}

func TestBalancersKeepWeights(t *testing.T) {
	for _, c := range []struct {
		balancer  snapshot.Balancer
		weights   []uint32
		hash      bool
		tolerance float64
	}{
		{snapshot.RoundRobin, []uint32{1, 1, 1, 1}, false, 0.1},
		{snapshot.RoundRobin, []uint32{3, 1}, false, 0.1},
		{snapshot.LeastRequest, []uint32{1, 1, 1}, false, 2},
		{snapshot.LeastRequest, []uint32{3, 1}, false, 0.1},
		{snapshot.Random, []uint32{1, 1, 1, 1}, false, 2},
		{snapshot.RingHash, []uint32{1, 1, 2}, true, 6},
		{snapshot.Maglev, []uint32{1, 1, 2}, true, 2},
	} {
		cluster := clusterOf(t, snapshot.Cluster{Balancer: c.balancer}, c.weights)
		total := uint32(0)
		for _, w := range c.weights {
			total += w
		}
		got := spread(cluster, 12_000, Selection{HasHash: c.hash})
		for i, w := range c.weights {
			if want := 100 * float64(w) / float64(total); math.Abs(got[byte(i+1)]-want) > c.tolerance {
				t.Errorf("balancer %d with weights %v gives %v", c.balancer, c.weights, got)
				break
			}
		}
	}
}

func TestHashTablesMoveLittle(t *testing.T) {
	for _, balancer := range []snapshot.Balancer{snapshot.RingHash, snapshot.Maglev} {
		c := clusterOf(t, snapshot.Cluster{Balancer: balancer}, []uint32{1, 1, 1, 1, 1})
		before := map[int]*Host{}
		for i := range 5000 {
			before[i] = c.Choose(c.ctx, &Selection{HasHash: true, Hash: Hash(fmt.Sprint(i))})
		}
		gone := c.localities[0].hosts[2]
		c.mu.Lock()
		gone.ejected.Store(true)
		c.rebuild(c.config())
		c.mu.Unlock()
		moved := 0
		for i, h := range before {
			if after := c.Choose(c.ctx, &Selection{HasHash: true, Hash: Hash(fmt.Sprint(i))}); after != h && h != gone {
				moved++
			} else if after == gone {
				t.Fatal("an ejected host was chosen")
			}
		}
		if moved > 700 { // a ring gives hosts that stay more places, too
			t.Errorf("balancer %d: %d of 5000 keys moved without need", balancer, moved)
		}
	}
}

func TestPrioritiesAndPanic(t *testing.T) {
	four := []uint32{1, 1, 1, 1}
	for _, c := range []struct {
		name      string
		threshold float64
		ejected   []int // by position in both priorities
		first     float64
		total     float64
	}{
		{"all healthy", 50, nil, 100, 100},
		{"three of four carry all (overprovisioning 1.4)", 50, []int{0}, 100, 100},
		{"half carry 70%", 50, []int{0, 1}, 70, 100},
		{"none: all spills over", 0, []int{0, 1, 2, 3}, 0, 100},
		{"nothing left, no panic", 0, []int{0, 1, 2, 3, 4, 5, 6, 7}, 0, 0},
		{"nothing left, panic: by their number of hosts", 50, []int{0, 1, 2, 3, 4, 5, 6, 7}, 50, 100},
	} {
		cluster := clusterOf(t, snapshot.Cluster{Balancer: snapshot.Random, PanicThreshold: c.threshold}, four, four)
		var hosts []*Host
		for _, l := range cluster.localities {
			hosts = append(hosts, l.hosts...)
		}
		cluster.mu.Lock()
		for _, i := range c.ejected {
			hosts[i].ejected.Store(true)
		}
		cluster.rebuild(cluster.config())
		cluster.mu.Unlock()
		first, total := 0.0, 0.0
		for octet, share := range spread(cluster, 10_000, Selection{}) {
			if total += share; octet <= 4 {
				first += share
			}
		}
		if math.Abs(first-c.first) > 2 || math.Abs(total-c.total) > 0.01 {
			t.Errorf("%s: first priority has %.1f%% of %.1f%%, want %v of %v", c.name, first, total, c.first, c.total)
		}
	}
}

// After two tries each the priorities that were tried are left out, until there is no other.
func TestRetriesLeavePrioritiesThatWereTried(t *testing.T) {
	cluster := clusterOf(t, snapshot.Cluster{Balancer: snapshot.Random}, []uint32{1, 1}, []uint32{1, 1}, []uint32{1, 1})
	for _, c := range []struct {
		update int
		tried  []int
		want   int // priority
	}{{0, []int{0, 0}, 0}, {2, nil, 0}, {2, []int{0}, 0}, {2, []int{0, 0}, 1}, {2, []int{0, 0, 1}, 1}, {2, []int{0, 0, 1, 1}, 2}, {1, []int{0}, 1},
		{1, []int{0, 1, 2}, 0}, {1, []int{7}, 0}} {
		sel := Selection{PriorityUpdate: c.update, Tried: c.tried}
		if h := cluster.Choose(t.Context(), &sel); h == nil || sel.Priority != c.want {
			t.Errorf("every %d after %v: priority %d, want %d", c.update, c.tried, sel.Priority, c.want)
		}
	}
}

func TestDetector(t *testing.T) {
	hosts := make([]*Host, 5)
	for i := range hosts {
		hosts[i] = &Host{}
	}
	config := snapshot.Outlier{Consecutive5xx: 5, ConsecutiveGateway: 3, ConsecutiveLocal: 2, EnforceConsecutive5xx: 100, EnforceGateway: 100,
		EnforceLocal: 100, Interval: 10 * time.Second, BaseEjection: 30 * time.Second, MaxEjection: 80 * time.Second, MaxEjectionPercent: 10}
	start := time.Unix(0, 0)
	make5 := func(change func(*snapshot.Outlier)) *detector {
		c := config
		change(&c)
		d := newDetector(&c, seed.New(1))
		d.update(&c, hosts)
		return d
	}
	outcomes := func(o Outcome, n int) (list []Outcome) {
		for range n {
			list = append(list, o)
		}
		return list
	}
	for _, c := range []struct {
		name    string
		change  func(*snapshot.Outlier)
		reports []Outcome
		ejected bool
	}{
		{"four 500s", func(*snapshot.Outlier) {}, outcomes(Outcome{Status: 500}, 4), false},
		{"five 500s", func(*snapshot.Outlier) {}, outcomes(Outcome{Status: 500}, 5), true},
		{"a success between", func(*snapshot.Outlier) {}, append(append(outcomes(Outcome{Status: 500}, 4), Outcome{Status: 200}), outcomes(Outcome{Status: 500}, 4)...), false},
		{"three gateway errors", func(*snapshot.Outlier) {}, outcomes(Outcome{Status: 503}, 3), true},
		{"a 500 breaks the gateway run", func(*snapshot.Outlier) {}, []Outcome{{Status: 503}, {Status: 503}, {Status: 500}, {Status: 503}}, false},
		{"local errors are 503s", func(*snapshot.Outlier) {}, outcomes(Outcome{Local: true}, 3), true},
		{"local errors apart", func(c *snapshot.Outlier) { c.SplitLocalOrigin = true }, outcomes(Outcome{Local: true}, 2), true},
		{"0 switches off", func(c *snapshot.Outlier) { c.Consecutive5xx, c.ConsecutiveGateway = 0, 0 }, outcomes(Outcome{Status: 503}, 50), false},
		{"not enforced", func(c *snapshot.Outlier) { c.EnforceConsecutive5xx, c.EnforceGateway = 0, 0 }, outcomes(Outcome{Status: 503}, 50), false},
		{"no ejection at 0%", func(c *snapshot.Outlier) { c.MaxEjectionPercent = 0 }, outcomes(Outcome{Status: 503}, 5), false},
		{"but one always", func(c *snapshot.Outlier) { c.MaxEjectionPercent, c.AlwaysEjectOne = 0, true }, outcomes(Outcome{Status: 503}, 5), true},
	} {
		d := make5(c.change)
		for _, o := range c.reports {
			d.report(hosts[0], o, start)
		}
		if got := d.hosts[hosts[0]].ejected; got != c.ejected {
			t.Errorf("%s: ejected is %v", c.name, got)
		}
	}
	d := make5(func(*snapshot.Outlier) {})
	fail := func(h *Host, now time.Time) {
		for range 5 {
			d.report(h, Outcome{Status: 500}, now)
		}
	}
	now := start
	fail(hosts[0], now)
	if fail(hosts[1], now); d.active != 1 {
		t.Errorf("%d of 5 are ejected at 10%%, want 1", d.active)
	}
	// Envoy ejects for base * multiplier, at most the maximum; a sweep ends it.
	for _, want := range []time.Duration{30, 60, 80, 80} {
		begin := now
		for d.hosts[hosts[0]].ejected {
			now = now.Add(time.Second)
			d.sweep(now)
		}
		if got := now.Sub(begin); got != want*time.Second {
			t.Errorf("ejection took %v, want %ds", got, want)
		}
		fail(hosts[0], now)
	}
}

func TestDetectorBySuccessRate(t *testing.T) {
	hosts := []*Host{{}, {}, {}, {}, {}}
	config := &snapshot.Outlier{EnforceSuccessRate: 100, SuccessRateMinHosts: 5, SuccessRateVolume: 100, SuccessRateStdevFactor: 1900,
		MaxEjectionPercent: 50, BaseEjection: time.Second}
	d := newDetector(config, seed.New(1))
	d.update(config, hosts)
	for i, h := range hosts {
		for n := range 100 {
			status := 200
			if i == 0 && n%2 == 0 {
				status = 500
			}
			d.report(h, Outcome{Status: status}, time.Unix(0, 0))
		}
	}
	d.sweep(time.Unix(10, 0))
	if !d.hosts[hosts[0]].ejected || d.active != 1 {
		t.Errorf("%d are ejected", d.active)
	}
}

func TestRetryBudget(t *testing.T) {
	b := &breaker{}
	b.limits.Store(&snapshot.Breaker{MaxRetries: 1, Budget: &snapshot.RetryBudget{Percent: 20, MinConcurrency: 3}})
	b.requests.Store(10)
	if got := b.retryLimit(); got != 3 {
		t.Errorf("limit of 10 requests is %d, want the floor of 3", got)
	}
	b.requests.Store(100)
	if got := b.retryLimit(); got != 20 {
		t.Errorf("limit of 100 requests is %d, want 20", got)
	}
}
