package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/logger"
	"github.com/lni/dragonboat/v3/raftio"
	sm "github.com/lni/dragonboat/v3/statemachine"
	"github.com/lni/goutils/vfs"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport/faults"
	"github.com/drumline/drumline/internal/raft/transport/membook"
)

// sum is a state machine that adds numbers; its padding makes snapshots of several
// chunks.
type sum struct{ total, count uint64 }

func (s *sum) Update(cmd []byte) (sm.Result, error) {
	s.total += binary.LittleEndian.Uint64(cmd)
	s.count++
	return sm.Result{Value: s.total}, nil
}

func (s *sum) Lookup(any) (any, error) { return s.total, nil }
func (s *sum) Close() error            { return nil }

func (s *sum) SaveSnapshot(w io.Writer, _ sm.ISnapshotFileCollection, _ <-chan struct{}) error {
	b := binary.LittleEndian.AppendUint64(nil, s.total)
	b = binary.LittleEndian.AppendUint64(b, s.count)
	_, err := w.Write(append(b, bytes.Repeat([]byte("padding "), 5<<17)...))
	return err
}

func (s *sum) RecoverFromSnapshot(r io.Reader, _ []sm.SnapshotFile, _ <-chan struct{}) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.total, s.count = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	return nil
}

// machine is one host with real Raft on it, and what stays when it stops.
type machine struct {
	id    ids.Host
	disk  vfs.FS
	book  *membook.Book
	epoch uint64
	hook  faults.Hook

	t    *Transport
	nh   *dragonboat.NodeHost
	term atomic.Uint64 // the highest seen
}

// LeaderUpdated is dragonboat's.
func (m *machine) LeaderUpdated(info raftio.LeaderInfo) { m.term.Store(max(m.term.Load(), info.Term)) }

const realGroup = 1000

func (m *machine) start(t *testing.T) {
	t.Helper()
	m.epoch++
	var err error
	m.t, err = New(Options{Host: m.id, BootEpoch: m.epoch, Deployment: "real", Listen: "127.0.0.1:0", Book: m.book, Hook: m.hook})
	require.NoError(t, err)
	m.nh, err = dragonboat.NewNodeHost(config.NodeHostConfig{
		DeploymentID: 5, NodeHostDir: "/data", RTTMillisecond: 10, RaftAddress: string(m.id), RaftEventListener: m,
		Expert: config.ExpertConfig{
			FS: m.disk, TransportFactory: m.t.Factory(), LogDB: config.GetTinyMemLogDBConfig(),
			Engine: config.EngineConfig{ExecShards: 2, CommitShards: 1, ApplyShards: 1, SnapshotShards: 2, CloseShards: 1},
		},
	})
	require.NoError(t, err)
	m.t.Ready()
}

func (m *machine) run(t *testing.T, replica uint64, members map[uint64]string) {
	t.Helper()
	require.NoError(t, m.nh.StartCluster(members, false, func(uint64, uint64) sm.IStateMachine { return &sum{} }, config.Config{
		NodeID: replica, ClusterID: realGroup, ElectionRTT: 10, HeartbeatRTT: 1, CheckQuorum: true,
		SnapshotEntries: 40, CompactionOverhead: 5,
	}))
}

func (m *machine) stop() {
	if m.nh != nil {
		m.nh.Stop()
		m.nh = nil
	}
}

// add proposes one until it is acknowledged.
func (m *machine) add(t *testing.T) uint64 {
	t.Helper()
	cmd := binary.LittleEndian.AppendUint64(nil, 1)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		r, err := m.nh.SyncPropose(ctx, m.nh.GetNoOPSession(realGroup), cmd)
		cancel()
		if err == nil {
			return r.Value
		}
	}
	require.FailNow(t, "no write was acknowledged")
	return 0
}

// compact takes a snapshot, unless the newest is of the last entry, and cuts the log.
func (m *machine) compact(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := m.nh.SyncRequestSnapshot(ctx, realGroup, dragonboat.SnapshotOption{OverrideCompactionOverhead: true, CompactionOverhead: 1})
	if !errors.Is(err, dragonboat.ErrRejected) {
		require.NoError(t, err)
	}
}

// read reads on this very host until it is answered.
func (m *machine) read(t *testing.T) uint64 {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		v, err := m.nh.SyncRead(ctx, realGroup, nil)
		cancel()
		if err == nil {
			total, ok := v.(uint64)
			require.True(t, ok)
			return total
		}
	}
	require.FailNow(t, "no read was answered")
	return 0
}

