package raft

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// napping makes hosts that unload what is idle as soon as they may.
func napping(o *Options) { o.UnloadAfter = 2 * o.withElection().electionTimeout() }

func (o Options) withElection() Options {
	o.ElectionTicks = max(o.ElectionTicks, defaultElectionTicks)
	return o
}

// unloaded tells whether a node has a group's replica, unloaded.
func (n *node) unloaded(g ids.Group) bool {
	s, ok := n.Status(g)
	return ok && s.Unloaded
}

// asleep waits until the group is unloaded on those nodes.
func (c *cluster) asleep(g ids.Group, on ...int) {
	c.t.Helper()
	for _, i := range on {
		n := c.nodes[i]
		require.Eventually(c.t, func() bool { return n.unloaded(g) }, testTimeout, testTick, "group %d on %s is not unloaded", g, n.id)
	}
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
		require.True(t, n.saw(EventUnloaded, g))
		require.False(t, n.saw(EventStopped, g), "to be unloaded is not to be stopped")
		require.Empty(t, n.all())
	}
	begun := time.Now()
	c.someoneProposes(g, "b", 1, 0, 2)
	t.Logf("the first command took %s", time.Since(begun))
	require.True(t, c.nodes[1].saw(EventLoaded, g))
	for _, n := range c.nodes {
		require.Equal(t, "1", n.read(g, "a"))
		require.Equal(t, "1", n.read(g, "b"))
	}
	c.asleep(g, 0, 1, 2)
	require.Equal(t, "1", c.nodes[2].read(g, "b"), "a read wakes the group, too")
}

func TestGroupOfOneComesBack(t *testing.T) {
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

// All kinds of call, at once, on all hosts, of a group that sleeps: none fails for it.
func TestEveryCallLoads(t *testing.T) {
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
	g := ids.Group(1000)
	for name, call := range calls {
		c.launch(g, 0, 1, 2)
		c.asleep(g, 0, 1, 2)
		var wg sync.WaitGroup
		for _, n := range c.nodes {
			wg.Go(func() {
				err := call(c.ctx(), n.Host, g)
				if err != nil && !fault.Is(err, fault.NotLeader) && !fault.Is(err, fault.NoQuorum) && !fault.Is(err, fault.Invalid) {
					t.Errorf("%s on %s: %v", name, n.id, err)
				}
			})
		}
		wg.Wait()
		g++
	}
}
