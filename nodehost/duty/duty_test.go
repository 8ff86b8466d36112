package duty

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// groups is what raft says, set by tests.
type groups struct {
	mu sync.Mutex
	m  map[ids.Group]raft.Status
}

func (g *groups) Status(id ids.Group) (raft.Status, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.m[id]
	return s, ok
}

func (g *groups) set(s raft.Status) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.m[s.Group] = s
}

// bench is a Roster with one task whose runs the test steers.
type bench struct {
	*Roster
	groups *groups
	// ran gets the group of each run, which then waits for its end.
	ran chan ids.Group
	end chan error
}

func newBench(t *testing.T, workers int) *bench {
	b := &bench{groups: &groups{m: map[ids.Group]raft.Status{}}, ran: make(chan ids.Group, 100), end: make(chan error)}
	task := Task{Name: "test", After: []raft.EventKind{raft.EventMembership}, Run: func(ctx context.Context, s raft.Status) error {
		b.ran <- s.Group
		select {
		case err := <-b.end:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	b.Roster = New(Options{Raft: b.groups, Workers: workers, PauseLeast: time.Millisecond, PauseMost: 4 * time.Millisecond}, task)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		require.Zero(t, b.Leads())
	})
	return b
}

func (b *bench) serve(g ids.Group, term uint64) {
	b.groups.set(raft.Status{Group: g, Term: term, Serving: term != 0})
	b.Observe(raft.Event{Kind: raft.EventServing, Group: g})
}

func TestATaskRunsWhileItsHostLeads(t *testing.T) {
	b := newBench(t, 2)
	b.serve(7, 0)
	b.Observe(raft.Event{Kind: raft.EventMembership, Group: 7})
	require.Zero(t, b.Leads())
	b.serve(7, 3)
	require.Equal(t, ids.Group(7), <-b.ran)
	require.Equal(t, 1, b.Leads())
	b.end <- nil

	b.Observe(raft.Event{Kind: raft.EventLeader, Group: 7}) // not one that it wants
	b.Observe(raft.Event{Kind: raft.EventMembership, Group: 7})
	require.Equal(t, ids.Group(7), <-b.ran)
	b.serve(7, 0) // ends the run as well
	require.Zero(t, b.Leads())
	b.Observe(raft.Event{Kind: raft.EventMembership, Group: 7})
	b.serve(8, 1)
	require.Equal(t, ids.Group(8), <-b.ran, "nothing more ran for 7")
}

func TestATaskIsRunAgainForAllGroups(t *testing.T) {
	b := newBench(t, 2)
	b.serve(7, 3)
	b.serve(8, 3)
	for range 2 {
		<-b.ran
		b.end <- nil
	}
	b.Again("another")
	b.Again("test")
	again := []ids.Group{<-b.ran, <-b.ran}
	require.ElementsMatch(t, []ids.Group{7, 8}, again)
	b.Again("test") // while they run
	b.end <- nil
	b.end <- nil
	require.ElementsMatch(t, []ids.Group{7, 8}, []ids.Group{<-b.ran, <-b.ran})
}

func TestEventsDuringARunMakeOneMore(t *testing.T) {
	b := newBench(t, 4)
	b.serve(7, 3)
	<-b.ran
	for range 5 {
		b.Observe(raft.Event{Kind: raft.EventMembership, Group: 7})
	}
	b.end <- nil
	<-b.ran
	b.end <- nil
	b.serve(8, 1)
	require.Equal(t, ids.Group(8), <-b.ran)
}

func TestAnErrorIsTriedAgain(t *testing.T) {
	b := newBench(t, 1)
	b.serve(7, 3)
	for range 5 {
		<-b.ran
		b.end <- errors.New("no quorum")
	}
	<-b.ran
	b.end <- nil
}

func TestANewTermBeginsAnew(t *testing.T) {
	b := newBench(t, 2)
	b.serve(7, 3)
	<-b.ran
	b.serve(7, 5)
	require.Equal(t, ids.Group(7), <-b.ran, "the run of the old term was ended, one of the new began")
	b.end <- nil
}

func TestManyGroupsShareFewWorkers(t *testing.T) {
	b := newBench(t, 2)
	for g := range ids.Group(50) {
		b.serve(g+1, 1)
	}
	seen := map[ids.Group]bool{}
	for range 50 {
		seen[<-b.ran] = true
		require.LessOrEqual(t, len(b.ran), 2)
		b.end <- nil
	}
	require.Len(t, seen, 50)
}

func TestMembershipIsReadAndTold(t *testing.T) {
	want := raft.Membership{ConfigChange: 9, Voters: map[ids.Replica]ids.Host{1: "a"}}
	var told raft.Membership
	fail := errors.New("no quorum")
	task := Membership(
		func(_ context.Context, g ids.Group) (raft.Membership, error) {
			require.Equal(t, ids.Group(7), g)
			return want, fail
		},
		func(_ raft.Status, m raft.Membership) { told = m },
	)
	require.ErrorIs(t, task.Run(t.Context(), raft.Status{Group: 7}), fail)
	require.Zero(t, told)
	fail = nil
	require.NoError(t, task.Run(t.Context(), raft.Status{Group: 7}))
	require.Equal(t, want, told)
}

// TestWhatIsServedLastsAsLongAsTheLeadership: no worker waits for it, and no timeout ends it.
func TestWhatIsServedLastsAsLongAsTheLeadership(t *testing.T) {
	groups := &groups{m: map[ids.Group]raft.Status{}}
	began, ended := make(chan uint64), make(chan uint64)
	r := New(Options{Raft: groups, Workers: 1, Timeout: time.Nanosecond, PauseLeast: time.Microsecond, PauseMost: time.Microsecond}, Task{
		Name:  "serve",
		After: []raft.EventKind{raft.EventLife},
		Serve: func(ctx context.Context, s raft.Status) error {
			began <- s.Term
			if !s.Opened {
				return nil
			}
			<-ctx.Done()
			ended <- s.Term
			return ctx.Err()
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	serve := func(s raft.Status, kind raft.EventKind) {
		groups.set(s)
		r.Observe(raft.Event{Kind: kind, Group: s.Group})
	}

	serve(raft.Status{Group: 7, Term: 1, Serving: true}, raft.EventServing)
	require.Equal(t, uint64(1), <-began, "it is not opened, and it returns")
	serve(raft.Status{Group: 7, Term: 1, Serving: true, Opened: true}, raft.EventLife)
	require.Equal(t, uint64(1), <-began)
	serve(raft.Status{Group: 8, Term: 2, Serving: true, Opened: true}, raft.EventServing)
	require.Equal(t, uint64(2), <-began, "the one worker did not wait for group 7")
	serve(raft.Status{Group: 7, Term: 1}, raft.EventServing)
	require.Equal(t, uint64(1), <-ended)
	cancel()
	require.Equal(t, uint64(2), <-ended)
	<-done
}
