package upstream

import (
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/windtunnel-mesh/windtunnel/mesh/proxy/snapshot"
	"github.com/windtunnel-mesh/windtunnel/mesh/seed"
)

// overprovisioning is Envoy's factor: a priority takes all its load until less than
// 1/1.4 of its hosts are healthy.
const overprovisioning = 1.4

// Selection is what a choice of a host depends on.
type Selection struct {
	// Key is the request's draw; Attempt counts choices made for one request.
	Key     uint64
	Attempt int
	// Rejected counts the choices for one try that were not wanted: consistent
	// balancers go on from the host of the hash by so many steps.
	Rejected int
	// Hash is the hash of the route's policies, where they gave one.
	Hash    uint64
	HasHash bool
	// OriginalDst is where the client connected to, for ORIGINAL_DST clusters.
	OriginalDst netip.AddrPort
	// Name is the host, perhaps with a port, that the request is for, for clusters by name.
	Name string
	// PriorityUpdate, where it is not 0, keeps away from the priorities of Tried, the hosts
	// that were tried before, after each so many of them. Choices say their Priority.
	PriorityUpdate int
	Tried          []int
	Priority       int
}

// view is one immutable state of a cluster's hosts: which are there, which are
// healthy, and the tables to choose by. Schedules inside it have their own lock.
type view struct {
	config *snapshot.Cluster
	// loads has the share of every priority in percent, 100 together (or all 0).
	loads  []uint32
	health []uint32 // of every priority in percent, overprovisioned
	groups []*group
}

// group has the hosts to choose from in one priority.
type group struct {
	hosts      []*Host // what may be chosen: the healthy ones, or all in panic
	localities []*group
	shares     []weighted        // of hosts, for consistent balancers
	schedule   *schedule[*group] // of localities, where they are weighted
	weighted   *schedule[*Host]  // where weights differ
	table      hashTable
	weight     float64
	cursor     *cursor
}

// schedule is an edf that several goroutines pick from.
type schedule[T any] struct {
	mu     sync.Mutex
	edf    edf[T]
	weight func(T) float64
}

func (s *schedule[T]) pick() T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.edf.pick(s.weight)
}

func newSchedule[T any](items []T, offset uint64, weight func(T) float64) *schedule[T] {
	s := &schedule[T]{weight: weight}
	for _, item := range items {
		s.edf.add(item, weight(item))
	}
	// Identical proxies start at different places: Envoy picks a random number of times first.
	for range offset % uint64(len(items)) {
		s.edf.pick(weight)
	}
	return s
}

// available tells whether requests may go to a host outside panic.
func (h *Host) available() bool {
	health := h.endpoint.Load().Health
	return !h.ejected.Load() && !h.checkFailed.Load() && health != snapshot.Unhealthy && health != snapshot.Draining
}

// newView computes a state from the hosts of all localities.
func (c *Cluster) newView(config *snapshot.Cluster, localities []locality) *view {
	v := &view{config: config}
	last := uint32(0)
	for _, l := range localities {
		last = max(last, l.config.Priority)
	}
	health, total := make([]uint32, last+1), uint32(0)
	for p := range health {
		all, healthy := 0, 0
		for _, l := range localities {
			if int(l.config.Priority) == p {
				all += len(l.hosts)
				healthy += countAvailable(l.hosts)
			}
		}
		if all > 0 {
			health[p] = uint32(min(100, overprovisioning*100*float64(healthy)/float64(all)))
		}
		total += health[p]
	}
	normalized := min(100, total)
	v.health, v.loads = health, loads(health, normalized)
	everywhere, sizes := true, make([]uint32, last+1)
	for p := range health {
		panicking := normalized < 100 && belowPanic(localities, uint32(p), config.PanicThreshold)
		everywhere = everywhere && panicking
		g := c.newGroup(config, localities, uint32(p), panicking)
		sizes[p] = uint32(len(g.hosts))
		v.groups = append(v.groups, g)
	}
	if everywhere {
		v.loads = loadsBySize(sizes)
	}
	return v
}

