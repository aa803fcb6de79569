//go:build !linux

package fault

import (
	"errors"
	"net/netip"
)

var errLinux = errors.New("Pods are broken on Linux only")

func processesOf([]string) ([]int, error)      { return nil, errLinux }
func signal(string, []int) error               { return errLinux }
func filter(int, []netip.Addr, []uint16) error { return errLinux }
