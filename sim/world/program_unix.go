//go:build unix

package world

import "syscall"

// own gives a process a group of its own: Ctrl-C is for windtunnel, which ends its
// programs itself.
func own() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
