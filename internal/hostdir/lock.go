package hostdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lock is the exclusive use of a directory, through a lock that also keeps this very
// process from opening the directory twice.
type lock struct {
	file *os.File
}

// acquire locks the directory at once or says who has it.
func acquire(dir string) (*lock, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err = lockFD(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%w by %s: stop it first, or give this one a directory of its own (%w)",
			ErrInUse, holder(path), err), f.Close())
	}
	// The number only helps people; the lock is what counts.
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), f.Close())
	}
	return &lock{file: f}, nil
}

func holder(path string) string {
	text, _ := os.ReadFile(path)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	switch {
	case err != nil:
		return "another process"
	case pid == os.Getpid():
		return "this same process"
	default:
		return fmt.Sprintf("another process (pid %d)", pid)
	}
}

// release gives the directory free: the lock goes with the file.
func (l *lock) release() error { return l.file.Close() }
