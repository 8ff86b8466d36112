package hostdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// memoryFile marks the directory of a host whose Raft data is in memory.
const memoryFile = "MEMORY"

// memoryText is what is in it, for whoever finds it.
const memoryText = "The Raft data of this directory's host is in memory: its replicas end with the process, and every start is a new host.\n"

// ErrStorage says that the directory is of a host that keeps its data otherwise.
var ErrStorage = errors.New("data directory is of a host with another storage")

// OpenMemory opens the directory of a host whose Raft data is in memory. What was in it
// of an earlier run is removed: without its data a host has forgotten its votes, so each
// start is a new host. A directory of a host that keeps its data on disk is refused.
func OpenMemory(dir string) (*Dir, error) { return open(dir, true) }

// settleStorage sees to it that a directory is either of hosts with data on disk or of
// such in memory, and never both.
func (d *Dir) settleStorage() error {
	mark := filepath.Join(d.path, memoryFile)
	marked, err := exists(mark)
	if err != nil {
		return fmt.Errorf("data directory %s: %w", d.path, err)
	}
	if !d.memory {
		if marked {
			return fmt.Errorf("%w: %s was used with storage: memory, so nothing in it is worth keeping; remove the directory, or name another one",
				ErrStorage, d.path)
		}
		return nil
	}
	if !marked {
		used, err := exists(filepath.Join(d.path, dbFile))
		if err != nil {
			return fmt.Errorf("data directory %s: %w", d.path, err)
		}
		if used {
			return fmt.Errorf("%w: %s holds a host whose replicas are on disk, and storage: memory would forget them; name another directory, or leave storage away",
				ErrStorage, d.path)
		}
		if err := d.checkVirgin(); err != nil {
			return err
		}
		if err := os.WriteFile(mark, []byte(memoryText), fileMode); err != nil {
			return fmt.Errorf("mark data directory: %w", err)
		}
	}
	for _, old := range []string{dbFile, newDBFile, raftSubdir, statesSubdir} {
		if err := os.RemoveAll(filepath.Join(d.path, old)); err != nil {
			return fmt.Errorf("forget the run before: %w", err)
		}
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
