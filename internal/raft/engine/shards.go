package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/renameio/v2"
	"github.com/lni/dragonboat/v3/config"
)

// shardsFile remembers, in the data directory, the numbers that dragonboat's data depends
// on: it refuses to open it with others.
const shardsFile = "shards.json"

// Shards are those numbers. Few shards are what lets groups share an fsync: on two
// cores one log shard gave three times the throughput of sixteen.
type Shards struct {
	Exec uint64 `json:"exec_shards"`
	Log  uint64 `json:"logdb_shards"`
	// Cores is the number of processors that they were chosen for.
	Cores int `json:"cores,omitempty"`
}

// Choices for a new data directory, and worker counts that may change at any start.
const (
	// Step workers: one for each core, a power of two within these bounds. On two
	// cores 1, 2 and 4 of them gave 102, 124 and 108 thousand commands a second over 16
	// groups; more cores than that have not been measured.
	minExecShards  = 2
	maxExecShards  = 8
	newLogDBShards = 1
	applyShards    = 4
	commitShards   = 1
	snapshotShards = 4
	closeShards    = 2
	// blockSize is of the log store's files; any size can be read.
	blockSize = 4 << 10
	// maxShards: dragonboat's worker sets are bitmaps of 64.
	maxShards = 64
)

// chooseFor is the choice for that many cores.
func chooseFor(cores int) Shards {
	s := Shards{Exec: minExecShards, Log: newLogDBShards, Cores: cores}
	for s.Exec < maxExecShards && 2*s.Exec <= uint64(cores) {
		s.Exec *= 2
	}
	return s
}

// ChooseShards returns the numbers of the data directory, chosen now if it is new;
// of tests in memory always the same.
func ChooseShards(dir string, memory bool) (Shards, error) {
	if memory {
		return Shards{Exec: minExecShards, Log: newLogDBShards}, nil
	}
	chosen := chooseFor(runtime.GOMAXPROCS(0))
	path := filepath.Join(dir, shardsFile)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return chosen, writeShards(path, chosen)
	case err != nil:
		return Shards{}, fmt.Errorf("raft: read the chosen shards: %w", err)
	}
	chosen = Shards{}
	if err := json.Unmarshal(b, &chosen); err != nil {
		return Shards{}, fmt.Errorf("raft: %s is damaged: %w", path, err)
	}
	return chosen, chosen.check(path)
}

func writeShards(path string, s Shards) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("raft: make the data directory: %w", err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("raft: write the chosen shards: %w", err)
	}
	if err := renameio.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("raft: write the chosen shards: %w", err)
	}
	return nil
}

// check refuses numbers that dragonboat would panic on, some of them only under load.
func (s Shards) check(path string) error {
	if s.Exec == 0 || s.Log == 0 || s.Exec > maxShards || s.Log > maxShards {
		return fmt.Errorf("raft: %s: exec_shards and logdb_shards must be 1 to %d", path, maxShards)
	}
	if s.Exec%s.Log != 0 && s.Log%s.Exec != 0 {
		return fmt.Errorf("raft: %s: exec_shards %d and logdb_shards %d must divide one another", path, s.Exec, s.Log)
	}
	return nil
}

// Engine is the configuration of dragonboat's workers.
func (s Shards) Engine() config.EngineConfig {
	return config.EngineConfig{
		ExecShards: s.Exec, CommitShards: commitShards, ApplyShards: applyShards,
		SnapshotShards: snapshotShards, CloseShards: closeShards,
	}
}

// LogDB is the log store's configuration: at most 64 MB of buffers per shard, or 16
// for tests in memory.
func (s Shards) LogDB(memory bool) config.LogDBConfig {
	c := config.GetSmallMemLogDBConfig()
	if memory {
		c = config.GetTinyMemLogDBConfig()
	}
	c.Shards = s.Log
	// Never a cache of blocks: without cgo, this version of pebble hides the pointers to what
	// is in its cache from Go's collector, and a process reads memory that was given away.
	c.KVLRUCacheSize = 0
	// So each look reads its block from the disk, and of small ones there is less to read,
	// check and throw away: dragonboat's 32 KB were a fifth of a restart's processor time.
	c.KVBlockSize = blockSize
	return c
}