// loadsBySize spreads 100 percent where all priorities are in panic: by the number of
// their hosts (Envoy: panic threshold).
func loadsBySize(sizes []uint32) []uint32 {
	shares, total, left := make([]uint32, len(sizes)), uint32(0), uint32(100)
	for _, n := range sizes {
		total += n
	}
	first := -1
	for p, n := range sizes {
		if n == 0 {
			continue
		}
		shares[p] = n * 100 / total
		left -= shares[p]
		if first < 0 {
			first = p
		}
	}
	if first >= 0 {
		shares[first] += left // what rounding left over
	}
	return shares
}

// loads spreads 100 percent over priorities: each takes its health's share of the
// total, the rest spills to the next.
func loads(health []uint32, normalized uint32) []uint32 {
	shares, left := make([]uint32, len(health)), uint32(100)
	if normalized == 0 {
		return shares
	}
	first := -1
	for p := range health {
		shares[p] = min(left, health[p]*100/normalized)
		left -= shares[p]
		if first < 0 && health[p] > 0 {
			first = p
		}
	}
	shares[first] += left // what rounding left over
	return shares
}

func countAvailable(hosts []*Host) int {
	n := 0
	for _, h := range hosts {
		if h.available() {
			n++
		}
	}
	return n
}

// belowPanic tells whether a priority's healthy share is below the threshold.
func belowPanic(localities []locality, priority uint32, threshold float64) bool {
	all, healthy := 0, 0
	for _, l := range localities {
		if l.config.Priority == priority {
			all += len(l.hosts)
			healthy += countAvailable(l.hosts)
		}
	}
	return 100*float64(healthy)/float64(max(all, 1)) < threshold
}

func (c *Cluster) newGroup(config *snapshot.Cluster, localities []locality, priority uint32, panicking bool) *group {
	g := &group{cursor: c.cursor(int(priority), "")}
	for _, l := range localities {
		if l.config.Priority != priority {
			continue
		}
		var hosts []*Host
		for _, h := range l.hosts {
			if panicking || h.available() {
				hosts = append(hosts, h)
			}
		}
		g.hosts = append(g.hosts, hosts...)
		if !config.LocalityWeighted || l.config.Weight == 0 || len(hosts) == 0 {
			continue
		}
		if consistent(config) { // one table: a hash finds the same host whatever came before
			g.shares = append(g.shares, normalize(hosts, float64(l.config.Weight))...)
		}
		if consistent(config) || panicking { // and panic knows no localities
			continue
		}
		name := l.config.Region + "/" + l.config.Zone + "/" + l.config.SubZone
		sub := &group{hosts: hosts, cursor: c.cursor(int(priority), name),
			weight: float64(l.config.Weight) * min(1, overprovisioning*float64(len(hosts))/float64(len(l.hosts)))}
		c.prepare(config, sub)
		g.localities = append(g.localities, sub)
	}
	if len(g.localities) > 0 {
		g.schedule = newSchedule(g.localities, c.seed.Uint64("localities"), func(g *group) float64 { return g.weight })
		return g
	}
	if consistent(config) && len(g.shares) == 0 {
		g.shares = normalize(g.hosts, 1)
	}
	c.prepare(config, g)
	return g
}

// consistent tells whether hosts are chosen by a hash.
func consistent(config *snapshot.Cluster) bool {
	return config.Balancer == snapshot.RingHash || config.Balancer == snapshot.Maglev
}

// prepare makes the tables that a policy chooses by.
func (c *Cluster) prepare(config *snapshot.Cluster, g *group) {
	if len(g.hosts) == 0 {
		return
	}
	switch config.Balancer {
	case snapshot.RingHash:
		g.table = newRing(g.shares, max(config.RingMin, 1), max(config.RingMax, config.RingMin, 1))
	case snapshot.Maglev:
		g.table = newMaglev(g.shares, config.MaglevSize)
	case snapshot.RoundRobin, snapshot.LeastRequest:
		if config.SlowStart == nil && equalWeights(g.hosts) {
			return
		}
		g.weighted = newSchedule(g.hosts, c.seed.Uint64("weighted"), func(h *Host) float64 {
			w := float64(h.weight()) * warmth(config.SlowStart, h.added)
			if config.Balancer == snapshot.LeastRequest {
				w /= math.Pow(float64(h.active.Load()+1), config.RequestBias)
			}
			return w
		})
	}
}

