package raft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/wait"
)

// napping makes hosts that unload what is idle as soon as they may.
func napping(o *Options) { o.Hibernate, o.UnloadAfter = true, 2*o.withElection().electionTimeout() }

func (o Options) withElection() Options {
	o.ElectionTicks = max(o.ElectionTicks, defaultElectionTicks)
	return o
}

// unloaded tells whether a node has a group's replica, unloaded.
func (n *node) unloaded(g ids.Group) bool {
	s, ok := n.Status(g)
	return ok && s.Unloaded
}

// asleep waits until the group is unloaded on those nodes at once: one that goes on may
// wake the others.
func (c *cluster) asleep(g ids.Group, on ...int) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		return !slices.ContainsFunc(on, func(i int) bool { return !c.nodes[i].unloaded(g) })
	}, testTimeout, testTick, "group %d is not unloaded", g)
}

// someoneProposes proposes on each node in turn until one applies the command.
func (c *cluster) someoneProposes(g ids.Group, text string, on ...int) {
	c.t.Helper()
	ctx := c.ctx()
	for {
		for _, i := range on {
			_, err := c.nodes[i].Propose(ctx, g, []byte(text))
			if err == nil {
				return
			}
			require.False(c.t, mayHaveApplied(err), "propose %q: %v", text, err)
		}
		require.NoError(c.t, ctx.Err())
	}
}

func TestIdleGroupIsUnloadedAndComesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, napping)
	const g = 1000
	c.launch(g, 0, 1, 2)
	c.propose(g, "a")
	c.asleep(g, 0, 1, 2)
	for _, n := range c.nodes {
		s, ok := n.Status(g)
		require.True(t, ok)
		require.True(t, s.Ready && s.Opened && !s.Sealed && s.Unloaded, "%+v", s)
		require.Zero(t, s.Leader)
		require.Equal(t, fmt.Sprintf("ledger/%d", g), s.Name)
		require.NotZero(t, s.Applied)
		require.NotZero(t, s.ConfigChange)
		require.Equal(t, uint32(1), s.Version)
		require.Eventually(t, func() bool { return n.saw(EventUnloaded, g) }, testTimeout, testTick)
		require.False(t, n.saw(EventStopped, g), "to be unloaded is not to be stopped")
		require.Empty(t, n.all())
	}
	begun := time.Now()
	c.someoneProposes(g, "b", 1, 0, 2)
	t.Logf("the first command took %s", time.Since(begun))
	require.Eventually(t, func() bool { return c.nodes[1].saw(EventLoaded, g) }, testTimeout, testTick)
	for _, n := range c.nodes {
		require.Equal(t, "1", n.read(g, "a"))
		require.Equal(t, "1", n.read(g, "b"))
	}
	c.asleep(g, 0, 1, 2)
	require.Equal(t, "1", c.nodes[2].read(g, "b"), "a read wakes the group, too")
}

func TestGroupOfOneComesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, napping)
	const g = 1000
	c.launch(g, 0)
	for i := range 3 {
		c.asleep(g, 0)
		res, err := c.nodes[0].Propose(c.ctx(), g, []byte("a"))
		require.NoError(t, err)
		require.Equal(t, uint64(i+1), res.Value)
	}
}

// A replica whose unloading has to wait keeps no other in memory.
func TestOneThatStaysKeepsNoOther(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, napping)
	const stuck, other = 1000, 1001
	c.launch(stuck, 0)
	c.launch(other, 0)
	h := c.nodes[0].Host
	var leave func()
	var r *replica
	require.Eventually(t, func() bool {
		_, _ = h.Propose(c.ctx(), stuck, []byte("a")) // it may be unloaded by now
		var err error
		leave, err = h.gates.Enter(c.ctx(), stuck)
		require.NoError(t, err)
		if r, err = h.replica(stuck); err != nil {
			leave()
		}
		return err == nil
	}, testTimeout, testTick, "it runs, and its gate is ours")
	require.Eventually(t, func() bool {
		_, err := h.Propose(c.ctx(), other, []byte("a"))
		return err == nil && r.nap.due.Load()
	}, testTimeout, testTick, "it is idle, and waits for the gate")
	c.asleep(other, 0)
	require.False(t, c.nodes[0].unloaded(stuck))
	leave()
	c.asleep(stuck, 0)
}

