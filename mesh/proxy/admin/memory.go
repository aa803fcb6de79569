package admin

import (
	"encoding/json"
	"math"
	"net/http"
	"runtime/metrics"
)

// memoryPage is Envoy's admin.v3.Memory (64-bit numbers are strings, as protobuf's JSON
// writes them), and after it what only a Go program has. Envoy's numbers are its
// allocator's; the nearest of Go's stand in their places.
type memoryPage struct {
	Allocated        uint64 `json:"allocated,string"`            // bytes of objects
	HeapSize         uint64 `json:"heap_size,string"`            // bytes of the heap, held or free
	PageheapUnmapped uint64 `json:"pageheap_unmapped,string"`    // bytes given back
	PageheapFree     uint64 `json:"pageheap_free,string"`        // bytes free and kept
	ThreadCache      uint64 `json:"total_thread_cache,string"`   // bytes
	Physical         uint64 `json:"total_physical_bytes,string"` // bytes mapped and not given back

	Goroutines   uint64  `json:"goroutines,string"`
	Allocations  uint64  `json:"allocations,string"`     // objects since the start
	Collections  uint64  `json:"gc_cycles,string"`       // since the start
	PauseSeconds float64 `json:"gc_pause_seconds"`       // since the start, from the runtime's buckets
	AllocatedAll uint64  `json:"allocated_total,string"` // bytes since the start
	CPUSeconds   float64 `json:"gc_processor_seconds"`   // of the collector, since the start
}

func (s *server) memory(w http.ResponseWriter, _ *http.Request) error {
	names := []string{
		"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes", "/memory/classes/heap/free:bytes", "/memory/classes/heap/released:bytes",
		"/memory/classes/metadata/mcache/inuse:bytes", "/memory/classes/total:bytes", "/sched/goroutines:goroutines", "/gc/heap/allocs:objects",
		"/gc/heap/tiny/allocs:objects", "/gc/cycles/total:gc-cycles", "/gc/heap/allocs:bytes", "/cpu/classes/gc/total:cpu-seconds", "/sched/pauses/total/gc:seconds",
	}
	samples := make([]metrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples)
	number := func(i int) uint64 { return samples[i].Value.Uint64() }
	objects, unused, free, released := number(0), number(1), number(2), number(3)
	page := memoryPage{
		Allocated: objects, HeapSize: objects + unused + free + released, PageheapUnmapped: released, PageheapFree: free + unused,
		ThreadCache: number(4), Physical: number(5) - released,
		Goroutines: number(6), Allocations: number(7) + number(8), Collections: number(9), AllocatedAll: number(10),
		CPUSeconds: samples[11].Value.Float64(), PauseSeconds: sum(samples[12].Value.Float64Histogram()),
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(page)
}

// sum is about the sum of what a histogram counted: the middles of its buckets.
func sum(h *metrics.Float64Histogram) float64 {
	total := 0.0
	for i, count := range h.Counts {
		low, high := h.Buckets[i], h.Buckets[i+1]
		switch {
		case count == 0:
		case math.IsInf(low, -1):
			total += float64(count) * high
		case math.IsInf(high, 1):
			total += float64(count) * low
		default:
			total += float64(count) * (low + high) / 2
		}
	}
	return total
}
