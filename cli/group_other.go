//go:build !unix

package cli

import "os/exec"

// ownGroup does nothing where there are no process groups.
func ownGroup(*exec.Cmd) {}

// limitMemory does nothing where there are no limits.
func limitMemory(uint64) error { return nil }
