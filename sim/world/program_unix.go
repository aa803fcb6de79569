//go:build unix

package world

import "syscall"

// ownGroup gives a process a group of its own: Ctrl-C is for windtunnel, which ends its
// programs itself.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
