package raft

import (
	"context"
	"crypto/md5" //nolint:gosec // dragonboat's own format
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// diskCluster starts n hosts on disk.
func diskCluster(t testing.TB, n int) *cluster {
	t.Helper()
	// Patient: an fsync on a busy machine takes longer than a test's tick.
	c := newCluster(t, 0, func(o *Options) { o.Tick = 20 * time.Millisecond })
	for i := range n {
		c.add(ids.Host(fmt.Sprintf("host-%d", i+1)), nil, t.TempDir())
	}
	return c
}

func TestRestartFromDisk(t *testing.T) {
	t.Parallel()
	c := diskCluster(t, 3)
	const g = 1000
	c.launch(g, 0, 1, 2)
	for i := range 20 {
		c.propose(g, fmt.Sprintf("x%d", i))
	}
	for _, n := range c.nodes {
		n.crash()
	}
	for i, n := range c.nodes {
		n.boot()
		require.NoError(t, n.Start(c.ctx(), spec(g, i)))
	}
	for i := range 20 {
		require.Equal(t, "1", c.nodes[0].read(g, fmt.Sprintf("x%d", i)))
	}
	c.propose(g, "again")
	c.requireSameSnapshots(g)
	for _, n := range c.nodes {
		require.FileExists(t, filepath.Join(n.dir, "shards.json"))
	}
}

// Stop and Start of the same replica, and Destroy and Start of another one of the
// same group, in a tight row: dragonboat would panic on the second without a barrier.
func TestStopDestroyAndFreshStart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	const g = 1000
	c.launch(g, 0)
	home, away := c.nodes[0], c.nodes[1]
	for round := range 10 {
		c.propose(g, fmt.Sprintf("r%d", round))
		id := ids.Replica(5000 + round)
		c.change(g, Change{Kind: AddObserver, Replica: id, Host: away.id})
		s := Replica{Group: g, ID: id, Name: "ledger/1000", Join: true}
		require.NoError(t, away.Start(c.ctx(), s))
		require.NoError(t, away.Start(c.ctx(), s), "idempotent")
		other := s
		other.ID++
		require.True(t, fault.Is(away.Start(c.ctx(), other), fault.Conflict))
		away.catchUp(g)
		require.NoError(t, away.Stop(c.ctx(), g))
		require.NoError(t, away.Stop(c.ctx(), g), "idempotent")
		require.True(t, fault.Is(away.Start(c.ctx(), other), fault.Conflict), "the old replica's data is in the way")
		require.NoError(t, away.Start(c.ctx(), s))
		require.Equal(t, "1", away.read(g, fmt.Sprintf("r%d", round)))
		c.change(g, Change{Kind: Remove, Replica: id})
		require.NoError(t, away.Destroy(c.ctx(), g, id))
	}
	require.NoError(t, home.Stop(c.ctx(), g))
	require.NoError(t, home.Start(c.ctx(), spec(g, 0)))
	require.Equal(t, "1", home.read(g, "r9"))
}

func TestDestroyLeavesNothingOnDisk(t *testing.T) {
	t.Parallel()
	c := diskCluster(t, 1)
	n := c.nodes[0]
	for g := ids.Group(1000); g < 1003; g++ {
		c.launch(g, 0)
		c.propose(g, "x")
	}
	require.NoError(t, n.Destroy(c.ctx(), 1001, replicaID(1001, 0)))
	var left []string
	require.NoError(t, filepath.WalkDir(n.dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), "snapshot-1") {
			left = append(left, filepath.Base(path))
		}
		return err
	}))
	require.Equal(t, []string{"snapshot-1000-10001", "snapshot-1002-10021"}, left)
	n.crash()
	n.boot()
	require.True(t, fault.Is(n.Start(c.ctx(), spec(1001, 0)), fault.Conflict), "destroyed for ever")
	require.NoError(t, n.Start(c.ctx(), spec(1002, 0)))
	require.Equal(t, "1", n.read(1002, "x"))
}

