package raft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/ledger"
	"github.com/drumline/drumline/internal/wait"
)

// Writers go on while the leader is killed and comes back, several times: what was
// acknowledged is applied exactly once, what was "not applied" never is, and the
// survivors serve.
func TestFailoverLosesNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	const g = 1000
	c.launch(g, 0, 1, 2)
	w := startWriters(c, g, 8)
	for round := range 3 {
		w.waitAcks(t, 200*(round+1))
		l := c.leader(g)
		l.crash()
		c.leader(g)
		w.waitAcks(t, 200*(round+1)+100)
		l.boot()
		require.NoError(t, l.Start(c.ctx(), spec(g, c.indexOf(l))))
		l.catchUp(g)
	}
	w.finish()
	for _, n := range c.nodes {
		n.catchUp(g)
		w.verify(t, n)
	}
	c.requireSameSnapshots(g)
}

func (c *cluster) indexOf(n *node) int {
	for i := range c.nodes {
		if c.nodes[i] == n {
			return i
		}
	}
	return -1
}

// requireSameSnapshots compares the snapshot bytes of all replicas of a group, once
// each has applied all. An election in between adds a Lead entry, so that it looks
// until all stand at the same index.
func (c *cluster) requireSameSnapshots(g ids.Group) {
	c.t.Helper()
	var all map[ids.Host][]byte
	require.Eventually(c.t, func() bool {
		all = make(map[ids.Host][]byte)
		at := make(map[uint64]bool)
		for _, n := range c.nodes {
			r, err := n.replica(g)
			if err != nil {
				continue
			}
			n.catchUp(g)
			before := r.machine.Index()
			f, err := r.machine.PrepareSnapshot()
			require.NoError(c.t, err)
			var b bytes.Buffer
			require.NoError(c.t, r.machine.SaveSnapshot(f, &b, nil, nil))
			all[n.id] = b.Bytes()
			at[before], at[r.machine.Index()] = true, true
		}
		return len(at) == 1
	}, testTimeout, testTick)
	var want []byte
	for host, got := range all {
		if want == nil {
			want = got
		}
		require.Equal(c.t, want, got, "snapshot of %s", host)
	}
}

// writers propose unique texts until told to finish and remember each one's outcome.
type writers struct {
	c      *cluster
	g      ids.Group
	cancel context.CancelFunc
	wg     sync.WaitGroup
	acked  atomic.Int64

	mu       sync.Mutex
	outcomes map[string]string // text → acked, refused, unknown
}

func startWriters(c *cluster, g ids.Group, n int) *writers {
	ctx, cancel := context.WithCancel(context.Background())
	w := &writers{c: c, g: g, cancel: cancel, outcomes: make(map[string]string)}
	for i := range n {
		w.wg.Add(1)
		go func() {
			defer w.wg.Done()
			for k := 0; ctx.Err() == nil; k++ {
				w.write(fmt.Sprintf("w%d-%d", i, k))
			}
		}()
	}
	c.t.Cleanup(w.finish)
	return w
}

func (w *writers) write(text string) {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	for _, n := range w.c.nodes {
		h := n.live.Load()
		_, err := h.Propose(ctx, w.g, []byte(text))
		if err == nil && (n.dark.Load() || n.live.Load() != h) {
			w.note(text, "unknown") // its power went before anybody heard it
			return
		}
		if err == nil {
			w.acked.Add(1)
			w.note(text, "acked")
			return
		}
		if fault.MayHaveApplied(err) {
			w.note(text, "unknown")
			return
		}
		var f *fault.Error
		if !errors.As(err, &f) {
			panic(err)
		}
	}
	w.note(text, "refused")
	wait.For(ctx, testTick)
}

func (w *writers) note(text, outcome string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes[text] = outcome
}

func (w *writers) waitAcks(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return w.acked.Load() >= int64(n) }, testTimeout, testTick)
}

func (w *writers) finish() {
	w.cancel()
	w.wg.Wait()
}

func (w *writers) verify(t *testing.T, n *node) {
	t.Helper()
	v, err := n.View(w.c.ctx(), w.g)
	require.NoError(t, err)
	times := make(map[string]int)
	for _, l := range v.([]ledger.Line) {
		times[l.Text]++
	}
	acked, unknown := 0, 0
	for text, outcome := range w.outcomes {
		switch outcome {
		case "acked":
			acked++
			require.Equal(t, 1, times[text], "acknowledged %s on %s", text, n.id)
		case "refused":
			require.Zero(t, times[text], "refused %s on %s", text, n.id)
		case "unknown":
			unknown++
			require.LessOrEqual(t, times[text], 1, "unknown %s on %s", text, n.id)
		}
	}
	require.Greater(t, acked, 500, "the test wrote too little to show anything")
	t.Logf("%s: %d acked, %d unknown, %d outcomes", n.id, acked, unknown, len(w.outcomes))
}

