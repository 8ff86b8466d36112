package raft

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Replicas of a running group are restarted one by one with settings of the group's own,
// and have them also when they come back from being unloaded.
func TestSettingsOfAGroup(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, napping)
	const g = 1000
	own := Settings{SnapshotEntries: 150, ElectionTicks: 12, HeartbeatTicks: 2}
	c.launch(g, 0, 1, 2)
	for i, n := range c.nodes {
		c.someoneProposes(g, fmt.Sprintf("x%d", i), 0, 1, 2)
		require.NoError(t, n.Stop(c.ctx(), g))
		s := spec(g, i)
		s.Settings, s.Restart, s.Members = own, true, nil
		require.NoError(t, n.Start(c.ctx(), s))
	}
	running := func(i int) Settings {
		r, err := c.nodes[i].Host.use(c.ctx(), g)
		require.NoError(t, err)
		return r.spec.Settings
	}
	c.someoneProposes(g, "after", 0, 1, 2)
	for i, n := range c.nodes {
		require.Equal(t, own, running(i))
		conf := n.replicaConfig(Replica{Group: g, ID: 1, Settings: own})
		require.EqualValues(t, 150, conf.SnapshotEntries)
		require.EqualValues(t, 15, conf.CompactionOverhead)
		require.EqualValues(t, 12, conf.ElectionRTT)
		require.EqualValues(t, 2, conf.HeartbeatRTT)
		plain := n.replicaConfig(Replica{Group: g, ID: 1})
		require.Equal(t, n.opts.SnapshotEntries, plain.SnapshotEntries)
		require.Equal(t, n.opts.ElectionTicks, plain.ElectionRTT)
	}
	c.asleep(g, 0, 1, 2)
	for i, n := range c.nodes {
		require.Equal(t, own, running(i), "loaded again")
		require.Equal(t, "1", n.read(g, "after"))
	}
}
