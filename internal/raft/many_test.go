package raft

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/coalesce"
	"github.com/drumline/drumline/internal/raft/ledger"
	"github.com/drumline/drumline/internal/raft/machine"
)

func texts(n int) (cmds [][]byte) {
	for i := range n {
		cmds = append(cmds, fmt.Appendf(nil, "m%d", i))
	}
	return cmds
}

func TestProposeManyKeepsOrderAndGivesEachItsResult(t *testing.T) {
	c := newCluster(t, 3, calm)
	const g = 1000
	l := c.launchCalm(g, 0, 1, 2)
	const n = 2*coalesce.MaxCommands + 100
	out := l.ProposeMany(c.ctx(), g, texts(n))
	require.Len(t, out, n)
	for i, o := range out {
		require.NoError(t, o.Err)
		require.Equal(t, fmt.Sprintf("did m%d", i), string(o.Result.Data))
	}
	v, err := l.View(c.ctx(), g)
	require.NoError(t, err)
	for i, line := range v.([]ledger.Line) {
		require.Equal(t, fmt.Sprintf("m%d", i), line.Text)
	}
	require.Empty(t, l.ProposeMany(c.ctx(), g, nil))
}

func TestProposeManyRefuses(t *testing.T) {
	c := newCluster(t, 3, calm)
	const g = 1000
	l := c.launchCalm(g, 0, 1, 2)
	large := make([]byte, MaxCommand+1)
	out := l.ProposeMany(c.ctx(), g, [][]byte{[]byte("a"), large, []byte("b"), large})
	require.Equal(t, "did a", string(out[0].Result.Data))
	require.Equal(t, "did b", string(out[2].Result.Data))
	for _, i := range []int{1, 3} {
		require.True(t, fault.Is(out[i].Err, fault.TooLarge), "%v", out[i].Err)
	}
	for _, o := range l.ProposeMany(c.ctx(), 4711, texts(2)) {
		require.True(t, fault.Is(o.Err, fault.GroupNotFound), "%v", o.Err)
	}
	out = c.follower(g).ProposeMany(c.ctx(), g, [][]byte{[]byte("a"), large})
	require.True(t, fault.Is(out[0].Err, fault.NotLeader), "%v", out[0].Err)
	require.True(t, fault.Is(out[1].Err, fault.TooLarge), "%v", out[1].Err)
}

// Whoever could set a group's configuration could keep it from ever following another.
func TestClientsMayNotProposeWhatHostsOwn(t *testing.T) {
	c := newCluster(t, 1)
	const g = 1000
	l := c.launch(g, 0)
	own := []byte(ledger.Own + "x")
	_, err := l.Propose(c.ctx(), g, own)
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	out := l.ProposeMany(c.ctx(), g, [][]byte{[]byte("a"), own, []byte("b")})
	require.Equal(t, "did a", string(out[0].Result.Data))
	require.True(t, fault.Is(out[1].Err, fault.Invalid), "%v", out[1].Err)
	require.Equal(t, "did b", string(out[2].Result.Data))
	s, err := l.OpenSession(c.ctx(), g)
	require.NoError(t, err)
	_, err = l.ProposeSession(c.ctx(), s, own)
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	res, err := l.ProposeOwn(c.ctx(), g, own)
	require.NoError(t, err)
	require.EqualValues(t, 3, res.Value, "two before it")
}

// What an entry could not do, the entries after it do not try.
func TestProposeManyStopsAtTheFirstFailure(t *testing.T) {
	r := testReplica(t)
	r.leaderUpdated(7, 1)
	r.Began(1, 1, 0)
	r.host.replicas = map[ids.Group]*replica{1000: r}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan []Outcome)
	go func() { done <- r.host.ProposeMany(ctx, 1000, texts(coalesce.MaxCommands+1)) }()
	require.Eventually(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.queue.Len() > 0 }, testTimeout, testTick)
	f, _ := r.seal(&machine.Entry{})
	require.NotNil(t, f)
	cancel()
	out := <-done
	require.True(t, fault.Is(out[0].Err, fault.UnknownOutcome), "%v", out[0].Err)
	require.True(t, fault.Is(out[coalesce.MaxCommands-1].Err, fault.UnknownOutcome))
	require.True(t, fault.Is(out[coalesce.MaxCommands].Err, fault.Deadline), "%v", out[coalesce.MaxCommands].Err)
	require.Zero(t, r.queue.Len())
}
