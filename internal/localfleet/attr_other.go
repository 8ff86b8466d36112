//go:build !linux

package localfleet

import "syscall"

// childAttributes keeps a terminal's Ctrl-C from the children, which the fleet
// stops in order.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
