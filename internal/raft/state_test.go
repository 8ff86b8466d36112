package raft

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// Two of three hosts are gone: what the third has lives again in another group.
func TestAGroupLivesAgainFromItsLastReplica(t *testing.T) {
	c := newCluster(t, 3)
	c.launch(1000, 0, 1, 2)
	for i := range 10 {
		c.propose(1000, fmt.Sprint("write ", i))
	}
	last := c.nodes[2]
	last.catchUp(1000)
	c.nodes[0].crash()
	c.nodes[1].crash()

	facts, ok := last.Facts(c.ctx(), 1000)
	require.True(t, ok)
	require.EqualValues(t, 10, facts.Commands)
	require.True(t, facts.Opened)
	var kept State
	var state bytes.Buffer
	keep := func(s State) error {
		kept = s
		_, err := s.View.WriteTo(&state)
		return err
	}
	full := errors.New("disk full")
	require.ErrorIs(t, last.Retire(c.ctx(), 1000, func(State) error { return full }), full)
	_, runs := last.Status(1000)
	require.False(t, runs)
	require.NoError(t, last.Start(c.ctx(), Replica{Group: 1000, ID: replicaID(1000, 2), Name: spec(1000, 2).Name, Restart: true, Banned: true}), "it may be tried again")
	// It is ready before it has applied what its log has, the opening among it.
	require.Eventually(t, func() bool {
		s, _ := last.Status(1000)
		return s.Ready && s.Opened && s.Sealed
	}, testTimeout, testTick)
	_, err := last.Propose(c.ctx(), 1000, []byte("late"))
	require.True(t, fault.Is(err, fault.Sealed), "%v", err)
	_, err = last.Read(c.ctx(), 1000, []byte("late"))
	require.True(t, fault.Is(err, fault.Sealed), "%v", err)
	require.NoError(t, last.Retire(c.ctx(), 1000, keep))
	require.Equal(t, facts.Commands, kept.Commands)
	require.Equal(t, spec(1000, 2).Name, kept.Name)
	_, ok = last.Facts(c.ctx(), 1000)
	require.False(t, ok)
	require.True(t, fault.Is(last.Retire(c.ctx(), 1000, keep), fault.GroupNotFound))

	one := Replica{Group: 2000, ID: 77, Name: spec(2000, 2).Name, Members: map[ids.Replica]ids.Host{77: last.opts.Host}}
	require.NoError(t, last.Start(c.ctx(), one))
	require.Eventually(t, func() bool { s, _ := last.Status(2000); return s.Serving }, testTimeout, testTick)
	require.NoError(t, last.LoadGroup(c.ctx(), 2000, &state))
	_, err = last.State(c.ctx(), 2000)
	require.True(t, fault.Is(err, fault.NotOpen), "%v", err)
	require.NoError(t, last.OpenLoaded(c.ctx(), 2000, Loaded{Version: 1, Generation: 9, First: []byte("first")}))
	require.Equal(t, "1", last.read(2000, "write 9"))
	require.Equal(t, "9", last.read(2000, "recovered"))
	require.Equal(t, "1", last.read(2000, "first"))
	require.NoError(t, last.OpenLoaded(c.ctx(), 2000, Loaded{Version: 1, Generation: 9, First: []byte("first")}))
	require.Equal(t, "1", last.read(2000, "first"), "an open group is left as it is")
	require.Equal(t, map[ids.Replica]ids.Host{77: last.opts.Host}, last.Voters(2000))
}

// A state is as new as the call, on any replica, and may be read while the group goes on.
func TestStateHasWhatWasAcknowledged(t *testing.T) {
	c := newCluster(t, 3)
	c.launch(1000, 0, 1, 2)
	for i := range 20 {
		c.propose(1000, fmt.Sprint(i))
		var s State
		require.NoError(t, c.ask(1000, func(*node) (err error) { s, err = c.follower(1000).State(c.ctx(), 1000); return err }))
		require.GreaterOrEqual(t, s.Commands, uint64(i+1))
		s.View.Close()
	}
	require.NoError(t, c.ask(1000, func(l *node) error { return l.SealGroup(c.ctx(), 1000) }))
	err := c.ask(1000, func(l *node) error { _, err := l.State(c.ctx(), 1000); return err })
	require.True(t, fault.Is(err, fault.Sealed), "%v", err)
}
