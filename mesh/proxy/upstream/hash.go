package upstream

import (
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// hashTable finds hosts by a request's hash, the same host for the same hash as
// long as it is there.
type hashTable interface {
	pick(hash uint64, attempt int) *Host
}

// Hash is the hash of Envoy's consistent balancers and hash policies (xxHash64, seed 0).
func Hash(s string) uint64 { return xxhash.Sum64String(s) }

type weighted struct {
	host   *Host
	weight float64
}

// normalize spreads a weight over hosts by theirs.
func normalize(hosts []*Host, weight float64) []weighted {
	total := 0.0
	for _, h := range hosts {
		total += float64(h.weight())
	}
	list := make([]weighted, len(hosts))
	for i, h := range hosts {
		list[i] = weighted{h, weight * float64(h.weight()) / total}
	}
	return list
}

// unit scales weights so that all sum up to 1.
func unit(shares []weighted) (list []weighted, least, most float64) {
	total := 0.0
	for _, s := range shares {
		total += s.weight
	}
	least = math.Inf(1)
	for _, s := range shares {
		w := s.weight / total
		list = append(list, weighted{s.host, w})
		least, most = min(least, w), max(most, w)
	}
	return list, least, most
}

// ring is Envoy's ketama ring: every host has hashes of "address_i" in proportion
// to its weight; a request goes to the first at or after its own hash.
type ring []struct {
	hash uint64
	host *Host
}

func newRing(shares []weighted, minSize, maxSize uint64) ring {
	list, least, _ := unit(shares)
	scale := min(math.Ceil(least*float64(minSize))/least, float64(maxSize))
	r := make(ring, 0, int(math.Ceil(scale)))
	var current, target float64
	for _, w := range list {
		target += scale * w.weight
		for i := 0; current < target; i++ {
			r = append(r, struct {
				hash uint64
				host *Host
			}{Hash(w.host.name + "_" + strconv.Itoa(i)), w.host})
			current++
		}
	}
	sort.SliceStable(r, func(i, j int) bool { return r[i].hash < r[j].hash })
	return r
}

func (r ring) pick(hash uint64, attempt int) *Host {
	i, _ := slices.BinarySearchFunc(r, hash, func(e struct {
		hash uint64
		host *Host
	}, hash uint64) int {
		switch {
		case e.hash < hash:
			return -1
		case e.hash > hash:
			return 1
		}
		return 0
	})
	return r[(i+attempt)%len(r)].host
}

// maglev is the table of "Maglev: A Fast and Reliable Software Network Load
// Balancer" (NSDI 2016), 3.4, with weights as Envoy adds them.
type maglev []*Host

func newMaglev(shares []weighted, size uint64) maglev {
	list, _, most := unit(shares)
	slices.SortStableFunc(list, func(a, b weighted) int { return strings.Compare(a.host.name, b.host.name) })
	type turn struct{ offset, skip, next uint64 }
	turns, targets := make([]turn, len(list)), make([]float64, len(list))
	for i, w := range list {
		seeded := xxhash.NewWithSeed(1)
		_, _ = seeded.WriteString(w.host.name)
		turns[i] = turn{offset: Hash(w.host.name) % size, skip: seeded.Sum64()%(size-1) + 1}
	}
	table, filled := make(maglev, size), uint64(0)
	for iteration := 1.0; filled < size; iteration++ {
		for i := range list {
			if filled == size {
				break
			}
			if iteration*list[i].weight < targets[i] {
				continue
			}
			targets[i] += most
			t := &turns[i]
			slot := (t.offset + t.skip*t.next) % size
			for table[slot] != nil {
				t.next++
				slot = (t.offset + t.skip*t.next) % size
			}
			table[slot] = list[i].host
			t.next++
			filled++
		}
	}
	return table
}

func (m maglev) pick(hash uint64, attempt int) *Host {
	if attempt > 0 {
		var b [16]byte
		binary.LittleEndian.PutUint64(b[:], hash)
		binary.LittleEndian.PutUint64(b[8:], uint64(attempt))
		hash = xxhash.Sum64(b[:])
	}
	return m[hash%uint64(len(m))]
}
