package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/raftio"
	sm "github.com/lni/dragonboat/v3/statemachine"
	"github.com/lni/goutils/vfs"
	"github.com/stretchr/testify/require"
)

type nothing struct{}

func (nothing) Update([]byte) (sm.Result, error) { return sm.Result{}, nil }
func (nothing) Lookup(any) (any, error)          { return nil, nil } //nolint:nilnil // there is nothing
func (nothing) Close() error                     { return nil }

func (nothing) RecoverFromSnapshot(io.Reader, []sm.SnapshotFile, <-chan struct{}) error { return nil }

func (nothing) SaveSnapshot(io.Writer, sm.ISnapshotFileCollection, <-chan struct{}) error {
	return nil
}

// noTransport is for a host that is alone.
type noTransport struct{}

func (noTransport) Create(config.NodeHostConfig, raftio.MessageHandler, raftio.ChunkHandler) raftio.ITransport {
	return noTransport{}
}
func (noTransport) Validate(string) bool { return true }
func (noTransport) Name() string         { return "none" }
func (noTransport) Start() error         { return nil }
func (noTransport) Stop()                {}

func (noTransport) GetConnection(context.Context, string) (raftio.IConnection, error) {
	return nil, errors.New("alone")
}

func (noTransport) GetSnapshotConnection(context.Context, string) (raftio.ISnapshotConnection, error) {
	return nil, errors.New("alone")
}

// This is what breaks first when dragonboat changes: an emptied replica has no queues
// left, and whoever still comes with a request is refused.
func TestHuskIsEmpty(t *testing.T) {
	UseLogger(slog.New(slog.DiscardHandler))
	require.NoError(t, Tune(slog.New(slog.DiscardHandler)))
	c := config.NodeHostConfig{NodeHostDir: "husk", RTTMillisecond: 2, RaftAddress: "alone"}
	c.Expert.TransportFactory = noTransport{}
	c.Expert.FS = vfs.NewMem()
	c.Expert.LogDB = config.GetTinyMemLogDBConfig()
	nh, err := dragonboat.NewNodeHost(c)
	require.NoError(t, err)
	defer nh.Stop()
	create := func(uint64, uint64) sm.IStateMachine { return nothing{} }
	require.NoError(t, nh.StartCluster(map[uint64]string{1: "alone"}, false, create, config.Config{
		ClusterID: 7, NodeID: 1, ElectionRTT: 10, HeartbeatRTT: 1,
	}))
	_, err = Grip(nh, 8)
	require.ErrorIs(t, err, dragonboat.ErrClusterNotFound)
	h, err := Grip(nh, 7)
	require.NoError(t, err, "dragonboat changed: see husk.go")
	user, err := nh.GetNodeUser(7)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		rs, err := user.Propose(nh.GetNoOPSession(7), []byte("a"), time.Second)
		return err == nil && func() bool { res := <-rs.AppliedC(); return res.Completed() }()
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, nh.StopNode(7, 1))
	require.Eventually(t, func() bool { return nh.RemoveData(7, 1) == nil }, 10*time.Second, time.Millisecond)

	h.Empty()
	for queue, slices := range queues() {
		for _, s := range slices {
			require.Zero(t, h.node.FieldByName(queue).Elem().FieldByName(s).Len(), "%s.%s", queue, s)
		}
	}
	_, err = user.Propose(nh.GetNoOPSession(7), []byte("b"), time.Second)
	require.Error(t, err)
	_, err = user.ReadIndex(time.Second)
	require.Error(t, err)
	Husk{}.Empty()
}