// A plain file where the replica's snapshots should be is part of what a damaged disk leaves:
// it is destroyed like any other.
func TestDestroyWithAFileInPlaceOfTheSnapshots(t *testing.T) {
	t.Parallel()
	c := diskCluster(t, 1)
	n := c.nodes[0]
	c.launch(1000, 0)
	c.propose(1000, "x")
	require.NoError(t, n.Stop(c.ctx(), 1000))
	found, err := filepath.Glob(filepath.Join(n.dir, "*", "*", "*", "snapshot-1000-*"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NoError(t, os.RemoveAll(found[0]))
	require.NoError(t, os.WriteFile(found[0], []byte("no directory"), 0o600))
	require.NoError(t, n.Destroy(c.ctx(), 1000, replicaID(1000, 0)))
	require.NoFileExists(t, found[0])
}

func TestStartRefusesWhatDragonboatWouldPanicOn(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	two := map[ids.Replica]ids.Host{10001: n.id, 10002: n.id}
	bad := map[string]Replica{
		"no group":            {ID: 1, Name: "ledger/x"},
		"no id":               {Group: 1000, Name: "ledger/x"},
		"no name":             {Group: 1000, ID: 1},
		"unknown app":         {Group: 1000, ID: 1, Name: "nothing/x"},
		"two on one host":     {Group: 1000, ID: 10001, Name: "ledger/x", Members: two},
		"not among them":      {Group: 1000, ID: 3, Name: "ledger/x", Members: map[ids.Replica]ids.Host{4: n.id}},
		"on another host":     {Group: 1000, ID: 3, Name: "ledger/x", Members: map[ids.Replica]ids.Host{3: "elsewhere"}},
		"member without id":   {Group: 1000, ID: 3, Name: "ledger/x", Members: map[ids.Replica]ids.Host{3: n.id, 0: "elsewhere"}},
		"member without host": {Group: 1000, ID: 3, Name: "ledger/x", Members: map[ids.Replica]ids.Host{3: n.id, 4: ""}},
		"joins with a list":   {Group: 1000, ID: 3, Name: "ledger/x", Join: true, Members: map[ids.Replica]ids.Host{3: n.id}},
	}
	for name, r := range bad {
		require.True(t, fault.Is(n.Start(c.ctx(), r), fault.Invalid), name)
	}
	require.True(t, fault.Is(n.Start(c.ctx(), Replica{Group: 1000, ID: 3, Name: "ledger/x"}), fault.Conflict), "neither data nor members")
	require.Empty(t, n.Statuses())
	require.True(t, fault.Is(n.Destroy(c.ctx(), 0, 1), fault.Invalid))
	require.NoError(t, n.Destroy(c.ctx(), 1000, 99), "never here")
}

func TestOpenRefuses(t *testing.T) {
	_, err := Open(Options{Tick: 1, ElectionTicks: 2, HeartbeatTicks: 1})
	require.Error(t, err)
	for _, part := range []string{"no id", "data directory", "transport", "registry", "milliseconds", "heartbeat"} {
		require.ErrorContains(t, err, part)
	}
}

func TestCloseIsIdempotentAndEndsEverything(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	c.launch(1000, 0)
	require.NoError(t, n.Close())
	require.NoError(t, n.Close())
	_, err := n.Propose(context.Background(), 1000, []byte("x"))
	require.Error(t, err)
	require.False(t, fault.MayHaveApplied(err), "%v", err)
	require.Error(t, n.Start(context.Background(), spec(1001, 0)))
	_, err = n.Read(context.Background(), 1000, []byte("x"))
	require.Error(t, err)
}

// A receiver of events that takes its time holds up nobody: groups are launched and
// serve meanwhile, and what it missed is merged.
func TestASlowReceiverOfEventsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var got []Event
	c := newCluster(t, 1, func(o *Options) {
		o.Events = func(e Event) {
			<-release
			got = append(got, e)
		}
	})
	n := c.nodes[0]
	const groups = 20
	for g := ids.Group(1000); g < 1000+groups; g++ {
		c.launch(g, 0)
		c.propose(g, "x")
		require.NoError(t, n.Stop(c.ctx(), g))
		require.NoError(t, n.Start(c.ctx(), spec(g, 0)))
		c.propose(g, "y")
	}
	close(release)
	n.crash()
	kinds := make(map[EventKind]int)
	for _, e := range got {
		kinds[e.Kind]++
	}
	for _, k := range []EventKind{EventReady, EventMembership, EventLeader, EventServing, EventLife, EventStopped} {
		require.GreaterOrEqual(t, kinds[k], groups, "events of kind %d", k)
	}
	require.Less(t, len(got), groups*3*len(kinds), "events were not merged")
}

// The data of a host whose machine was renamed is its data all the same.
func TestAChangedHostnameIsSurvived(t *testing.T) {
	t.Parallel()
	c := diskCluster(t, 1)
	n := c.nodes[0]
	c.launch(1000, 0)
	c.propose(1000, "x")
	name, err := os.Hostname()
	require.NoError(t, err)
	for _, earlier := range []string{"earlier-1", "earlier-2"} {
		n.crash()
		// As if all that was had happened under another hostname.
		require.NoError(t, os.RemoveAll(filepath.Join(n.dir, earlier)))
		require.NoError(t, os.Rename(filepath.Join(n.dir, name), filepath.Join(n.dir, earlier)))
		writeHostname(t, filepath.Join(n.dir, "dragonboat.ds"), earlier)
		n.boot()
		require.NoError(t, n.Start(c.ctx(), spec(1000, 0)))
		require.Equal(t, "1", n.read(1000, "x"))
		c.propose(1000, "under "+earlier)
		target, err := os.Readlink(filepath.Join(n.dir, earlier))
		require.NoError(t, err)
		require.Equal(t, name, target)
	}
	require.Equal(t, "1", n.read(1000, "under earlier-1"))
}

// writeHostname changes the hostname in dragonboat's flag file: 8 bytes of MD5, then
// the message.
func writeHostname(t *testing.T, path, host string) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var status raftpb.RaftDataStatus
	require.NoError(t, status.Unmarshal(b[8:]))
	status.Hostname = host
	data, err := status.Marshal()
	require.NoError(t, err)
	sum := md5.Sum(data) //nolint:gosec // dragonboat's own format
	require.NoError(t, os.WriteFile(path, append(sum[8:], data...), 0o600))
}
