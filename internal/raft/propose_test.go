package raft

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	sm "github.com/lni/dragonboat/v3/statemachine"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/coalesce"
	"github.com/drumline/drumline/internal/raft/ledger"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/internal/raft/tempo"
	"github.com/drumline/drumline/statemachines"
)

func TestLifeOfAGroup(t *testing.T) {
	c := newCluster(t, 3)
	const g = 1000
	c.start(g, 0, 1, 2)
	propose := func(n *node) error { _, err := n.Propose(c.ctx(), g, []byte("a")); return err }
	read := func(n *node) error { _, err := n.Read(c.ctx(), g, []byte("a")); return err }
	open := func(version uint32) func(*node) error {
		return func(n *node) error { return n.OpenGroup(c.ctx(), g, version) }
	}
	raise := func(version uint32) func(*node) error {
		return func(n *node) error { return n.RaiseVersion(c.ctx(), g, version) }
	}
	seal := func(n *node) error { return n.SealGroup(c.ctx(), g) }
	refused := func(err error, reason fault.Reason) {
		t.Helper()
		require.True(t, fault.Is(err, reason), "%v", err)
	}
	refused(c.ask(g, propose), fault.NotOpen)
	refused(c.ask(g, read), fault.NotOpen)
	c.leader(g).catchUp(g) // is possible whatever the life
	refused(c.ask(g, raise(2)), fault.NotOpen)
	refused(c.ask(g, open(99)), fault.Invalid)

	require.NoError(t, c.ask(g, open(1)))
	require.NoError(t, c.ask(g, open(1)), "idempotent")
	c.follows(g, open(1))
	c.propose(g, "a")
	require.NoError(t, c.ask(g, raise(2)))
	require.NoError(t, c.ask(g, raise(1)), "a lower one changes nothing")
	c.propose(g, "b")
	lines := c.lines(g)
	require.Equal(t, []uint32{1, 2}, []uint32{lines[0].Version, lines[1].Version})
	c.requireStatusOfLeader(g)

	require.NoError(t, c.ask(g, seal))
	require.NoError(t, c.ask(g, seal), "idempotent")
	refused(c.ask(g, propose), fault.Sealed)
	refused(c.ask(g, func(*node) error { return read(c.follower(g)) }), fault.Sealed)
	refused(c.ask(g, open(1)), fault.Sealed)
	for _, n := range c.nodes {
		n.catchUp(g)
		require.Eventually(t, func() bool { return n.saw(EventReady, g) && n.saw(EventLife, g) && n.saw(EventLeader, g) }, testTimeout, testTick)
	}
	c.requireSameSnapshots(g)
}

// requireStatusOfLeader looks at all that a leader's status says, until it is so: it
// follows what dragonboat knows a moment later.
func (c *cluster) requireStatusOfLeader(g ids.Group) {
	c.t.Helper()
	var s, want Status
	defer func() {
		if s != want {
			c.t.Logf("it is %+v, want %+v", s, want)
		}
	}()
	require.Eventually(c.t, func() bool {
		l := c.leader(g)
		s, _ = l.Status(g)
		want = Status{
			Group: g, Replica: s.Replica, Name: "ledger/1000", Ready: true, Leader: s.Replica, LeaderHost: l.id,
			Term: s.Term, Leading: true, Serving: true, ConfigChange: 3, Applied: s.Applied, Opened: true, Version: 2,
		}
		return s == want
	}, testTimeout, testTick)
}

// lines are what the group has, as whoever leads knows it.
func (c *cluster) lines(g ids.Group) (lines []ledger.Line) {
	c.t.Helper()
	require.NoError(c.t, c.ask(g, func(l *node) error {
		v, err := l.View(c.ctx(), g)
		if err == nil {
			lines = v.([]ledger.Line)
		}
		return err
	}))
	return lines
}

func TestLoadGroup(t *testing.T) {
	c := newCluster(t, 3)
	c.launch(1000, 0, 1, 2)
	big := bytes.Repeat([]byte("x"), loadChunkSize)
	for i := range 3 {
		c.propose(1000, fmt.Sprint(i, string(big)))
	}
	c.propose(1000, "a")
	var state bytes.Buffer
	_, err := (&ledger.Ledger{Lines: c.lines(1000)}).Snapshot().WriteTo(&state)
	require.NoError(t, err)

	c.start(2000, 0, 1, 2)
	load := func(state []byte) error {
		return c.ask(2000, func(l *node) error { return l.LoadGroup(c.ctx(), 2000, bytes.NewReader(state)) })
	}
	require.NoError(t, load(state.Bytes()), "and once more, from the start")
	require.NoError(t, load(state.Bytes()))
	require.True(t, fault.Is(load([]byte("no state")), fault.Conflict))
	require.NoError(t, load(state.Bytes()))
	require.NoError(t, c.ask(2000, func(l *node) error { return l.OpenLoaded(c.ctx(), 2000, Loaded{Version: 1, Generation: 7}) }))
	require.Equal(t, "1", c.follower(2000).read(2000, "a"))
	require.Equal(t, "7", c.follower(2000).read(2000, "recovered"))
	require.Equal(t, "0", c.follower(1000).read(1000, "recovered"))
	require.True(t, fault.Is(load(state.Bytes()), fault.Conflict), "an open group takes none")
	c.requireSameSnapshots(2000)
}

