//go:build unix

package localfleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrInUse is wrapped when another process runs the fleet of a directory.
var ErrInUse = errors.New("another process runs this fleet")

// lockDir keeps a second process from configuring and starting the same fleet; the
// lock goes with the returned file.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the fleet: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s; stop it, or use another directory", ErrInUse, dir), f.Close())
	}
	return f, nil
}
