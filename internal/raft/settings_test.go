package raft

import (
	"fmt"
	"path/filepath"
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
		require.EqualValues(t, 15, conf.CompactionOverhead)
		require.EqualValues(t, 12, conf.ElectionRTT)
		require.EqualValues(t, 2, conf.HeartbeatRTT)
		plain := n.replicaConfig(Replica{Group: g, ID: 1})
		require.Equal(t, n.opts.SnapshotEntries/keepDivisor, plain.CompactionOverhead)
		require.Equal(t, n.opts.ElectionTicks, plain.ElectionRTT)
	}
	c.asleep(g, 0, 1, 2)
	for i, n := range c.nodes {
		require.Equal(t, own, running(i), "loaded again")
		require.Equal(t, "1", n.read(g, "after"))
	}
}

// A replica's snapshots come while it is used, as many entries apart as its settings say, and
// what it starts from again is the newest one and the log behind it.
func TestSnapshotsAreTaken(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 0, func(o *Options) { o.SnapshotEntries = 20 })
	n := c.add("host-1", nil, t.TempDir())
	const g = 1000
	c.launch(g, 0)
	taken := func() []string {
		names, err := filepath.Glob(filepath.Join(n.dir, "*", "*", "snapshot-part-*", "snapshot-*", "snapshot-????????????????"))
		require.NoError(t, err)
		return names
	}
	for i := range 5 {
		c.someoneProposes(g, fmt.Sprintf("few%d", i), 0)
	}
	require.Empty(t, taken())
	// The state of this app is its log, so that snapshots become rare.
	writes := 0
	for ctx := c.ctx(); len(taken()) < 2; writes++ {
		require.NoError(t, ctx.Err())
		c.someoneProposes(g, fmt.Sprintf("more%d", writes), 0)
	}
	require.GreaterOrEqual(t, writes, 20)
	n.crash()
	n.boot()
	require.NoError(t, n.Start(c.ctx(), spec(g, 0)))
	c.someoneProposes(g, "after", 0)
	require.Equal(t, "1", n.read(g, "few0"))
	require.Equal(t, "1", n.read(g, fmt.Sprintf("more%d", writes-1)))
}