// Many callers share few entries, and each gets the answer to its own command.
func TestCoalescing(t *testing.T) {
	c := newCluster(t, 3, calm)
	const g = 1000
	l := c.launchCalm(g, 0, 1, 2)
	before, _ := l.Status(g)
	const callers, each = 200, 20
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for k := range each {
				text := fmt.Sprintf("c%d-%d", i, k)
				res, err := l.Propose(c.ctx(), g, []byte(text))
				if err != nil || string(res.Data) != "did "+text {
					t.Errorf("%s: %q, %v", text, res.Data, err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, fmt.Sprint(callers*each), l.read(g, "count"))
	after, _ := l.Status(g)
	entries := after.Applied - before.Applied
	t.Logf("%d commands in %d entries", callers*each, entries)
	require.Less(t, entries, uint64(callers*each/4), "commands were not coalesced")
	c.requireSameSnapshots(g)
}

func TestProposeRefuses(t *testing.T) {
	c := newCluster(t, 1)
	const g = 1000
	l := c.launch(g, 0)
	_, err := l.Propose(c.ctx(), g, make([]byte, MaxCommand+1))
	require.True(t, fault.Is(err, fault.TooLarge), "%v", err)
	res, err := l.Propose(c.ctx(), g, make([]byte, MaxCommand))
	require.NoError(t, err, "a command at the limit goes through")
	require.Equal(t, uint64(1), res.Value)
	res, err = l.Propose(c.ctx(), g, nil)
	require.NoError(t, err, "an empty command is the Machine's business")
	require.Equal(t, uint64(2), res.Value)
	_, err = l.Propose(c.ctx(), 4711, []byte("x"))
	require.True(t, fault.Is(err, fault.GroupNotFound), "%v", err)
	_, err = l.Read(c.ctx(), g, make([]byte, MaxCommand+1))
	require.True(t, fault.Is(err, fault.TooLarge), "%v", err)
	_, err = l.Read(c.ctx(), g, nil)
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	done, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = l.Read(done, g, []byte("x"))
	require.True(t, fault.Is(err, fault.Deadline), "%v", err)
}

// A deadline of less than two ticks is enough when the group is quick.
func TestShortDeadline(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) { o.Tick = 100 * time.Millisecond; o.ElectionTicks = 3 })
	const g = 1000
	l := c.launch(g, 0)
	// A busy machine is not quick at once.
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Millisecond)
		defer cancel()
		if _, err := l.Propose(ctx, g, []byte("x")); err != nil {
			return false
		}
		_, err := l.Read(ctx, g, []byte("x"))
		return err == nil
	}, testTimeout, testTick)
}

// testReplica is a replica without a NodeHost, of a group that is open.
func testReplica(t *testing.T) *replica {
	t.Helper()
	r := newReplica(&Host{opts: Options{Tick: testTick, Host: "h"}, events: newEvents(), pump: newPump(testTick)}, Replica{Group: 1000, ID: 7, Name: "ledger/x"})
	r.machine = machine.New(ledger.App(1), statemachines.Group{ID: 1000, Name: "ledger/x"}, r)
	log := []*machine.Entry{{Kind: machine.KindLead, Term: 1}, {Kind: machine.KindOpen, Term: 1, Lead: 1, Serial: 1, Version: 1}}
	for i, e := range log {
		_, err := r.machine.Update([]sm.Entry{{Index: uint64(i + 1), Cmd: e.Encode()}})
		require.NoError(t, err)
	}
	require.Equal(t, machine.CodeOK, r.machine.Obeys())
	return r
}

