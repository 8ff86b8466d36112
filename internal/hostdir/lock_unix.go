//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package hostdir

import (
	"os"
	"syscall"
)

// lockFD locks the file for as long as it is open; the lock belongs to the open
// file, not to the process.
func lockFD(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
