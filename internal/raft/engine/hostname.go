package engine

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the checksum of dragonboat's own file format
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/lni/dragonboat/v3/raftpb"
)

// dragonboat keys its data by the machine's hostname, in the path and in a flag
// file, and refuses to start when it has changed. Who a host is, is its id: so the
// data is moved to the present hostname before dragonboat looks.
const (
	flagFile     = "dragonboat.ds"
	flagHash     = 8
	deletedFlag  = "DELETED.dragonboat"
	snapshotDirs = "snapshot-part-*"
)

// AdoptHostname makes the data of an earlier hostname, in any of the directories,
// the present one's. Empty names are passed over.
func AdoptHostname(log *slog.Logger, dirs ...string) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("raft: hostname: %w", err)
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		if err := renameHost(dir, name, log); err != nil {
			return fmt.Errorf("raft: move the data in %s to the hostname %s: %w", dir, name, err)
		}
		if err := sweepDestroyed(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("raft: sweep destroyed replicas in %s: %w", dir, err)
		}
	}
	return nil
}

// renameHost is idempotent and may be interrupted anywhere: the flag file, which
// decides, is written last.
func renameHost(dir, name string, log *slog.Logger) error {
	path := filepath.Join(dir, flagFile)
	status, err := readFlag(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // new
	}
	if err != nil {
		return err
	}
	old := strings.TrimSpace(status.Hostname)
	if old == "" || strings.EqualFold(old, name) {
		return nil
	}
	log.Warn("the machine's hostname changed; moving the data", slog.String("dir", dir), slog.String("from", old), slog.String("to", name))
	if err := moveTree(dir, old, name); err != nil {
		return err
	}
	status.Hostname = name
	return writeFlag(path, status)
}

// moveTree renames dir/from to dir/to and leaves a link behind, because records of
// snapshots hold whole paths.
func moveTree(dir, from, to string) error {
	src, dst := filepath.Join(dir, from), filepath.Join(dir, to)
	info, err := os.Lstat(src)
	switch {
	case errors.Is(err, fs.ErrNotExist) || (err == nil && info.Mode()&fs.ModeSymlink != 0):
		// Moved by an interrupted attempt.
	case err != nil:
		return err
	default:
		if err := clearWay(dst); err != nil {
			return err
		}
		if err := os.Rename(src, dst); err != nil {
			return err
		}
	}
	if err := os.Symlink(to, src); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

// clearWay removes a link of an earlier move, or the empty directories that a
// refused start of dragonboat leaves, but never a file.
func clearWay(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return os.Remove(path)
	}
	var dirs []string
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = fmt.Errorf("%s is in the way", p)
		}
		dirs = append(dirs, p)
		return err
	})
	if err != nil {
		return err
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := os.Remove(dirs[i]); err != nil {
			return err
		}
	}
	return nil
}

// readFlag reads dragonboat's flag file: 8 bytes, the second half of an MD5, and
// the message that they check.
func readFlag(path string) (*raftpb.RaftDataStatus, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) < flagHash || !bytes.Equal(b[:flagHash], flagSum(b[flagHash:])) {
		return nil, fmt.Errorf("%s is damaged", path)
	}
	status := new(raftpb.RaftDataStatus)
	return status, status.Unmarshal(b[flagHash:])
}

func writeFlag(path string, status *raftpb.RaftDataStatus) error {
	data, err := status.Marshal()
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(flagSum(data), data...), 0o600)
}

func flagSum(data []byte) []byte {
	sum := md5.Sum(data) //nolint:gosec // the checksum of dragonboat's own file format
	return sum[flagHash:]
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// dataRemover is what RemoveData needs of dragonboat.NodeHost.
type dataRemover interface {
	RemoveData(group, replica uint64) error
}

// RemoveData removes what a stopped replica has on disk. Dragonboat ends the process when it can't
// mark the directory of the replica's snapshots as deleted, so a plain file in its place goes
// first, and leaves that directory, where nothing may write any more, so it goes last. An
// empty dir stands for a file system that is not the machine's.
func RemoveData(from dataRemover, dir string, group, replica uint64) error {
	if dir == "" {
		return from.RemoveData(group, replica)
	}
	snapshots := filepath.Join(dir, "*", "*", snapshotDirs, fmt.Sprintf("snapshot-%d-%d", group, replica))
	if err := removeFiles(snapshots); err != nil {
		return err
	}
	if err := from.RemoveData(group, replica); err != nil {
		return err
	}
	return removeMarked(snapshots)
}

func removeFiles(pattern string) error {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if info, err := os.Lstat(path); err != nil || info.IsDir() {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// sweepDestroyed removes what an interrupted removal left.
func sweepDestroyed(root string) error {
	return removeMarked(filepath.Join(root, "*", snapshotDirs, "snapshot-*-*"))
}

func removeMarked(pattern string) error {
	dirs, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, deletedFlag)); err != nil {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}