// Between any two commands the machine's time advances by no more than real time
// did: through failovers, restarts, replays and snapshots.
func TestLeaseClockIsNeverAhead(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(o *Options) { o.SnapshotEntries = 20 })
	const g = 1000
	c.launch(g, 0, 1, 2)
	type sample struct {
		sent, answered time.Time
		machine        int64
	}
	var samples []sample
	take := func(n int) {
		begin := len(samples)
		defer func() {
			// It started at the machine's time, so that it moves at once.
			require.Greater(t, samples[begin+n-1].machine, samples[begin+n/2].machine)
		}()
		for range n {
			for {
				text := fmt.Sprintf("s%d", len(samples))
				sent := time.Now()
				l := c.leader(g)
				_, err := l.Propose(c.ctx(), g, []byte(text))
				if err != nil { // an election; whether it was applied is not of interest
					require.False(t, fault.Is(err, fault.Internal), "%v", err)
					continue
				}
				answered := time.Now()
				at, err := strconv.ParseInt(l.read(g, "time"), 10, 64)
				require.NoError(t, err)
				samples = append(samples, sample{sent, answered, at})
				break
			}
		}
	}
	take(30)
	for round := range 3 {
		l := c.leader(g)
		switch round {
		case 0: // the leader dies and stays away for a while
			l.crash()
			take(10)
			l.boot()
			require.NoError(t, l.Start(c.ctx(), spec(g, c.indexOf(l))))
		case 1: // the leadership moves
			c.transfer(g)
		case 2: // everything stops and starts again
			for _, n := range c.nodes {
				n.crash()
			}
			for i, n := range c.nodes {
				n.boot()
				require.NoError(t, n.Start(c.ctx(), spec(g, i)))
			}
		}
		take(30)
	}
	for i := range samples {
		for j := i + 1; j < len(samples); j++ {
			// i's time was taken after it was sent, j's before it was answered.
			elapsed := samples[j].answered.Sub(samples[i].sent)
			moved := time.Duration(samples[j].machine - samples[i].machine)
			require.LessOrEqual(t, moved, elapsed, "samples %d and %d", i, j)
			require.GreaterOrEqual(t, moved, time.Duration(0), "samples %d and %d", i, j)
		}
	}
	first, last := samples[0], samples[len(samples)-1]
	require.Greater(t, last.machine, first.machine, "the clock must run at all")
	c.requireSameSnapshots(g)
}

func TestTransferAndHandOff(t *testing.T) {
	c := newCluster(t, 3)
	groups := []ids.Group{1000, 1001, 1002, 1003}
	for _, g := range groups {
		c.launch(g, 0, 1, 2)
	}
	require.Eventually(t, func() bool { return c.transfer(1000) == c.leader(1000) }, testTimeout, testTick)
	err := c.ask(1000, func(l *node) error { return l.Transfer(c.ctx(), 1000, 4711) })
	require.True(t, fault.Is(err, fault.Conflict), "%v", err)

	from := c.leader(1000)
	require.Eventually(t, func() bool { // an election may bring one back
		require.NoError(t, from.HandOff(c.ctx()))
		return !slices.ContainsFunc(groups, func(g ids.Group) bool {
			s, _ := from.Status(g)
			return s.Leading || c.leader(g) == from
		})
	}, testTimeout, testTick)
}

// transfer moves a group's leadership to a follower, which it returns.
func (c *cluster) transfer(g ids.Group) *node {
	c.t.Helper()
	var to *node
	require.NoError(c.t, c.ask(g, func(l *node) error {
		to = c.follower(g)
		return l.Transfer(c.ctx(), g, replicaID(g, c.indexOf(to)))
	}))
	return to
}

// While leaderships move under load, every caller learns what became of its command:
// what the old leader could not get into the log is proposed again or refused.
func TestTransferUnderLoadLeavesNothingUnknown(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	const g = 1000
	c.launch(g, 0, 1, 2)
	w := startWriters(c, g, 8)
	for round := range 10 {
		w.waitAcks(t, 100*(round+1))
		// Under load it takes several attempts: dragonboat's voters do not stand while they
		// have something committed to apply.
		c.transfer(g)
	}
	w.finish()
	unknown := 0
	for _, outcome := range w.outcomes {
		if outcome == "unknown" {
			unknown++
		}
	}
	require.Zero(t, unknown, "of %d commands", len(w.outcomes))
	w.verify(t, c.nodes[0])
}

// A leader that loses its followers says so instead of hanging: its callers get an
// unknown outcome for what was proposed, and "not led here" once it has stepped down.
func TestLossOfQuorum(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	const g = 1000
	l := c.launch(g, 0, 1, 2)
	for _, n := range c.nodes {
		if n != l {
			n.crash()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*testTick)
	defer cancel()
	_, err := l.Propose(ctx, g, []byte("x"))
	require.Error(t, err)
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 40*testTick)
		defer cancel()
		_, err := l.Propose(ctx, g, []byte("y"))
		return fault.Is(err, fault.NotLeader)
	}, testTimeout, testTick)
	start := time.Now()
	_, err = l.Read(c.ctx(), g, []byte("x"))
	require.True(t, fault.Is(err, fault.NoQuorum), "%v", err)
	require.Less(t, time.Since(start), testTimeout/2, "a read must not wait for its whole deadline")
	_, err = l.Membership(c.ctx(), g)
	require.True(t, fault.Is(err, fault.NoQuorum), "%v", err)
}
