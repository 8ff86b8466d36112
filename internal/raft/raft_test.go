package raft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
)

func mayHaveApplied(err error) bool { return fault.MayHaveApplied(err) }

func TestLaunchProposeRead(t *testing.T) {
	c := newCluster(t, 3)
	l := c.launch(1000, 0, 1, 2)
	res, err := l.Propose(c.ctx(), 1000, []byte("a"))
	require.NoError(t, err)
	require.Equal(t, uint64(1), res.Value)
	require.Equal(t, "did a", string(res.Data))
	for _, n := range c.nodes {
		require.Equal(t, "1", n.read(1000, "a"), "read on %s", n.id)
	}
	_, err = c.follower(1000).Propose(c.ctx(), 1000, []byte("b"))
	f := fault.Of(err)
	require.NotNil(t, f)
	require.Equal(t, fault.NotLeader, f.Reason)
	require.Equal(t, string(l.id), f.LeaderHost)
	require.Equal(t, "0", l.read(1000, "b"))
}
