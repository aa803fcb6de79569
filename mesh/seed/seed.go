// Package seed is the only maker of randomness in the house.
//
// A Seed is a value. Components never share a generator: each asks for its own
// with Sub and a label that names it ("proxy/reviews-v1-0/lb"), so adding a
// component does not change what the others draw. What has to be the same
// however goroutines interleave is drawn by key, from no stream at all:
// Uint64 and Float64 of one seed and one key always give the same answer.
package seed

import (
	"math/rand/v2"
	"time"
)

// Seed is the root of a tree of random streams. The zero value is a valid seed.
type Seed struct{ state uint64 }

// New returns the root seed for a number, as given with --seed.
func New(n uint64) Seed { return Seed{mix(n + golden)} }

// Sub returns the seed of the component that label names.
func (s Seed) Sub(label string) Seed { return Seed{s.hash(label)} }

// Rand returns a new generator. It is not safe for use by several goroutines.
func (s Seed) Rand() *rand.Rand { return rand.New(rand.NewPCG(s.state, mix(s.state))) }

// Uint64 is the draw that belongs to key: the same for the same seed and key.
func (s Seed) Uint64(key string) uint64 { return s.hash(key) }

// At is the draw that belongs to the n-th event of a component.
func (s Seed) At(n uint64) uint64 { return mix(s.state ^ mix(n+golden)) }

// Float64 is the draw in [0, 1) that belongs to key.
func (s Seed) Float64(key string) float64 { return unit(s.hash(key)) }

// Duration is the draw in [0, max) that belongs to key; 0 where max is not positive.
func (s Seed) Duration(key string, max time.Duration) time.Duration {
	if max <= 0 {
		return 0
	}
	return time.Duration(s.hash(key) % uint64(max))
}

// Bytes fills b with the draw that belongs to key.
func (s Seed) Bytes(key string, b []byte) {
	state := s.hash(key)
	for i := range b {
		if i%8 == 0 {
			state = mix(state + golden)
		}
		b[i] = byte(state >> (8 * (i % 8)))
	}
}

const golden = 0x9e3779b97f4a7c15

// hash is FNV-1a over the label, started from the seed and finished by mix.
func (s Seed) hash(label string) uint64 {
	h := s.state ^ 0xcbf29ce484222325
	for i := range len(label) {
		h ^= uint64(label[i])
		h *= 0x100000001b3
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func unit(x uint64) float64 { return float64(x>>11) / (1 << 53) }
