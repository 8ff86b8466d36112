package clienttest_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/client/clienttest"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// Timestamps ascend while the leader goes, for callers who share them and for those who
// know nothing of each other; and a command that says what only a host may say gets nowhere.
func TestTimestampsOverAFailover(t *testing.T) {
	c := clienttest.Start(t, clienttest.Hosts(3))
	service := sequencepb.NewSequenceClient(c.Client().Hosts())
	_, err := service.Create(within(t), &sequencepb.CreateRequest{Group: "sequence/clock", Create: &sequencepb.Create{
		Definition: &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO},
	}})
	require.NoError(t, err)
	var mu sync.Mutex
	high, got := int64(0), 0
	one := func() error {
		mu.Lock()
		before := high
		mu.Unlock()
		s := c.Client().Timestamps("sequence/clock")
		ts, err := s.Next(within(t))
		if err != nil {
			return err
		}
		require.Greater(t, ts.Number, before, "somebody had that, or a later one, before it was asked for")
		mu.Lock()
		defer mu.Unlock()
		high, got = max(high, ts.Number), got+1
		return s.Close()
	}
	rush := func(n int) {
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				for range n {
					require.NoError(t, one())
				}
			})
		}
		work.Wait()
	}
	rush(50)
	r, err := service.Next(within(t), &sequencepb.NextRequest{Group: "sequence/clock"})
	require.NoError(t, err)
	require.Greater(t, r.GetGrant().GetFirst(), high)
	high = r.GetGrant().GetFirst()
	leader := leaderOf(t, c, "sequence/clock")
	c.StopHost(leader)
	rush(50)
	require.Equal(t, 400, got)
	info, err := service.Describe(within(t), &sequencepb.DescribeRequest{Group: "sequence/clock"})
	require.NoError(t, err)
	require.Less(t, info.GetInfo().GetNext()>>18-high>>18, int64(2100), "the log is a second ahead")
}

// leaderOf is the place of the host that leads a group, once the drummer has heard of it.
func leaderOf(t *testing.T, c *clienttest.Cluster, group string) (place int) {
	t.Helper()
	require.Eventually(t, func() bool {
		groups, err := c.Client().Drummer().ListGroups(within(t), &drummerpb.ListGroupsRequest{Prefix: group})
		require.NoError(t, err)
		require.Len(t, groups.GetGroups(), 1)
		for _, r := range groups.GetGroups()[0].GetReplicas() {
			for i := range c.Addresses() {
				if r.GetLeader() && r.GetHost() == fmt.Sprintf("host-%d", i+1) {
					place = i
					return true
				}
			}
		}
		return false
	}, 30*time.Second, 20*time.Millisecond)
	return place
}

// A client cannot push timestamps ahead, neither by a window nor by a time of its own.
func TestClientsMoveNoWindows(t *testing.T) {
	c := clienttest.Start(t)
	_, err := sequencepb.NewSequenceClient(c.Client().Hosts()).Create(within(t), &sequencepb.CreateRequest{Group: "sequence/clock", Create: &sequencepb.Create{
		Definition: &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO},
	}})
	require.NoError(t, err)
	far := uint64(time.Now().Add(time.Hour).UnixMilli())
	for _, cmd := range []*sequencepb.Command{
		{Op: &sequencepb.Command_Advance{Advance: &sequencepb.Advance{UntilMs: far}}},
		{Op: &sequencepb.Command_Next{Next: &sequencepb.Next{}}, NowMs: far},
	} {
		data, err := proto.Marshal(cmd)
		require.NoError(t, err)
		_, err = c.Client().Group("sequence/clock").Propose(within(t), data)
		require.Error(t, err)
		require.Equal(t, client.NotApplied, client.OutcomeOf(err))
	}
	clock := c.Client().Timestamps("sequence/clock")
	ts, err := clock.Next(within(t))
	require.NoError(t, err)
	require.Less(t, time.Until(ts.Time()), time.Minute)
	require.NoError(t, clock.Close())
}
