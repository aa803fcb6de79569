//go:build !linux

package nft

import (
	"errors"

	"github.com/windtunnel-mesh/windtunnel/mesh/capture"
)

var errLinux = errors.New("traffic is captured on Linux only")

func hasIPv6() bool                      { return false }
func program(*capture.Rules, bool) error { return errLinux }
func restore(*capture.Rules, bool) error { return errLinux }

// Remove has nothing to remove.
func Remove() error { return errLinux }
