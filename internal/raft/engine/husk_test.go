package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"reflect"
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

// alone runs groups of one replica each.
func alone(t *testing.T, groups ...uint64) *dragonboat.NodeHost {
	t.Helper()
	UseLogger(slog.New(slog.DiscardHandler))
	require.NoError(t, Tune(slog.New(slog.DiscardHandler)))
	c := config.NodeHostConfig{NodeHostDir: "husk", RTTMillisecond: 2, RaftAddress: "alone"}
	c.Expert.TransportFactory = noTransport{}
	c.Expert.FS = vfs.NewMem()
	c.Expert.LogDB = config.GetTinyMemLogDBConfig()
	nh, err := dragonboat.NewNodeHost(c)
	require.NoError(t, err)
	t.Cleanup(nh.Stop)
	create := func(uint64, uint64) sm.IStateMachine { return nothing{} }
	for _, g := range groups {
		require.NoError(t, nh.StartCluster(map[uint64]string{1: "alone"}, false, create, config.Config{
			ClusterID: g, NodeID: 1, ElectionRTT: 10, HeartbeatRTT: 1,
		}))
	}
	return nh
}

// unload unloads a group's replica once it has obeyed, and returns its husk, emptied, and
// one who still thinks that he can use it.
func unload(t *testing.T, nh *dragonboat.NodeHost, group uint64) (Husk, dragonboat.INodeUser) {
	t.Helper()
	h, err := Grip(nh, group)
	require.NoError(t, err, "dragonboat changed: see husk.go")
	user, err := nh.GetNodeUser(group)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		rs, err := user.Propose(nh.GetNoOPSession(group), []byte("a"), time.Second)
		return err == nil && func() bool { res := <-rs.AppliedC(); return res.Completed() }()
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, nh.StopNode(group, 1))
	require.Eventually(t, func() bool { return nh.RemoveData(group, 1) == nil }, 10*time.Second, time.Millisecond)
	h.Empty()
	return h, user
}

// forgotten waits until dragonboat's clock has made a new list since it was called: until one
// that runs has had more ticks than its queue holds.
func forgotten(t *testing.T, runs Husk) {
	t.Helper()
	ticks := func() (n uint64) {
		locked(runs.node.FieldByName("raftMu"), func() { n = runs.node.FieldByName("currentTick").Uint() })
		return n
	}
	before := ticks()
	require.Eventually(t, func() bool { return ticks() > before+ReceiveQueue+2 }, 30*time.Second, time.Millisecond)
}

func refuses(t *testing.T, nh *dragonboat.NodeHost, user dragonboat.INodeUser, group uint64) {
	t.Helper()
	_, err := user.Propose(nh.GetNoOPSession(group), []byte("b"), time.Second)
	require.Error(t, err)
	_, err = user.ReadIndex(time.Second)
	require.Error(t, err)
}

// This is what breaks first when dragonboat changes: an emptied replica has no queues
// left, and whoever still comes with a request is refused.
func TestHuskIsEmpty(t *testing.T) {
	nh := alone(t, 7)
	_, err := Grip(nh, 8)
	require.ErrorIs(t, err, dragonboat.ErrClusterNotFound)
	h, user := unload(t, nh, 7)
	for queue, slices := range queues() {
		for _, s := range slices {
			require.Zero(t, h.node.FieldByName(queue).Elem().FieldByName(s).Len(), "%s.%s", queue, s)
		}
	}
	refuses(t, nh, user, 7)
	Husk{}.Empty()
}

// Buried replicas share all their parts, refuse everything as before, and what runs is
// none of their business.
func TestHusksAreBuried(t *testing.T) {
	nh := alone(t, 7, 8, 9)
	g, err := NewGraves(nh)
	require.NoError(t, err, "dragonboat changed: see graves.go")
	first, _ := unload(t, nh, 7)
	second, user := unload(t, nh, 8)
	third, err := Grip(nh, 9)
	require.NoError(t, err)
	forgotten(t, third)
	now := time.Now()
	g.Lay(first, now)
	g.Lay(second, now)
	g.Lay(Husk{}, now)
	require.Zero(t, g.Bury(now), "they are left alone for a while")
	require.Equal(t, 1, g.Bury(now.Add(burialAfter)), "the first is the model")
	require.Zero(t, g.Bury(now.Add(2*burialAfter)))
	for i := range second.node.NumField() {
		if f := second.node.Field(i); f.Kind() == reflect.Pointer || f.Kind() == reflect.Chan {
			require.Equal(t, first.node.Field(i).Pointer(), f.Pointer(), "field %s", second.node.Type().Field(i).Name)
		}
	}
	require.Equal(t, uint64(8), second.node.FieldByName("clusterID").Uint())
	require.True(t, second.destroyed())
	refuses(t, nh, user, 8)
	require.NotEqual(t, first.node.FieldByName("sm").Pointer(), third.node.FieldByName("sm").Pointer())
	var none *Graves
	none.Lay(third, now)
	require.Zero(t, none.Bury(now))
}

// A replica that is not quite gone is not touched.
func TestRunningReplicasAreNotBuried(t *testing.T) {
	nh := alone(t, 7, 8)
	g, err := NewGraves(nh)
	require.NoError(t, err)
	gone, _ := unload(t, nh, 7)
	runs, err := Grip(nh, 8)
	require.NoError(t, err)
	now := time.Now()
	g.Lay(gone, now)
	g.Lay(runs, now)
	require.Zero(t, g.Bury(now.Add(burialAfter)))
	require.False(t, runs.destroyed())
	require.NotEqual(t, gone.node.FieldByName("sm").Pointer(), runs.node.FieldByName("sm").Pointer())
	require.Len(t, g.laid, 1)
}