// Who keeps records is told before a replica is loaded, and may keep it from that.
func TestLoadingIsToldBefore(t *testing.T) {
	t.Parallel()
	const g = 1000
	full := errors.New("the disk is full")
	var told atomic.Int32
	var c *cluster
	c = newCluster(t, 1, func(o *Options) {
		o.Hibernate, o.UnloadAfter = true, time.Hour // it is unloaded when the test wants it
		o.BeforeLoad = func(_ context.Context, group ids.Group, id ids.Replica) error {
			if s, _ := c.nodes[0].Status(group); !s.Unloaded || s.Replica != id || told.Add(1) == 1 {
				return full
			}
			return nil
		}
	})
	c.launch(g, 0)
	require.Zero(t, told.Load(), "it was not unloaded")
	c.nodes[0].parkNow(g)
	_, err := c.nodes[0].Propose(c.ctx(), g, []byte("a"))
	require.ErrorIs(t, err, full)
	require.True(t, c.nodes[0].unloaded(g))
	_, err = c.nodes[0].Propose(c.ctx(), g, []byte("a"))
	require.NoError(t, err)
}

// All kinds of call, at once, on all hosts, of a group that sleeps: none fails for it.
func TestEveryCallLoads(t *testing.T) {
	t.Parallel()
	calls := map[string]func(ctx context.Context, h *Host, g ids.Group) error{
		"propose": func(ctx context.Context, h *Host, g ids.Group) error {
			_, err := h.Propose(ctx, g, []byte("a"))
			return err
		},
		"read": func(ctx context.Context, h *Host, g ids.Group) error {
			_, err := h.Read(ctx, g, []byte("a"))
			return err
		},
		"catch up":   func(ctx context.Context, h *Host, g ids.Group) error { return h.CatchUp(ctx, g) },
		"membership": func(ctx context.Context, h *Host, g ids.Group) error { _, err := h.Membership(ctx, g); return err },
		"session":    func(ctx context.Context, h *Host, g ids.Group) error { _, err := h.OpenSession(ctx, g); return err },
		"open":       func(ctx context.Context, h *Host, g ids.Group) error { return h.OpenGroup(ctx, g, 1) },
		"raise":      func(ctx context.Context, h *Host, g ids.Group) error { return h.RaiseVersion(ctx, g, 1) },
		"transfer": func(ctx context.Context, h *Host, g ids.Group) error {
			s, _ := h.Status(g)
			return h.Transfer(ctx, g, s.Replica)
		},
		"local view": func(_ context.Context, h *Host, g ids.Group) error { _, err := h.LocalView(g); return err },
	}
	c := newCluster(t, 3, napping)
	groups := make(map[string]ids.Group)
	for name := range calls {
		g := ids.Group(1000 + len(groups))
		c.launch(g, 0, 1, 2)
		groups[name] = g
	}
	for _, g := range groups {
		c.asleep(g, 0, 1, 2)
	}
	var wg sync.WaitGroup
	for name, call := range calls {
		for _, n := range c.nodes {
			wg.Go(func() {
				err := call(c.ctx(), n.Host, groups[name])
				if err != nil && !fault.Is(err, fault.NotLeader) && !fault.Is(err, fault.NoQuorum) && !fault.Is(err, fault.Invalid) {
					t.Errorf("%s on %s: %v", name, n.id, err)
				}
			})
		}
	}
	wg.Wait()
}

// One of the members is parked under a leader that is awake: the leader's messages load
// it.
func TestParkedFollowerIsWokenByItsLeader(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, napping)
	const g = 1000
	c.launch(g, 0, 1, 2)
	c.asleep(g, 0, 1, 2)
	c.someoneProposes(g, "a", 0, 1, 2)
	f := c.follower(g)
	f.parkNow(g)
	for i := range 20 {
		c.propose(g, fmt.Sprint("b", i))
	}
	require.Eventually(t, func() bool { return !f.unloaded(g) }, testTimeout, testTick, "by its leader, not by a call")
	require.Equal(t, "1", f.read(g, "b19"))
}

// The leader is parked while its followers are not: they get a new one, or the old one
// back, and nobody loses anything.
func TestParkedLeaderIsReplacedOrComesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, napping)
	const g = 1000
	c.launch(g, 0, 1, 2)
	for i := range 5 {
		l := c.leader(g)
		l.parkNow(g)
		text := fmt.Sprint("a", i)
		c.someoneProposes(g, text, 0, 1, 2)
		for _, n := range c.nodes {
			require.Equal(t, "1", n.read(g, text))
		}
	}
}

// parkNow unloads a replica however lately it was used.
func (n *node) parkNow(g ids.Group) {
	n.c.t.Helper()
	require.Eventually(n.c.t, func() bool {
		r, err := n.replica(g)
		if err != nil {
			return n.unloaded(g)
		}
		if r.quiet() {
			r.nap.used.Store(n.sweeps.Load() - sweepsToIdle - 1)
			require.NoError(n.c.t, n.depot.unload(n.c.ctx(), r))
		}
		return n.unloaded(g)
	}, testTimeout, testTick)
}

