package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/client"
	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/logger"
	sm "github.com/lni/dragonboat/v3/statemachine"

	"github.com/drumline/drumline/internal/freeport"
	"github.com/drumline/drumline/tools/bench/measure"
)

// raw is NodeHosts of plain dragonboat, on disk, over its own TCP transport, with
// its default settings unless they are said to be tuned.
type raw struct {
	measure.Setup
	dir      string
	addrs    []string
	hosts    []*dragonboat.NodeHost
	sessions []*client.Session // by group
}

func newPlain(ctx context.Context, dir string, s measure.Setup) (subject, error) {
	for _, name := range []string{"raft", "rsm", "dragonboat", "logdb", "config", "settings", "raftpb"} {
		logger.GetLogger(name).SetLevel(logger.ERROR)
	}
	logger.GetLogger("transport").SetLevel(logger.CRITICAL) // connections that break when hosts stop
	addrs, err := freeport.Addresses(s.Hosts)               // dragonboat can't listen on port 0
	if err != nil {
		return nil, err
	}
	return newLocal(ctx, s, &raw{
		Setup: s, dir: dir, addrs: addrs, hosts: make([]*dragonboat.NodeHost, s.Hosts), sessions: make([]*client.Session, s.Groups),
	})
}

func (s *raw) open(i int) error {
	h, err := dragonboat.NewNodeHost(config.NodeHostConfig{
		DeploymentID: 7, NodeHostDir: filepath.Join(s.dir, fmt.Sprint(i)), RTTMillisecond: uint64(s.Tick.Milliseconds()), RaftAddress: s.addrs[i],
	})
	if err != nil {
		return fmt.Errorf("start dragonboat: %w", err)
	}
	s.hosts[i] = h
	return nil
}

func (s *raw) start(_ context.Context, host, group int, again bool) error {
	set := map[uint64]dragonboat.Target{}
	for i, a := range s.addrs {
		if !again {
			set[uint64(i+1)] = a
		}
	}
	return s.hosts[host].StartCluster(set, false, newRawTally, config.Config{
		ClusterID: uint64(group + 1), NodeID: uint64(host + 1), ElectionRTT: 10, HeartbeatRTT: 1, CheckQuorum: true, Quiesce: s.Hibernate,
		OrderedConfigChange: true, SnapshotEntries: 5000, CompactionOverhead: 500,
	})
}

func (s *raw) leads(host, group int) bool {
	id, ok, err := s.hosts[host].GetLeaderID(uint64(group + 1))
	return err == nil && ok && id == uint64(host+1)
}

func (s *raw) knows(host, group int) bool {
	_, ok, err := s.hosts[host].GetLeaderID(uint64(group + 1))
	return err == nil && ok
}

// admit only makes the group's session: a group of plain dragonboat obeys from the start.
func (s *raw) admit(_ context.Context, host, group int) error {
	if s.sessions[group] == nil {
		s.sessions[group] = s.hosts[host].GetNoOPSession(uint64(group + 1))
	}
	return nil
}

func (s *raw) propose(ctx context.Context, host, group int, cmd []byte) error {
	_, err := s.hosts[host].SyncPropose(ctx, s.sessions[group], cmd)
	return err
}

func (s *raw) read(ctx context.Context, host, group int, query []byte) error {
	_, err := s.hosts[host].SyncRead(ctx, uint64(group+1), query)
	return err
}

// unloaded is never true of plain dragonboat.
func (*raw) unloaded(int, int) bool { return false }

// stop is the same for a host that dies: Stop hands no leadership over.
func (s *raw) stop(i int, _ bool) error {
	s.hosts[i].Stop()
	return nil
}

// rawTally is tally as dragonboat wants it.
type rawTally struct{ n uint64 }

func newRawTally(_, _ uint64) sm.IStateMachine { return &rawTally{} }

// Update counts.
func (m *rawTally) Update([]byte) (sm.Result, error) {
	m.n++
	return sm.Result{Value: m.n}, nil
}

// Lookup returns the count.
func (m *rawTally) Lookup(any) (any, error) { return binary.BigEndian.AppendUint64(nil, m.n), nil }

// SaveSnapshot writes the count.
func (m *rawTally) SaveSnapshot(w io.Writer, _ sm.ISnapshotFileCollection, _ <-chan struct{}) error {
	return binary.Write(w, binary.BigEndian, m.n)
}

// RecoverFromSnapshot reads the count.
func (m *rawTally) RecoverFromSnapshot(r io.Reader, _ []sm.SnapshotFile, _ <-chan struct{}) error {
	return binary.Read(r, binary.BigEndian, &m.n)
}

// Close has nothing to free.
func (*rawTally) Close() error { return nil }
