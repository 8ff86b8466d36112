package raft

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/lni/dragonboat/v3/config"
)

// shardsFile remembers, in Options.Dir, the numbers that dragonboat's data depends
// on: it refuses to open it with others.
const shardsFile = "shards.json"

// shards are those numbers. Few shards are what lets groups share an fsync: on two
// cores one log shard gave three times the throughput of sixteen.
type shards struct {
	Exec  uint64 `json:"exec_shards"`
	LogDB uint64 `json:"logdb_shards"`
}

// Choices for a new data directory, and worker counts that may change at any start.
const (
	newExecShards  = 2
	newLogDBShards = 1
	applyShards    = 4
	commitShards   = 1
	snapshotShards = 4
	closeShards    = 2
	// maxShards: dragonboat's worker sets are bitmaps of 64.
	maxShards = 64
)

// chooseShards returns the numbers of the data directory, chosen now if it is new.
func chooseShards(o Options) (shards, error) {
	chosen := shards{Exec: newExecShards, LogDB: newLogDBShards}
	if o.FS != nil {
		return chosen, nil
	}
	path := filepath.Join(o.Dir, shardsFile)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return chosen, writeShards(path, chosen)
	case err != nil:
		return shards{}, fmt.Errorf("raft: read the chosen shards: %w", err)
	}
	if err := json.Unmarshal(b, &chosen); err != nil {
		return shards{}, fmt.Errorf("raft: %s is damaged: %w", path, err)
	}
	return chosen, chosen.check(path)
}

func writeShards(path string, s shards) error {
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
func (s shards) check(path string) error {
	if s.Exec == 0 || s.LogDB == 0 || s.Exec > maxShards || s.LogDB > maxShards {
		return fmt.Errorf("raft: %s: exec_shards and logdb_shards must be 1 to %d", path, maxShards)
	}
	if s.Exec%s.LogDB != 0 && s.LogDB%s.Exec != 0 {
		return fmt.Errorf("raft: %s: exec_shards %d and logdb_shards %d must divide one another", path, s.Exec, s.LogDB)
	}
	return nil
}

func (s shards) engine() config.EngineConfig {
	return config.EngineConfig{
		ExecShards: s.Exec, CommitShards: commitShards, ApplyShards: applyShards,
		SnapshotShards: snapshotShards, CloseShards: closeShards,
	}
}

// logDB is the log store's configuration: at most 64 MB of buffers per shard, or 16
// for tests in memory.
func (s shards) logDB(memory bool) config.LogDBConfig {
	c := config.GetSmallMemLogDBConfig()
	if memory {
		c = config.GetTinyMemLogDBConfig()
	}
	c.Shards = s.LogDB
	return c
}