// Commands arrive while replicas are unloaded all the time, on every host: each is
// applied once or refused for a reason, and none is lost.
func TestUnloadingUnderCommands(t *testing.T) {
	c := newCluster(t, 3, napping)
	const g = 1000
	c.launch(g, 0, 1, 2)
	ctx, cancel := context.WithCancel(context.Background())
	var parkers sync.WaitGroup
	for _, n := range c.nodes {
		parkers.Go(func() {
			for ctx.Err() == nil {
				if r, err := n.replica(g); err == nil && r.quiet() {
					r.nap.used.Store(n.sweeps.Load() - sweepsToIdle - 1)
					if err := n.depot.unload(c.ctx(), r); err != nil {
						t.Errorf("unload on %s: %v", n.id, err)
					}
				}
				wait.For(ctx, 3*testTick)
			}
		})
	}
	var callers sync.WaitGroup
	for i := range 4 {
		callers.Go(func() {
			for j := range 10 {
				text := fmt.Sprintf("%d-%d", i, j)
				for k := 0; ; k++ {
					_, err := c.nodes[k%3].Propose(c.ctx(), g, []byte(text))
					if err == nil {
						break
					}
					if mayHaveApplied(err) {
						t.Errorf("%s: %v", text, err)
						break
					}
				}
			}
		})
	}
	callers.Wait()
	cancel()
	parkers.Wait()
	for i := range 4 {
		for j := range 10 {
			require.Equal(t, "1", c.nodes[0].read(g, fmt.Sprintf("%d-%d", i, j)))
		}
	}
}

// All members are parked and one host is dead: the others are enough.
func TestParkedGroupOutlivesAHost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, napping)
	const g = 1000
	c.launch(g, 0, 1, 2)
	c.propose(g, "a")
	c.asleep(g, 0, 1, 2)
	c.nodes[2].crash()
	c.someoneProposes(g, "b", 0, 1)
	require.Equal(t, "1", c.nodes[1].read(g, "a"))
	c.asleep(g, 0, 1)

	// The dead host comes back, with the replica as it was: unloaded.
	c.nodes[2].boot()
	s := spec(g, 2)
	s.Restart, s.Unloaded = true, true
	require.NoError(t, c.nodes[2].Start(c.ctx(), s))
	require.NoError(t, c.nodes[2].Start(c.ctx(), s), "idempotent")
	c.asleep(g, 2) // at once, unless a peer had something to tell it
	require.Equal(t, "1", c.nodes[2].read(g, "b"))
}

// A whole fleet restarts with its groups unloaded, knowing nothing of their members.
func TestUnloadedGroupsSurviveARestart(t *testing.T) {
	c := newCluster(t, 3, napping)
	const g = 1000
	c.launch(g, 0, 1, 2)
	c.propose(g, "a")
	for _, n := range c.nodes {
		n.crash()
	}
	for i, n := range c.nodes {
		n.boot()
		s := spec(g, i)
		s.Unloaded = true
		require.NoError(t, n.Start(c.ctx(), s))
		require.True(t, n.unloaded(g))
	}
	require.Equal(t, "1", c.nodes[1].read(g, "a"))
	c.someoneProposes(g, "b", 2, 1, 0)
}

func TestStartUnloaded(t *testing.T) {
	// Nothing is unloaded but when the test wants it.
	c := newCluster(t, 1, func(o *Options) { o.Hibernate, o.UnloadAfter = true, time.Hour })
	n := c.nodes[0]
	s := spec(1000, 0)
	s.Unloaded = true
	err := n.Start(c.ctx(), s)
	require.True(t, fault.Is(err, fault.Conflict), "without data: %v", err)
	_, err = n.Propose(c.ctx(), 1000, []byte("a"))
	require.True(t, fault.Is(err, fault.GroupNotFound), "%v", err)

	c.launch(1000, 0)
	require.NoError(t, n.Start(c.ctx(), s), "one that runs may go on")
	require.False(t, n.unloaded(1000))
	n.parkNow(1000)
	other := s
	other.ID = 99
	require.True(t, fault.Is(n.Start(c.ctx(), other), fault.Conflict))
	s.Unloaded = false
	require.NoError(t, n.Start(c.ctx(), s), "to be started is to be loaded")
	require.False(t, n.unloaded(1000))
	require.Eventually(t, func() bool { return n.saw(EventLoaded, 1000) }, testTimeout, testTick)
}

// A host that unloads nothing starts what an earlier configuration had unloaded.
func TestStartUnloadedWhereNothingIsUnloaded(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	c.launch(1000, 0)
	n.crash()
	n.boot()
	s := spec(1000, 0)
	s.Unloaded = true
	require.NoError(t, n.Start(c.ctx(), s))
	c.leader(1000)
	require.Eventually(t, func() bool { return n.saw(EventLoaded, 1000) }, testTimeout, testTick)
}

