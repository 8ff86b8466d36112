package raft

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/engine"
	"github.com/drumline/drumline/statemachines"
)

// inSession proposes until the session has an answer, wherever the leader is.
func (c *cluster) inSession(s Session, text string) statemachines.Result {
	c.t.Helper()
	var res statemachines.Result
	require.Eventually(c.t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var err error
		res, err = c.leader(s.Group).ProposeSession(ctx, s, []byte(text))
		if err != nil && !fault.Is(err, fault.UnknownOutcome) && !fault.Is(err, fault.NotLeader) && !fault.Is(err, fault.Deadline) {
			require.NoError(c.t, err)
		}
		return err == nil
	}, testTimeout, testTick)
	return res
}

func (c *cluster) openSession(g ids.Group) Session {
	c.t.Helper()
	var s Session
	require.Eventually(c.t, func() bool {
		var err error
		s, err = c.leader(g).OpenSession(c.ctx(), g)
		return err == nil
	}, testTimeout, testTick)
	return s
}

// Whatever is repeated in a session, through leader changes, restarts and
// snapshots, is applied once and answered alike.
func TestSessionIsExactlyOnceAcrossLeaderChanges(t *testing.T) {
	c := newCluster(t, 3, func(o *Options) { o.SnapshotEntries = 10 })
	const g = 1000
	c.launch(g, 0, 1, 2)
	s := c.openSession(g)
	for round := range 3 {
		text := fmt.Sprintf("s%d", round)
		first := c.inSession(s, text)
		require.Equal(t, first, c.inSession(s, text), "repeated at the same leader")
		l := c.leader(g)
		l.crash()
		require.Equal(t, first, c.inSession(s, text), "repeated at the next leader")
		l.boot()
		require.NoError(t, l.Start(c.ctx(), spec(g, c.indexOf(l))))
		for i := range 20 {
			c.propose(g, fmt.Sprintf("filler-%d-%d", round, i))
		}
		require.Equal(t, first, c.inSession(s, text), "repeated after snapshots")
		require.Equal(t, "1", c.follower(g).read(g, text))
		s.RespondedTo, s.Series = s.Series, s.Series+1
	}
	end := func(l *node) error { return l.CloseSession(c.ctx(), s) }
	require.NoError(t, c.ask(g, end))
	require.NoError(t, c.ask(g, end), "gone is what is wanted")
	err := c.ask(g, func(l *node) error { _, err := l.ProposeSession(c.ctx(), s, []byte("late")); return err })
	require.True(t, fault.Is(err, fault.SessionGone), "%v", err)
	c.requireSameSnapshots(g)
}

// dragonboat keeps 4,096 sessions; the next evicts the least recently used.
func TestSessionEvictionIsTold(t *testing.T) {
	c := newCluster(t, 1)
	const g = 1000
	l := c.launch(g, 0)
	first, err := l.OpenSession(c.ctx(), g)
	require.NoError(t, err)
	open := make(chan error)
	const at = 16
	for range at {
		go func() {
			var err error
			for range engine.Sessions/at + 1 {
				if _, e := l.OpenSession(c.ctx(), g); e != nil {
					err = e
				}
			}
			open <- err
		}()
	}
	for range at {
		require.NoError(t, <-open)
	}
	_, err = l.ProposeSession(c.ctx(), first, []byte("x"))
	require.True(t, fault.Is(err, fault.SessionGone), "%v", err)
	require.Equal(t, "0", l.read(g, "x"))
}

func TestSessionRefuses(t *testing.T) {
	c := newCluster(t, 2)
	const g = 1000
	c.start(g, 0, 1)
	openSession := func(n *node) error { _, err := n.OpenSession(c.ctx(), g); return err }
	propose := func(s Session, cmd []byte) error {
		return c.ask(g, func(l *node) error { _, err := l.ProposeSession(c.ctx(), s, cmd); return err })
	}
	err := c.ask(g, openSession)
	require.True(t, fault.Is(err, fault.NotOpen), "%v", err)
	c.open(g)
	c.follows(g, openSession)
	for name, s := range map[string]Session{
		"no client":        {Group: g, Series: 1},
		"no series":        {Group: g, Client: 7},
		"register":         {Group: g, Client: 7, Series: 1<<64 - 2},
		"unregister":       {Group: g, Client: 7, Series: 1<<64 - 1},
		"answered already": {Group: g, Client: 7, Series: 3, RespondedTo: 3},
	} {
		err := propose(s, []byte("x"))
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
		err = c.ask(g, func(l *node) error { return l.CloseSession(c.ctx(), s) })
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
	}
	err = propose(Session{Group: g, Client: 7, Series: 1}, []byte("x"))
	require.True(t, fault.Is(err, fault.SessionGone), "%v", err)
	err = propose(Session{Group: g, Client: 7, Series: 1}, make([]byte, MaxCommand+1))
	require.True(t, fault.Is(err, fault.TooLarge), "%v", err)
	require.NoError(t, c.ask(g, func(l *node) error { return l.SealGroup(c.ctx(), g) }))
	err = c.ask(g, openSession)
	require.True(t, fault.Is(err, fault.Sealed), "%v", err)
}