// warmth is the share of its weight that a host gets by slow start:
// max(min%, (age/window)^(1/aggression)), Envoy's slow_start documentation.
func warmth(s *snapshot.SlowStart, added time.Time) float64 {
	if s == nil || added.IsZero() {
		return 1
	}
	age := time.Since(added)
	if age >= s.Window {
		return 1
	}
	aggression := s.Aggression
	if aggression <= 0 {
		aggression = 1
	}
	share := math.Pow(max(float64(age), float64(time.Second))/float64(s.Window), 1/aggression)
	return min(1, max(s.MinPercent/100, share))
}

func equalWeights(hosts []*Host) bool {
	for _, h := range hosts {
		if h.weight() != hosts[0].weight() {
			return false
		}
	}
	return true
}

// choose returns a host, or nil where none can be reached.
func (v *view) choose(s seed.Seed, sel *Selection) *Host {
	g := v.group(s, sel)
	if g == nil || len(g.hosts) == 0 {
		return nil
	}
	if g.schedule != nil {
		g = g.schedule.pick()
	}
	if g.table != nil {
		hash := sel.Hash
		if !sel.HasHash {
			hash = draw(s, sel, 0)
		}
		return g.table.pick(hash, sel.Rejected)
	}
	if g.weighted != nil {
		return g.weighted.pick()
	}
	n := uint64(len(g.hosts))
	switch v.config.Balancer {
	case snapshot.Random:
		return g.hosts[draw(s, sel, 0)%n]
	case snapshot.LeastRequest:
		return g.leastRequest(s, sel, max(v.config.ChoiceCount, 2))
	default:
		return g.hosts[g.cursor.next()%n]
	}
}

// leastRequest is the power of choices: of so many hosts drawn, the one with the
// fewest requests in flight; the first drawn wins ties.
func (g *group) leastRequest(s seed.Seed, sel *Selection, choices int) *Host {
	n := uint64(len(g.hosts))
	var best *Host
	for i := range choices {
		h := g.hosts[draw(s, sel, uint64(i))%n]
		if best == nil || h.active.Load() < best.active.Load() {
			best = h
		}
	}
	return best
}

// draw is the n-th draw of one choice.
func draw(s seed.Seed, sel *Selection, n uint64) uint64 {
	return s.At(sel.Key + uint64(sel.Attempt)<<32 + n<<16)
}

// group picks the priority: consistent balancers by their hash, so that a client stays.
func (v *view) group(s seed.Seed, sel *Selection) *group {
	if len(v.groups) == 1 {
		return v.groups[0]
	}
	n := uint32(draw(s, sel, 99) % 100)
	if sel.HasHash && consistent(v.config) {
		n = uint32(sel.Hash % 100)
	}
	for p, load := range v.loadsFor(sel) {
		if n < load {
			sel.Priority = p
			return v.groups[p]
		}
		n -= load
	}
	return nil
}

// loadsFor are the priorities' shares for a request. A retry may keep away from those of
// the hosts that it was tried at, which have no share then; where no other has health they
// are forgotten (Envoy: previous_priorities).
func (v *view) loadsFor(sel *Selection) []uint32 {
	if sel.PriorityUpdate == 0 || len(sel.Tried) < sel.PriorityUpdate {
		return v.loads
	}
	health, total := slices.Clone(v.health), uint32(0)
	for _, p := range sel.Tried[:len(sel.Tried)-len(sel.Tried)%sel.PriorityUpdate] {
		if p < len(health) {
			health[p] = 0
		}
	}
	for _, h := range health {
		total += h
	}
	if total == 0 {
		sel.Tried = nil
		return v.loads
	}
	return loads(health, min(100, total))
}
