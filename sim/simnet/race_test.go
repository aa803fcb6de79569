//go:build race

package simnet

// The race detector makes the scheduler shuffle goroutines.
const shuffled = true
