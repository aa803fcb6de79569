//go:build !linux

package bench

// counters of some processes' instructions, which are read on Linux only.
type counters struct{}

func countInstructions([]proxy) counters { return counters{} }

func (counters) read(int) int64 { return 0 }

func (counters) close() {}

func withoutInstructions() string { return "instructions are counted on Linux only" }
