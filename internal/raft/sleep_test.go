package raft

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/hibernate"
)

// hibernating has groups fall asleep after half a second.
func hibernating(o *Options) { o.Hibernate = true }

// unhurried is for many groups, whose heartbeats a machine that is busy or under the
// race detector must keep up with.
func unhurried(o *Options) { o.Hibernate, o.Tick = true, 4*testTick }

// quiet waits until no host has sent a message for a while: all groups sleep. On a
// machine so busy that hosts miss each other's heartbeats, groups are woken all the time.
func (c *cluster) quiet() {
	c.t.Helper()
	var sent uint64
	since := time.Now()
	require.Eventually(c.t, func() bool {
		var n uint64
		for _, node := range c.nodes {
			if node.up.Load() {
				n += node.opts.Transport.Stats().BatchesOut
			}
		}
		if n != sent {
			sent, since = n, time.Now()
		}
		return time.Since(since) > 40*testTick
	}, 6*testTimeout, testTick, "the groups do not fall asleep")
}

// What wakes a sleeping group disturbs its leader in nothing.
func TestCommandsAndReadsWakeTheirGroup(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, hibernating)
	const g = 1000
	c.launch(g, 0, 1, 2)
	undisturbed(t, c, g, func(l *node) bool {
		res, err := l.Propose(c.ctx(), g, []byte("a"))
		return err == nil && string(res.Data) == "did a"
	})
	undisturbed(t, c, g, func(l *node) bool { return l.read(g, "a") != "0" })
	undisturbed(t, c, g, func(*node) bool { return c.follower(g).read(g, "a") != "0" })
	undisturbed(t, c, g, func(l *node) bool {
		_, err := c.follower(g).Propose(c.ctx(), g, []byte("b"))
		f := fault.Of(err)
		return f != nil && f.Reason == fault.NotLeader && f.LeaderHost == string(l.id)
	})
}

// undisturbed does something to a sleeping group that shall succeed and not depose its
// leader. A machine that stands still may depose it, so that it is tried more than once.
func undisturbed(t *testing.T, c *cluster, g ids.Group, do func(leader *node) bool) {
	t.Helper()
	for range 5 {
		c.quiet()
		l := c.leader(g)
		before, _ := l.Status(g)
		done := do(l)
		c.quiet()
		if after, _ := l.Status(g); after.Term == before.Term {
			require.True(t, done, "it failed although there was no election")
			return
		}
	}
	require.Fail(t, "an election each time")
}

// A leader that lost its quorum while it slept says so in time.
func TestASleepingLeaderNoticesItsLostQuorum(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, hibernating)
	const g = 1000
	c.launch(g, 0, 1, 2)
	c.quiet()
	l := c.leader(g)
	for _, n := range c.nodes {
		if n != l { // the hosts go on: nobody tells
			require.NoError(t, n.nh.StopCluster(uint64(g)))
		}
	}
	begun := time.Now()
	require.Eventually(t, func() bool {
		_, err := l.Read(c.ctx(), g, []byte("a"))
		return fault.Is(err, fault.NoQuorum)
	}, testTimeout, testTick)
	t.Logf("after %s", time.Since(begun))
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 40*testTick)
		defer cancel()
		_, err := l.Propose(ctx, g, []byte("a"))
		return fault.Is(err, fault.NotLeader)
	}, testTimeout, testTick)
}

// The replica that leads is stopped, and nobody asks for anything.
func TestAGroupWhoseLeaderStoppedElectsAnother(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, hibernating)
	const g = 1000
	c.launch(g, 0, 1, 2)
	c.quiet()
	l := c.leader(g)
	require.NoError(t, l.Stop(c.ctx(), g))
	require.NotEqual(t, l, c.leader(g))
}

// A leader asleep hands its group over.
func TestASleepingLeaderHandsOff(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, hibernating)
	const g = 1000
	c.launch(g, 0, 1, 2)
	c.quiet()
	l := c.leader(g)
	require.NoError(t, l.HandOff(c.ctx()))
	c.propose(g, "a")
}

// A host dies, comes back, and meets groups that sleep.
func TestSleepersSurviveAHostsDeath(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, unhurried)
	var groups []ids.Group
	for g := ids.Group(1000); g < 1010; g++ {
		c.start(g, 0, 1, 2)
		c.open(g)
		groups = append(groups, g)
	}
	c.quiet()
	victim := c.leader(groups[0])
	victim.crash()
	for _, g := range groups {
		require.NotEqual(t, victim, c.leader(g))
	}
	c.quiet()
	victim.boot()
	for _, g := range groups {
		require.NoError(t, victim.Start(c.ctx(), spec(g, c.indexOf(victim))))
	}
	for _, g := range groups {
		c.awaitLeaderKnown(victim, g)
		c.propose(g, "a")
	}
}

// awaitLeaderKnown waits until a node knows who leads, without asking.
func (c *cluster) awaitLeaderKnown(n *node, g ids.Group) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		s, ok := n.Status(g)
		return ok && s.Ready && s.Leader != 0
	}, testTimeout, testTick, "group %d on %s", g, n.id)
}

// A new group does not wait for an election timeout until it has a leader, and a
// group that has one keeps it.
func TestANewGroupElectsAtOnce(t *testing.T) {
	c := newCluster(t, 3, hibernating, func(o *Options) { o.ElectionTicks = 5000 })
	const g = 1000
	began := time.Now()
	c.launch(g, 0, 1, 2)
	var l *node
	require.Eventually(t, func() bool { // two may stand at once: the later one wins
		l = c.leader(g)
		return !slices.ContainsFunc(c.nodes, func(n *node) bool {
			at, _ := n.Status(g)
			own, _ := l.Status(g)
			return at.Leader != own.Replica || at.Term != own.Term
		})
	}, testTimeout, testTick)
	require.Less(t, time.Since(began), 5000*testTick, "it waited for the timeout")
	s, _ := l.Status(g)
	for _, n := range c.nodes {
		sleepers{n.Host}.Act(hibernate.Stand, []ids.Group{g})
	}
	_, err := l.Propose(c.ctx(), g, []byte("a"))
	require.NoError(t, err)
	now, _ := l.Status(g)
	require.Equal(t, s.Term, now.Term, "it was deposed")
}
