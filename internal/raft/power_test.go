package raft

import (
	"testing"

	"github.com/lni/goutils/vfs"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/transport/faults"
	"github.com/drumline/drumline/internal/raft/transport/membook"
)

// powerCluster is three hosts whose disks lose what was not synced when the power goes.
func powerCluster(t *testing.T, snapshotEntries uint64) (*cluster, []*vfs.MemFS) {
	t.Helper()
	c := &cluster{t: t, book: membook.New(), version: 2, network: faults.New(1)}
	c.tweak = func(o *Options) { o.SnapshotEntries = snapshotEntries }
	var disks []*vfs.MemFS
	for _, id := range []ids.Host{"host-1", "host-2", "host-3"} {
		disks = append(disks, vfs.NewStrictMem())
		c.add(id, disks[len(disks)-1], t.TempDir())
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.crash()
		}
	})
	return c, disks
}

// powerOff ends a host such that nothing of its end comes to its disk, nor to anybody
// else: who heard of what is not on the disk would take it for safe.
func (n *node) powerOff(fs *vfs.MemFS) {
	n.dark.Store(true)
	n.isolate()
	fs.SetIgnoreSyncs(true)
	n.crash()
	fs.ResetToSyncedState()
	fs.SetIgnoreSyncs(false)
}

// The power of all hosts fails under load, again and again, with snapshots being
// taken: what was acknowledged is there, once, although how far a group had
// committed is not written on its own.
func TestPowerLossLosesNothing(t *testing.T) {
	t.Parallel()
	c, disks := powerCluster(t, 30)
	const g = 1000
	c.launch(g, 0, 1, 2)
	w := startWriters(c, g, 8)
	for round := range 5 {
		w.waitAcks(t, 200*(round+1))
		for i, n := range c.nodes {
			n.powerOff(disks[i])
		}
		c.network.Heal()
		for i, n := range c.nodes {
			n.boot()
			require.NoError(t, n.Start(c.ctx(), spec(g, i)))
		}
		c.leader(g)
	}
	w.finish()
	for _, n := range c.nodes {
		n.catchUp(g)
		w.verify(t, n)
	}
	c.requireSameSnapshots(g)
}

// A group of one voter has nobody to ask how far it had committed.
func TestPowerLossOfASingleVoter(t *testing.T) {
	t.Parallel()
	c, disks := powerCluster(t, 10)
	const g = 1000
	n := c.launch(g, 0)
	for round := range 5 {
		for range 23 {
			c.propose(g, "x")
		}
		n.powerOff(disks[0])
		n.boot()
		require.NoError(t, n.Start(c.ctx(), spec(g, 0)))
		require.Equal(t, c.leader(g), n)
		v, err := n.View(c.ctx(), g)
		require.NoError(t, err)
		require.Len(t, v, 23*(round+1))
	}
}