// What waits in a replica that is not serving yet is bounded; a caller that leaves
// before its turn is told that nothing was applied, and nothing is.
func TestWaitingIsBoundedAndLeavable(t *testing.T) {
	r := testReplica(t)
	r.leaderUpdated(7, 1) // leads, but its Lead machine.Entry is not applied

	done, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := r.propose(done, []byte("left"))
	require.True(t, fault.Is(err, fault.Deadline), "%v", err)
	require.Nil(t, r.queue.Take(), "nobody is left who wants it")

	big := make([]byte, coalesce.MaxWaitingBytes/2-64)
	for range 2 {
		_, err = r.propose(done, big)
		require.True(t, fault.Is(err, fault.Deadline), "%v", err)
	}
	_, err = r.propose(done, make([]byte, 128))
	require.True(t, fault.Is(err, fault.Busy), "%v", err)
	require.True(t, fault.Is(r.control(done, &machine.Entry{Kind: machine.KindLoad, Load: machine.Chunk{Data: big}}), fault.Busy))
	r.halt()
	_, err = r.propose(done, []byte("x"))
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
}

// What the log says of a batch reaches its callers; what it refused for its term is
// proposed again without those who have left.
func TestFlights(t *testing.T) {
	newLeader := func() *replica {
		r := testReplica(t)
		r.leaderUpdated(7, 1)
		r.Began(1, 1, 0)
		return r
	}
	seal := func(r *replica) (*flight, *coalesce.Batch, machine.Entry) {
		var e machine.Entry
		f, b := r.seal(&e)
		return f, b, e
	}
	sealOne := func(r *replica) (*coalesce.Batch, *flight) {
		r.mu.Lock()
		b, first, n := r.queue.AddMany([][]byte{[]byte("a"), []byte("b")})
		r.mu.Unlock()
		require.Equal(t, []int{0, 2}, []int{first, n})
		f, sealed, _ := seal(r)
		require.Equal(t, b, sealed)
		return b, f
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()

	t.Run("a newer leadership of ours", func(t *testing.T) {
		r := newLeader()
		b, f := sealOne(r)
		require.True(t, fault.Is(r.await(gone, b, 0, 1), fault.UnknownOutcome))
		r.leaderUpdated(7, 2)
		r.Began(2, 9, 0)
		require.True(t, f.settled())
		again, _, e := seal(r)
		require.Equal(t, machine.AppendCommand(nil, []byte("b")), e.Packed, "a's caller has gone")
		require.Equal(t, uint64(9), again.lead)
		r.Applied(1, f.serial, machine.CodeOK, nil) // the old machine.Entry, if it came through, is nobody's
		r.Applied(9, again.serial, machine.CodeRetry, nil)
		last, _, _ := seal(r)
		r.Applied(9, last.serial, machine.CodeSealed, nil)
		<-b.Done()
		require.True(t, fault.Is(b.Err(), fault.Sealed))
	})
	t.Run("a newer leadership of another", func(t *testing.T) {
		r := newLeader()
		b, _ := sealOne(r)
		r.leaderUpdated(8, 2)
		select {
		case <-b.Done():
			require.Fail(t, "its outcome is not known yet")
		default:
		}
		r.Began(2, 9, 0)
		<-b.Done()
		require.True(t, fault.Is(b.Err(), fault.NotLeader), "%v", b.Err())
	})
	t.Run("a snapshot instead of the log", func(t *testing.T) {
		r := newLeader()
		b, _ := sealOne(r)
		r.Restored()
		<-b.Done()
		require.True(t, fault.Is(b.Err(), fault.UnknownOutcome), "%v", b.Err())
	})
	t.Run("an interruption", func(t *testing.T) {
		r := newLeader()
		_, f := sealOne(r)
		r.Interrupted()
		require.False(t, r.status().Serving)
		r.Applied(1, f.serial, machine.CodeRetry, nil)
		none, _, _ := seal(r)
		require.Nil(t, none, "nothing is sealed without a clock")
		r.Began(1, 20, 5)
		again, b, _ := seal(r)
		require.NotNil(t, again)
		require.Equal(t, 2, b.Len())
	})
	t.Run("order", func(t *testing.T) {
		r := newLeader()
		var in []*coalesce.Batch
		for range 3 {
			r.tempo = tempo.Tempo{} // as if the last went long ago
			b, _ := sealOne(r)
			in = append(in, b)
		}
		r.leaderUpdated(7, 2)
		r.Began(2, 9, 0)
		for _, want := range in {
			r.tempo = tempo.Tempo{}
			_, b, _ := seal(r)
			require.Equal(t, want, b, "what was bounced goes again in its order")
		}
	})
}

func TestStatusesAreCheapAndComplete(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	for g := ids.Group(1000); g < 1020; g++ {
		c.launch(g, 0)
	}
	require.Len(t, c.nodes[0].Statuses(), 20)
	_, ok := c.nodes[0].Status(1)
	require.False(t, ok)
}

// Statuses lists the Status of every replica that runs here, in no order.
func (h *Host) Statuses() []Status {
	rs := h.all()
	out := make([]Status, len(rs))
	for i, r := range rs {
		out[i] = r.status()
	}
	return out
}
