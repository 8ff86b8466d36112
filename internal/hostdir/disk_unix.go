//go:build darwin || freebsd || linux

package hostdir

import "syscall"

// freeOn returns the bytes that may still be written on a directory's disk.
func freeOn(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return uint64(max(s.Bavail, 0)) * uint64(s.Bsize), nil //nolint:unconvert // types differ from system to system
}
