package engine

import (
	"log/slog"
	"testing"
	"time"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/config"
	sm "github.com/lni/dragonboat/v3/statemachine"
	"github.com/lni/goutils/vfs"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/raft/logdb"
)

// member is a state machine that joins a Crowd. It takes no snapshots.
type member struct{ sm.IConcurrentStateMachine }

func (member) Update(es []sm.Entry) ([]sm.Entry, error) { return es, nil }
func (member) Lookup(any) (any, error)                  { return nil, nil } //nolint:nilnil // there is nothing
func (member) Close() error                             { return nil }

// This is what breaks first when dragonboat changes: of a crowd that joins at once none is
// forgotten, and the workers' number tells of it far less often than there are members.
func TestCrowdLeavesNobodyBehind(t *testing.T) {
	const members = 100
	nh, crowd := crowdedHost(t)
	before := crowd.at()
	crowd.Count(crowdFrom)
	for g := uint64(1); g <= members; g++ {
		create := func(group, _ uint64) sm.IConcurrentStateMachine {
			return crowd.Joins(group, member{})
		}
		require.NoError(t, nh.StartConcurrentCluster(map[uint64]string{1: "alone"}, false, create, config.Config{
			ClusterID: g, NodeID: 1, ElectionRTT: 5, HeartbeatRTT: 1,
		}))
	}
	for g := uint64(1); g <= members; g++ {
		require.Eventually(t, func() bool {
			_, led, err := nh.GetLeaderID(g)
			return err == nil && led
		}, 20*time.Second, 5*time.Millisecond, "group %d has no leader", g)
	}
	require.Less(t, crowd.at()-before, uint64(members))
}

// In a small host, and after a pause, each start is told at once.
func TestFewAreNoCrowd(t *testing.T) {
	trail := time.AfterFunc(time.Hour, func() {})
	defer trail.Stop()
	crowd := &Crowd{number: new(uint64), trail: trail}
	crowd.Joins(1, member{})
	crowd.Joins(2, member{})
	require.Zero(t, *crowd.number)
	require.Equal(t, member{}, (*Crowd)(nil).Joins(1, member{}))
	(*Crowd)(nil).Count(1)
	(*Crowd)(nil).Close()
}

func (c *Crowd) at() uint64 {
	c.lock.RLock()
	defer c.lock.RUnlock()
	return *c.number
}

func crowdedHost(t testing.TB) (*dragonboat.NodeHost, *Crowd) {
	t.Helper()
	UseLogger(slog.New(slog.DiscardHandler))
	require.NoError(t, Tune(slog.New(slog.DiscardHandler)))
	c := config.NodeHostConfig{NodeHostDir: "crowd", RTTMillisecond: 10, RaftAddress: "alone"}
	c.Expert.Engine = chooseFor(2).Engine()
	c.Expert.TransportFactory = noTransport{}
	c.Expert.FS = vfs.NewMem()
	c.Expert.LogDB = config.GetTinyMemLogDBConfig()
	logs := new(logdb.Factory)
	c.Expert.LogDBFactory = logs
	nh, err := dragonboat.NewNodeHost(c)
	require.NoError(t, err)
	t.Cleanup(nh.Stop)
	crowd, err := NewCrowd(nh, logs.Store())
	require.NoError(t, err)
	t.Cleanup(crowd.Close)
	return nh, crowd
}