func TestStopAndDestroyAnUnloadedReplica(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, napping)
	n := c.nodes[0]
	for _, g := range []ids.Group{1000, 1001} {
		c.launch(g, 0)
		c.asleep(g, 0)
	}
	require.NoError(t, n.Stop(c.ctx(), 1000))
	_, here := n.Status(1000)
	require.False(t, here)
	require.NoError(t, n.Start(c.ctx(), spec(1000, 0)), "its data is still here")
	c.leader(1000)

	require.NoError(t, n.Destroy(c.ctx(), 1001, replicaID(1001, 0)))
	_, here = n.Status(1001)
	require.False(t, here)
	s := spec(1001, 0)
	s.Restart = true
	require.True(t, fault.Is(n.Start(c.ctx(), s), fault.Conflict), "its data is gone")
	require.Eventually(t, func() bool { return n.saw(EventStopped, 1000) && n.saw(EventStopped, 1001) }, testTimeout, testTick)
}

// While a member is parked the group grows and shrinks; it learns of it when it wakes.
func TestMembershipChangesWhileParked(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, napping)
	const g = 1000
	c.launch(g, 0, 1, 2)
	c.asleep(g, 0, 1, 2)
	change := func(n *node, ch Change) error {
		return c.settled(func() error { _, err := n.Change(c.ctx(), g, ch); return err })
	}
	require.NoError(t, change(c.nodes[0], Change{Kind: AddObserver, Replica: replicaID(g, 3), Host: c.nodes[3].id}))
	s := spec(g, 3)
	s.Join = true
	require.NoError(t, c.nodes[3].Start(c.ctx(), s))
	c.nodes[3].catchUp(g)
	c.asleep(g, 0, 1, 2, 3)
	require.NoError(t, change(c.nodes[1], Change{Kind: Promote, Replica: replicaID(g, 3)}))
	require.NoError(t, change(c.nodes[1], Change{Kind: Remove, Replica: replicaID(g, 2)}))
	// As after every removal: one that was not told of it asks for votes, and wakes the others.
	require.NoError(t, c.nodes[2].Destroy(c.ctx(), g, replicaID(g, 2)))
	c.asleep(g, 0, 1, 3)
	c.someoneProposes(g, "a", 3, 1, 0)
	var m Membership
	require.NoError(t, c.settled(func() (err error) { m, err = c.nodes[3].Membership(c.ctx(), g); return err }))
	require.Len(t, m.Voters, 3)
	require.Contains(t, m.Voters, replicaID(g, 3))
}

// A replica that was loaded replays its log: what it passes on the way is no news.
func TestOlderMembershipsAreNotBelieved(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, napping)
	const g = 1000
	c.launch(g, 0, 1, 2)
	c.asleep(g, 0, 1, 2)
	c.someoneProposes(g, "a", 0, 1, 2)
	r, err := c.nodes[0].replica(g)
	require.NoError(t, err)
	now := r.status()
	require.Len(t, r.View().Voters, 3)
	require.False(t, r.setMembers(now.ConfigChange-1, false, map[uint64]string{uint64(replicaID(g, 0)): string(c.nodes[0].id)}))
	require.False(t, r.setMembers(0, false, nil))
	require.Len(t, r.View().Voters, 3)
}

// A parked member is so far behind that it needs a snapshot.
func TestSnapshotForAParkedReplica(t *testing.T) {
	c := newCluster(t, 3, func(o *Options) { napping(o); o.SnapshotEntries = 20 })
	const g = 1000
	c.launch(g, 0, 1, 2)
	c.propose(g, "a")
	c.nodes[2].crash()
	for i := range 200 {
		c.propose(g, fmt.Sprint(i))
	}
	c.nodes[2].boot()
	s := spec(g, 2)
	s.Unloaded = true
	require.NoError(t, c.nodes[2].Start(c.ctx(), s))
	c.propose(g, "b")
	require.Equal(t, "1", c.nodes[2].read(g, "199"))
}

// Close does not wait for what is unloaded, being unloaded or being loaded.
func TestCloseAmidUnloadingAndLoading(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, napping)
	n := c.nodes[0]
	for g := ids.Group(1000); g < 1030; g++ {
		c.launch(g, 0)
	}
	c.asleep(1000, 0)
	var callers sync.WaitGroup
	for g := ids.Group(1000); g < 1030; g++ {
		callers.Go(func() {
			_, err := n.Read(c.ctx(), g, []byte("a"))
			if err != nil && !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Internal) && !fault.Is(err, fault.GroupNotFound) {
				t.Errorf("group %d: %v", g, err)
			}
		})
	}
	n.crash()
	callers.Wait()
}
