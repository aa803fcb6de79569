//go:build !linux

package bench

import (
	"errors"
	"time"
)

// usage is what a process has used so far.
type usage struct {
	cpu               time.Duration
	resident, private int64
	switches, threads int64
	instructions      int64
	own               ownUsage
}

var errNotHere = errors.New("processor time and memory of a process are read on Linux only")

func read(int) (usage, error) { return usage{}, errNotHere }

func pin(int, ...int) error { return errNotHere }

func peakMemory(int) (int64, error) { return 0, errNotHere }
