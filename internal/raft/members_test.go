package raft

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// change makes a membership change wherever the leader is, through elections.
func (c *cluster) change(g ids.Group, ch Change) Membership {
	c.t.Helper()
	var m Membership
	var err error
	require.Eventually(c.t, func() bool {
		m, err = c.leader(g).Change(c.ctx(), g, ch)
		return err == nil || fault.Is(err, fault.Conflict) || fault.Is(err, fault.Invalid)
	}, testTimeout, testTick)
	require.NoError(c.t, err)
	return m
}

// refuses is the error of a membership change that no election is to blame for.
func (c *cluster) refuses(g ids.Group, ch Change) error {
	c.t.Helper()
	return c.ask(g, func(l *node) error { _, err := l.Change(c.ctx(), g, ch); return err })
}

// The whole life of a replacement: a host dies; an observer comes, catches up from
// a snapshot, the dead voter goes, the observer is promoted and restarted (still as
// one that came as an observer), and the dead host's data is destroyed.
func TestObserverCatchUpPromoteRemove(t *testing.T) {
	c := newCluster(t, 4, func(o *Options) { o.SnapshotEntries = 20 })
	const g = 1000
	c.launch(g, 0, 1, 2)
	for i := range 100 {
		c.propose(g, fmt.Sprintf("before-%d", i))
	}
	dead := c.follower(g)
	dead.crash()
	deadID := replicaID(g, c.indexOf(dead))

	fresh := c.nodes[3]
	freshID := replicaID(g, 3)
	m := c.change(g, Change{Kind: AddObserver, Replica: freshID, Host: fresh.id})
	require.Equal(t, fresh.id, m.Observers[freshID])
	require.Len(t, m.Voters, 3)
	s := spec(g, 3)
	s.Join = true
	require.NoError(t, fresh.Start(c.ctx(), s))
	fresh.catchUp(g)
	require.Eventually(t, func() bool {
		st, _ := fresh.Status(g)
		return st.Observer
	}, testTimeout, testTick, "a status follows what dragonboat knows a moment later")
	require.Equal(t, "1", fresh.read(g, "before-99"))

	at := m.ConfigChange
	err := c.refuses(g, Change{Kind: Remove, Replica: deadID, ConfigChange: at + 1})
	require.True(t, fault.Is(err, fault.Conflict), "a change of another membership than the one decided on: %v", err)
	m = c.change(g, Change{Kind: Remove, Replica: deadID, ConfigChange: at})
	require.Contains(t, m.Removed, deadID)
	require.Len(t, m.Voters, 2)
	again := c.change(g, Change{Kind: Remove, Replica: deadID})
	require.Equal(t, m, again, "what is so already is no change")

	m = c.change(g, Change{Kind: Promote, Replica: freshID})
	require.Equal(t, fresh.id, m.Voters[freshID])
	require.Eventually(t, func() bool {
		st, _ := fresh.Status(g)
		return !st.Observer && st.ConfigChange == m.ConfigChange
	}, testTimeout, testTick, "the promoted replica must apply its own promotion")
	require.Eventually(t, func() bool { return fresh.saw(EventMembership, g) }, testTimeout, testTick)

	// Restarted on its own data: it needs no list and stays "came as an observer".
	fresh.crash()
	c.propose(g, "while it was away")
	fresh.boot()
	require.NoError(t, fresh.Start(c.ctx(), s))
	require.Equal(t, "1", fresh.read(g, "while it was away"))

	// The dead host returns: its replica is a zombie and is destroyed.
	dead.boot()
	require.NoError(t, dead.Destroy(c.ctx(), g, deadID))
	require.NoError(t, dead.Destroy(c.ctx(), g, deadID), "idempotent")
	err = dead.Start(c.ctx(), spec(g, c.indexOf(dead)))
	require.True(t, fault.Is(err, fault.Conflict), "a replica without data does not restart: %v", err)
	c.requireSameSnapshots(g)
}