func quietRaft() {
	for _, name := range []string{"raft", "rsm", "transport", "grpc", "dragonboat", "raftpb", "logdb", "config", "settings", "server", "order", "utils"} {
		logger.GetLogger(name).SetLevel(logger.CRITICAL)
	}
}

// realCluster starts three hosts with one group.
func realCluster(t *testing.T, hook faults.Hook) ([]*machine, map[uint64]string) {
	t.Helper()
	quietRaft()
	machines := make([]*machine, 3)
	members := make(map[uint64]string)
	for n := range machines {
		m := &machine{id: ids.Host(fmt.Sprintf("nh-%d", n+1)), disk: vfs.NewMem(), book: membook.New(), hook: hook}
		m.start(t)
		t.Cleanup(m.stop)
		machines[n] = m
		members[uint64(n+1)] = string(m.id)
	}
	for _, a := range machines {
		for _, b := range machines {
			_ = a.book.Learn(b.id, b.t.Addr(), b.epoch)
		}
	}
	for n, m := range machines {
		m.run(t, uint64(n+1), members)
	}
	return machines, members
}

func TestRealRaftFollowsAHostToAnotherAddress(t *testing.T) {
	machines, _ := realCluster(t, nil)
	require.NotZero(t, machines[0].add(t))
	for round, entries := range []int{5, 200} { // 200: the log is compacted, a snapshot is needed
		moved := machines[2]
		before := moved.t.Addr()
		moved.stop()
		var total uint64
		for range entries {
			total = machines[0].add(t)
		}
		if round > 0 {
			for _, m := range machines[:2] { // a busy machine may not have come to it by itself
				m.compact(t)
			}
			total = machines[0].add(t)
		}
		moved.start(t)
		require.NotEqual(t, before, moved.t.Addr())
		since := time.Now()
		moved.run(t, 3, nil)
		require.GreaterOrEqual(t, moved.read(t), total, "a linearizable read on the moved host")
		t.Logf("round %d: %d entries behind, caught up after %s", round, entries, time.Since(since))
	}
	sent := uint64(0)
	for _, m := range machines[:2] {
		sent += m.t.Stats().SnapshotsSent
	}
	require.NotZero(t, sent, "a snapshot was needed")
}

func TestRealRaftThroughBadNetwork(t *testing.T) {
	bad := faults.New(1)
	machines, _ := realCluster(t, bad)
	acknowledged := machines[0].add(t)
	bad.Drop(0.1)
	bad.Duplicate(0.1)
	bad.Reorder(0.2, 20*time.Millisecond)
	for range 30 {
		acknowledged = max(acknowledged, machines[1].add(t))
	}
	bad.Heal()
	// The third host hears nobody: the others go on, it can't.
	bad.Cut("nh-1", "nh-3")
	bad.Cut("nh-2", "nh-3")
	for range 5 {
		acknowledged = max(acknowledged, machines[0].add(t))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := machines[2].nh.SyncRead(ctx, realGroup, nil)
	require.Error(t, err)
	bad.Heal()
	require.GreaterOrEqual(t, machines[2].read(t), acknowledged)
}

func TestAFailedSnapshotHoldsNoOtherMessagesBack(t *testing.T) {
	machines, _ := realCluster(t, doubleChunks{faults.New(1)})
	machines[0].add(t)
	lagging := machines[2]
	require.NoError(t, lagging.nh.StopCluster(realGroup))
	for range 100 {
		machines[0].add(t)
	}
	lagging.run(t, 3, nil)
	failed := func() (n uint64) {
		for _, m := range machines[:2] {
			n += m.t.Stats().SnapshotsFailed
		}
		return n
	}
	until(t, "a snapshot fails", func() bool { return failed() > 0 })
	// An open breaker would keep the leader's heartbeats from the lagging replica,
	// which would start elections of higher terms. A machine that stands still may have one,
	// too, but not each time.
	for range 10 {
		term, before := machines[0].term.Load(), failed()
		until(t, "more snapshots fail", func() bool { return failed() > before+4 })
		if machines[0].term.Load() == term {
			return
		}
	}
	require.Fail(t, "there was an election each time")
}

// doubleChunks lets no snapshot come in whole.
type doubleChunks struct{ *faults.Network }

func (s doubleChunks) Fate(from, to ids.Host, k faults.Kind) faults.Fate {
	if k == faults.Chunk {
		return faults.Fate{Copies: 1, Delay: 50 * time.Millisecond} // the refusal comes in between
	}
	return s.Network.Fate(from, to, k)
}
