package localfleet

import "syscall"

// childAttributes keeps a terminal's Ctrl-C from the children, which the fleet
// stops in order, and has the kernel kill them when the fleet's process dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