func TestMembershipChangesThatAreRefused(t *testing.T) {
	c := newCluster(t, 3)
	const g = 1000
	c.launch(g, 0, 1)
	bad := map[string]Change{
		"no kind":             {Replica: 1, Host: "x"},
		"no replica":          {Kind: Remove},
		"no host":             {Kind: AddObserver, Replica: 77},
		"host is taken":       {Kind: AddObserver, Replica: 77, Host: c.nodes[1].id},
		"already a voter":     {Kind: AddObserver, Replica: replicaID(g, 1), Host: c.nodes[2].id},
		"promote a stranger":  {Kind: Promote, Replica: 77},
		"wrong config change": {Kind: AddObserver, Replica: 77, Host: c.nodes[2].id, ConfigChange: 99},
	}
	for name, ch := range bad {
		err := c.refuses(g, ch)
		require.True(t, fault.Is(err, fault.Conflict) || fault.Is(err, fault.Invalid), "%s: %v", name, err)
	}
	m := c.change(g, Change{Kind: AddObserver, Replica: 77, Host: c.nodes[2].id})
	err := c.refuses(g, Change{Kind: Promote, Replica: 77, Host: c.nodes[0].id})
	require.True(t, fault.Is(err, fault.Conflict), "%v", err)
	m2 := c.change(g, Change{Kind: Remove, Replica: 77, ConfigChange: m.ConfigChange})
	require.Empty(t, m2.Observers)
	err = c.refuses(g, Change{Kind: AddObserver, Replica: 77, Host: c.nodes[2].id})
	require.True(t, fault.Is(err, fault.Conflict), "a removed replica never comes back: %v", err)
	// Removing what was never a member burns its id: an addition on its way comes too late.
	m3 := c.change(g, Change{Kind: Remove, Replica: 78, ConfigChange: m2.ConfigChange})
	require.Contains(t, m3.Removed, ids.Replica(78))
	err = c.refuses(g, Change{Kind: AddObserver, Replica: 78, Host: c.nodes[2].id})
	require.True(t, fault.Is(err, fault.Conflict), "a burnt id never comes: %v", err)
}

func TestAJoinedReplicaThatLostItsDataDoesNotRestart(t *testing.T) {
	c := newCluster(t, 2)
	const g = 1000
	c.launch(g, 0)
	c.change(g, Change{Kind: AddObserver, Replica: 77, Host: c.nodes[1].id})
	s := Replica{Group: g, ID: 77, Name: spec(g, 0).Name, Join: true, Restart: true}
	err := c.nodes[1].Start(c.ctx(), s)
	require.True(t, fault.Is(err, fault.Conflict), "%v", err)
	s.Restart = false
	require.NoError(t, c.nodes[1].Start(c.ctx(), s))
}

func TestTheLastVoterStays(t *testing.T) {
	c := newCluster(t, 1)
	l := c.launch(1000, 0)
	_, err := l.Change(c.ctx(), 1000, Change{Kind: Remove, Replica: replicaID(1000, 0)})
	require.True(t, fault.Is(err, fault.Conflict), "%v", err)
	require.NoError(t, l.HandOff(c.ctx()), "a group of one voter is nobody else's")
}

// A replica that applies its own removal stops by itself, and says so.
func TestARemovedReplicaStops(t *testing.T) {
	// No election may come between the two, or it is a follower that is removed.
	c := newCluster(t, 3, func(o *Options) { o.Tick = 10 * testTick })
	const g = 1000
	c.launch(g, 0, 1, 2)
	// The leader commits its own removal, so that it surely applies it; a follower may
	// never hear of its own.
	l, f := c.leader(g), c.follower(g)
	id := replicaID(g, c.indexOf(l))
	require.Eventually(t, func() bool {
		m, err := f.Change(c.ctx(), g, Change{Kind: Remove, Replica: id})
		return err == nil && slices.Contains(m.Removed, id)
	}, testTimeout, testTick)
	require.Eventually(t, func() bool {
		_, runs := l.Status(g)
		return !runs && l.saw(EventStopped, g)
	}, testTimeout, testTick)
	require.NoError(t, l.Destroy(c.ctx(), g, id))
	_, err := l.Propose(context.Background(), g, nil)
	require.True(t, fault.Is(err, fault.GroupNotFound), "%v", err)
}
