package follow_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

// What changed while a group was unloaded holds for the first command that loads it.
func TestTheFirstCommandsOfALeadershipWait(t *testing.T) {
	f, book, follower := newFleet(t)
	require.NoError(t, book.Learn([]*fleetpb.Configuration{said(2, "a=two", "b=x")}))
	f.revision[7], f.options[7] = 1, "one"
	f.status[7] = raft.Status{Group: 7, Name: "board/a", Term: 3, Opened: true, Unloaded: true}
	follower.Await(t.Context(), 7)
	require.Equal(t, []string{"7? revision", "7? revision", "7: 2 two"}, f.did(), "loaded, read, and configured")
	require.Equal(t, "two", f.options[7])
	follower.Await(t.Context(), 7)
	require.NoError(t, leads(t, follower)(f.status[7]))
	follower.Await(t.Context(), 7)
	require.Empty(t, f.did(), "once in a leadership")
	require.NoError(t, book.Learn([]*fleetpb.Configuration{said(3, "a=three")}))
	follower.Await(t.Context(), 7)
	require.Empty(t, f.did(), "later revisions are the task's")
	s := f.status[7]
	s.Term++
	f.status[7] = s
	follower.Await(t.Context(), 7)
	require.Equal(t, []string{"7? revision", "7: 3 three"}, f.did(), "again in the next one")
}

func TestNothingWaitsForWhatDoesNotFollow(t *testing.T) {
	f, book, follower := newFleet(t)
	require.NoError(t, book.Learn([]*fleetpb.Configuration{said(2, "a=two")}))
	for g, s := range map[ids.Group]raft.Status{
		1: {Name: "kv/a", Serving: true, Opened: true}, 2: {Name: "board/other", Serving: true, Opened: true},
		3: {Name: "board/a", Opened: true}, 4: {Name: "board/a", Serving: true},
	} {
		s.Group, s.Term = g, 3
		f.status[g] = s
		follower.Await(t.Context(), g)
	}
	follower.Await(t.Context(), 99)
	require.Empty(t, f.did())
}

// Commands that come together wait for one look, and go on when it comes to nothing.
func TestCommandsThatWaitTogether(t *testing.T) {
	f, book, follower := newFleet(t)
	require.NoError(t, book.Learn([]*fleetpb.Configuration{said(2, "a=two")}))
	f.status[7] = raft.Status{Group: 7, Name: "board/a", Term: 3, Opened: true, Serving: true}
	f.stuck, f.entered = make(chan struct{}), make(chan struct{}, 1)
	var all sync.WaitGroup
	all.Go(func() { follower.Await(t.Context(), 7) })
	<-f.entered
	for range 20 {
		all.Go(func() { follower.Await(t.Context(), 7) })
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	follower.Await(gone, 7) // whose caller has gone waits for nobody
	close(f.stuck)
	all.Wait()
	require.Equal(t, "two", f.options[7])
	f.did()

	s := f.status[7]
	s.Term++
	f.status[7], f.fail = s, errors.New("no quorum")
	follower.Await(t.Context(), 7)
	require.Equal(t, []string{"7? revision"}, f.did())
	f.fail = nil
	follower.Await(t.Context(), 7)
	require.Equal(t, []string{"7? revision"}, f.did(), "tried again with the next command")
}
