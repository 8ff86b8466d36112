package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/client"
	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/logger"
	sm "github.com/lni/dragonboat/v3/statemachine"
)

// raw is three NodeHosts of plain dragonboat with its default settings, on disk,
// over its own TCP transport.
type raw struct {
	hosts    []*dragonboat.NodeHost
	leaders  []atomic.Pointer[dragonboat.NodeHost] // by group
	sessions []*client.Session                     // by group
}

func newRaw(ctx context.Context, dir string, groups int) (subject, error) {
	for _, name := range []string{"raft", "rsm", "dragonboat", "logdb", "config", "settings", "raftpb"} {
		logger.GetLogger(name).SetLevel(logger.ERROR)
	}
	logger.GetLogger("transport").SetLevel(logger.CRITICAL) // connections that break when the hosts stop
	addrs, err := freeAddresses(members)
	if err != nil {
		return nil, err
	}
	s := &raw{}
	for i := range members {
		h, err := dragonboat.NewNodeHost(config.NodeHostConfig{
			DeploymentID: 7, NodeHostDir: filepath.Join(dir, fmt.Sprint(i)), RTTMillisecond: uint64(tick.Milliseconds()), RaftAddress: addrs[i],
		})
		if err != nil {
			return nil, fmt.Errorf("start dragonboat: %w", err)
		}
		s.hosts = append(s.hosts, h)
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return s, s.launch(ctx, addrs, groups)
}

// freeAddresses finds free ports: dragonboat can't listen on port 0.
func freeAddresses(n int) ([]string, error) {
	addrs, held := make([]string, 0, n), make([]net.Listener, 0, n)
	defer func() {
		for _, ln := range held {
			_ = ln.Close() // only to have had it
		}
	}()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a port: %w", err)
		}
		held = append(held, ln)
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs, nil
}

func (s *raw) launch(ctx context.Context, addrs []string, groups int) error {
	set := map[uint64]dragonboat.Target{}
	for i, a := range addrs {
		set[uint64(i+1)] = a
	}
	for g := range groups {
		for i, h := range s.hosts {
			c := config.Config{
				ClusterID: uint64(g + 1), NodeID: uint64(i + 1), ElectionRTT: 10, HeartbeatRTT: 1, CheckQuorum: true,
				OrderedConfigChange: true, SnapshotEntries: 5000, CompactionOverhead: 500,
			}
			if err := h.StartCluster(set, false, newRawTally, c); err != nil {
				return fmt.Errorf("start dragonboat group: %w", err)
			}
		}
	}
	s.leaders, s.sessions = make([]atomic.Pointer[dragonboat.NodeHost], groups), make([]*client.Session, groups)
	return s.locate(ctx)
}

// locate finds every group's leader: before each run, because a busy machine may
// have moved some.
func (s *raw) locate(ctx context.Context) error {
	for g := range s.leaders {
		h, err := s.leader(ctx, uint64(g+1))
		if err != nil {
			return err
		}
		s.leaders[g].Store(h)
		s.sessions[g] = h.GetNoOPSession(uint64(g + 1))
	}
	return nil
}

func (s *raw) leader(ctx context.Context, group uint64) (*dragonboat.NodeHost, error) {
	poll := time.NewTicker(tick)
	defer poll.Stop()
	for {
		if h := s.led(group); h != nil {
			return h, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("dragonboat group %d has no leader: %w", group, ctx.Err())
		case <-poll.C:
		}
	}
}

// led is the host that believes to lead a group.
func (s *raw) led(group uint64) *dragonboat.NodeHost {
	for i, h := range s.hosts {
		if id, ok, err := h.GetLeaderID(group); err == nil && ok && id == uint64(i+1) {
			return h
		}
	}
	return nil
}

// follow looks for the leader again when an operation failed, as any caller would.
func (s *raw) follow(g int, err error) error {
	if err != nil {
		if h := s.led(uint64(g + 1)); h != nil {
			s.leaders[g].Store(h)
		}
	}
	return err
}

func (s *raw) operate(ctx context.Context, op string) (operation, error) {
	if err := s.locate(ctx); err != nil {
		return nil, err
	}
	cmd := make([]byte, payload)
	switch op {
	case "propose":
		return func(ctx context.Context, caller int) error {
			g := caller % len(s.leaders)
			_, err := s.leaders[g].Load().SyncPropose(ctx, s.sessions[g], cmd)
			return s.follow(g, err)
		}, nil
	case "read":
		return func(ctx context.Context, caller int) error {
			g := caller % len(s.leaders)
			_, err := s.leaders[g].Load().SyncRead(ctx, uint64(g+1), cmd)
			return s.follow(g, err)
		}, nil
	}
	return nil, fmt.Errorf("%w: no operation %q", errUsage, op)
}

func (*raw) usage() usage { return ownUsage() }

func (s *raw) close() error {
	for _, h := range s.hosts {
		h.Stop()
	}
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
