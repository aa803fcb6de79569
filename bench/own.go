package bench

// ownUsage is what a proxy says of itself on its admin port's /memory.
type ownUsage struct {
	Allocated    uint64  `json:"allocated,string"`
	Goroutines   uint64  `json:"goroutines,string"`
	Allocations  uint64  `json:"allocations,string"`
	Collections  uint64  `json:"gc_cycles,string"`
	PauseSeconds float64 `json:"gc_pause_seconds"`
}
