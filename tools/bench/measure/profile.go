package measure

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
)

// Profiled runs f, with a CPU profile of this process, and one of its allocations
// after it, if they are wanted. Of several rounds the last stays.
func (s Setup) Profiled(r Request, f func()) error {
	if s.Profile == "" {
		f()
		return nil
	}
	file, err := os.Create(s.ProfilePath(r, "cpu"))
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return errors.Join(fmt.Errorf("profile: %w", err), file.Close())
	}
	f()
	pprof.StopCPUProfile()
	if err := file.Close(); err != nil || !s.Heap {
		return err
	}
	return s.profileHeap(r)
}

func (s Setup) profileHeap(r Request) error {
	file, err := os.Create(s.ProfilePath(r, "heap"))
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return errors.Join(pprof.Lookup("heap").WriteTo(file, 0), file.Close())
}

// ProfilePath names the run in the file's name.
func (s Setup) ProfilePath(r Request, kind string) string {
	subject := strings.ReplaceAll(Sample{Subject: s.Label(), Via: r.Via}.Name(), ", ", "-")
	return filepath.Join(s.Profile, fmt.Sprintf("%s.%s.%d-groups.%d-callers.%s.pprof", subject, r.Op, s.Groups, r.Callers, kind))
}
