package raft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
)

func mayHaveApplied(err error) bool { return fault.MayHaveApplied(err) }

func TestLaunchProposeRead(t *testing.T) {
	c := newCluster(t, 3)
	c.launch(1000, 0, 1, 2)
	res := c.propose(1000, "a")
	require.Equal(t, uint64(1), res.Value)
	require.Equal(t, "did a", string(res.Data))
	for _, n := range c.nodes {
		require.Equal(t, "1", n.read(1000, "a"), "read on %s", n.id)
	}
	require.Eventually(t, func() bool { // a hint may be an election behind
		f := c.follows(1000, func(f *node) error { _, err := f.Propose(c.ctx(), 1000, []byte("b")); return err })
		return f.LeaderHost == string(c.leader(1000).id)
	}, testTimeout, testTick)
}
