//go:build e2e || e2elong

package e2e

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/client/sequence"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/chaos"
)

// TestSequencesOfOtherModes runs those that are no plain ranges, each while the host that
// leads them is killed again and again.
func TestSequencesOfOtherModes(t *testing.T) {
	w, c := newSequences(t)
	w.whileLeadersDie(c, 0, scenarios())
}

// TestSequencesOnHostsWithWrongClocks: the clock of one host is 10 s ahead, that of another
// one 10 s behind, and leadership goes from one to the other.
func TestSequencesOnHostsWithWrongClocks(t *testing.T) {
	w, c := newSequences(t)
	for name, offset := range map[string]string{"host-1": "10s", "host-2": "-10s"} {
		w.reconfigure(name, "clock_offset", offset)
	}
	w.within(20*time.Second, "groups are whole again", w.whole(nil))
	w.futureIsRefused(c)
	w.whileLeadersDie(c, 10*time.Second, scenarios()[1:]) // a reservation ends by the lease clock, which is none of these
}

// futureIsRefused: a command that says to be more than a minute ahead of the host that leads,
// whoever that is, gets into no log: others would have to wait for what it says.
func (w *world) futureIsRefused(c *client.Client) {
	w.Helper()
	group := c.Group(family)
	for _, op := range []*sequencepb.Command{
		{Op: &sequencepb.Command_Next{Next: &sequencepb.Next{Key: "early"}}, NowMs: ahead(2 * time.Minute)},
		{Op: &sequencepb.Command_LeaseWorker{LeaseWorker: &sequencepb.LeaseWorker{Key: "early", NowMs: ahead(2 * time.Minute)}}},
	} {
		data, err := proto.Marshal(op)
		w.must(err)
		_, err = group.Propose(w.Context(), data)
		var refused *client.Error
		require.ErrorAs(w, err, &refused)
		require.Equal(w, hostpb.Reason_REASON_CONFLICT, refused.Reason, "%v", err)
	}
	data, err := proto.Marshal(&sequencepb.Command{Op: &sequencepb.Command_Next{Next: &sequencepb.Next{Key: "early"}}, NowMs: ahead(30 * time.Second)})
	w.must(err)
	r, err := group.Propose(w.Context(), data)
	w.must(err)
	require.EqualValues(w, 1, r.Value, "what was refused has left nothing behind")
}

// ahead is a time from now, as commands have it.
func ahead(d time.Duration) uint64 { return uint64(time.Now().Add(d).UnixMilli()) }

// scenario is what a mode promises.
type scenario struct {
	name string
	mode *sequencepb.Definition
	run  func(*testing.T, *caller)
}

func scenarios() []scenario {
	return []scenario{
		{"gap-free", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE, ReservationMs: 500}, gapFree},
		{"time", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TIME, Time: &sequencepb.TimeLayout{LeaseMs: 2000}}, ofTime},
		{"timestamps", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO}, timestamps},
	}
}

// whileLeadersDie runs scenarios while the host that leads is killed again and again.
func (w *world) whileLeadersDie(c *client.Client, off time.Duration, all []scenario) {
	for _, s := range all {
		w.Run(s.name, func(t *testing.T) {
			newAdmin(t, c).create(s.name, s.mode)
			over, kills := make(chan struct{}), make(chan int)
			go func() { kills <- w.killLeaders(family, over) }()
			s.run(t, &caller{T: t, c: c, key: s.name, off: off})
			close(over)
			t.Logf("%d kills of leaders", <-kills)
		})
	}
}

// TestSequencesAreLinearizable: clients take ranges and give tails back, administrators
// let sequences jump, hosts are killed and paused, and every answer must be one that a
// single sequence, asked one by one, could have given at some instant of the call.
func TestSequencesAreLinearizable(t *testing.T) {
	w, c := newSequences(t, "sequence/jumping")
	groups := []string{family, "sequence/jumping"}
	storm, calm := context.WithTimeout(t.Context(), seqFire)
	defer calm()
	load := chaos.BeginSequences(t.Context(), service(c), chaos.Load{
		Groups: groups, Clients: 4, Pace: 15 * time.Millisecond, Deadline: 20 * time.Second, Run: "linear", Drawings: os.Getenv("E2E_KEEP"),
	})
	blows := w.fire(storm, groups...)
	w.ready()
	w.finish(load)
	t.Logf("%d blows", blows)
}

// killLeaders kills the host that leads a group, starts it again, rests for a while, and
// goes on until over is closed.
func (w *world) killLeaders(group string, over <-chan struct{}) (kills int) {
	for {
		victim := w.leader(group)
		w.must(w.fleet.Kill(victim))
		w.must(w.fleet.Start(victim))
		w.ready(victim)
		kills++
		rest := time.NewTimer(500*time.Millisecond + rand.N(time.Second))
		select {
		case <-over:
			rest.Stop()
			return kills
		case <-rest.C:
		}
	}
}

// caller makes calls of the native service about a key of the family.
type caller struct {
	*testing.T
	c   *client.Client
	key string
	// off is how far the clocks of hosts are off.
	off time.Duration
}

// patient repeats a call, which must be one that may be repeated, while hosts die.
func patient(t *testing.T, call func(context.Context) (*sequencepb.Result, error)) *sequencepb.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		r, err := call(ctx)
		if err == nil {
			return r
		}
		if ctx.Err() != nil {
			t.Errorf("no answer for a minute: %v", err)
			return &sequencepb.Result{}
		}
	}
}

// gapFree: holders commit, cancel or die. What they leave is reserved again, the lowest
// first, and in the end what was committed is 1 to n.
func gapFree(t *testing.T, k *caller) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var mu sync.Mutex
	committed := map[int64]int{} // guarded by mu
	enough := func(n int64) bool {
		mu.Lock()
		defer mu.Unlock()
		if n > 0 {
			committed[n]++
		}
		return len(committed) >= seqGapFree
	}
	var work sync.WaitGroup
	for range 8 {
		q := k.c.GapFree(family + "#" + k.key)
		work.Go(func() {
			defer q.Close() //nolint:errcheck // what it can't cancel ends by itself
			for n := int64(0); !enough(n) && ctx.Err() == nil; {
				n = k.hold(ctx, q, rand.IntN(3))
			}
		})
	}
	work.Wait()
	// What dead holders have left is filled: every number up to the greatest committed one.
	top := slices.Max(slices.Collect(maps.Keys(committed)))
	q := k.c.GapFree(family + "#" + k.key)
	defer q.Close() //nolint:errcheck // as above
	for int64(len(committed)) < top {
		r, err := q.Reserve(ctx)
		require.NoError(t, err)
		if r.Number() > top { // what is missing is reserved for a little longer
			_ = r.Cancel(ctx) // it ends by itself
			continue
		}
		if r.Commit(ctx) == nil {
			committed[r.Number()]++
		}
	}
	for n := int64(1); n <= top; n++ {
		require.Equal(t, 1, committed[n], "times that %d was committed", n)
	}
	require.EqualValues(t, top, newCast(t, k.c, family+"#"+k.key).describe().GetCommitted())
}

// hold reserves a number, and commits it, cancels it, or dies with it in hand; it tells
// the number that was committed.
func (k *caller) hold(ctx context.Context, q *sequence.GapFree, fate int) int64 {
	r, err := q.Reserve(ctx)
	if err != nil {
		k.Errorf("reserve: %v", err)
		return 0
	}
	switch fate {
	case 0:
		err = r.Commit(ctx)
	case 1:
		err = r.Cancel(ctx)
	}
	if errors.Is(err, sequence.ErrExpired) { // its leader was away for longer
		return 0
	}
	if err != nil {
		k.Errorf("settle %d: %v", r.Number(), err)
	}
	if fate == 0 {
		return r.Number()
	}
	return 0
}

// timestamps: asked one after the other, and by several at a time, they rise over every
// failover, and their physical part is the time of day.
func timestamps(t *testing.T, k *caller) {
	slack := 5*time.Second + k.off
	ctx, cancel := context.WithTimeout(t.Context(), seqRun+time.Minute)
	defer cancel()
	var top atomic.Int64
	var work sync.WaitGroup
	until := time.Now().Add(seqRun)
	for range 4 {
		q := k.c.Timestamps(family + "#" + k.key)
		work.Go(func() {
			defer q.Close() //nolint:errcheck // it has nothing to say
			for time.Now().Before(until) {
				floor, asked := top.Load(), time.Now()
				ts, err := q.Next(ctx)
				if err != nil || ts.Number <= floor {
					t.Errorf("%v was asked for after somebody had %d: %v", ts, floor, err)
					return
				}
				for old := top.Load(); old < ts.Number && !top.CompareAndSwap(old, ts.Number); old = top.Load() {
				}
				if ts.Time().Before(asked.Add(-slack)) || ts.Time().After(time.Now().Add(slack)) {
					t.Errorf("%v is of %v, asked at %v", ts, ts.Time(), asked)
				}
			}
		})
	}
	work.Wait()
	require.Positive(t, top.Load())
}

// clockwork is a worker of a sequence of time, with a clock that may be wrong: it does what
// the wire demands, and shares no code with the Go client, whose clock is the machine's.
type clockwork struct {
	*caller
	skew    time.Duration
	lease   *sequencepb.Worker
	asked   time.Time // on the monotonic clock: the lease counts from here
	last    uint64    // the newest time stamp of the lease
	counter uint64
}

// now is the worker's Unix time in milliseconds.
func (x *clockwork) now() uint64 { return uint64(time.Now().Add(x.skew).UnixMilli()) }

// renew leases a worker, the same one if it can.
func (x *clockwork) renew() {
	ask := &sequencepb.LeaseWorker{Key: x.key, NowMs: x.now()}
	if x.lease != nil {
		ask.Worker, ask.Token = &x.lease.Worker, x.lease.GetToken()
	}
	asked := time.Now()
	r := patient(x.T, func(ctx context.Context) (*sequencepb.Result, error) {
		asked = time.Now()
		return service(x.c).LeaseWorker(ctx, &sequencepb.LeaseWorkerRequest{Group: family, LeaseWorker: ask})
	})
	if r.GetWorker() == nil {
		x.lease = nil // another one has it now
		return
	}
	if x.lease == nil || r.GetWorker().GetWorker() != x.lease.GetWorker() || r.GetWorker().GetToken() != x.lease.GetToken() {
		x.last, x.counter = r.GetWorker().GetFloorMs(), 1<<20 // all of that millisecond is used
	}
	x.lease, x.asked = r.GetWorker(), asked
}

// make makes a number if it may; false means that it must wait or lease anew.
func (x *clockwork) make() (uint64, bool) {
	if x.lease == nil || time.Since(x.asked) > time.Duration(x.lease.GetLeaseMs())*time.Millisecond {
		x.renew()
		return 0, false
	}
	l := x.lease.GetLayout()
	switch now := x.now(); {
	case now > x.last && now <= x.lease.GetCeilingMs():
		x.last, x.counter = now, 0
	case now > x.lease.GetCeilingMs():
		x.renew()
		return 0, false
	case x.counter+1 >= 1<<l.GetCounterBits(): // its clock is behind what it has used
		if x.last >= x.lease.GetCeilingMs() {
			x.renew()
			return 0, false
		}
		x.last, x.counter = x.last+1, 0
	default:
		x.counter++
	}
	if x.last > x.lease.GetCeilingMs() || x.last <= x.lease.GetFloorMs() {
		return 0, false
	}
	stamp := x.last - l.GetEpochMs()
	return stamp<<(l.GetWorkerBits()+l.GetCounterBits()) | uint64(x.lease.GetWorker())<<l.GetCounterBits() | x.counter, true
}

// ofTime: many workers, with clocks that are 10 s off in either direction, that step back,
// and that die and come again, and among them some of the Go client's: all numbers differ.
func ofTime(t *testing.T, k *caller) {
	var mu sync.Mutex
	seen := map[int64]bool{} // guarded by mu
	note := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		if seen[n] {
			t.Errorf("%d was made twice", n)
		}
		seen[n] = true
	}
	var work sync.WaitGroup
	until := time.Now().Add(2 * seqRun)
	for i := range seqTimeWorkers {
		work.Go(func() { k.workForAWhile(i, until, note) })
	}
	for range 4 {
		q := k.c.TimeIDs(family + "#" + k.key)
		work.Go(func() {
			defer q.Close() //nolint:errcheck // its worker's lease ends by itself
			ctx, cancel := context.WithTimeout(t.Context(), 2*seqRun+time.Minute)
			defer cancel()
			for last := int64(0); time.Now().Before(until); {
				n, err := q.Next(ctx)
				if err != nil || n <= last {
					t.Errorf("%d after %d: %v", n, last, err)
					return
				}
				last = n
				note(n)
			}
		})
	}
	work.Wait()
	t.Logf("%d numbers by %d workers", len(seen), seqTimeWorkers+4)
	require.Greater(t, len(seen), seqTimeWorkers*10)
}

// workForAWhile is the life of one worker.
func (k *caller) workForAWhile(i int, until time.Time, note func(int64)) {
	x := &clockwork{caller: k, skew: time.Duration(i%3-1) * 10 * time.Second}
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for ; time.Now().Before(until); <-pace.C {
		switch rand.IntN(200) {
		case 0:
			x.lease = nil // killed; its lease ends by itself
		case 1:
			x.skew -= time.Second
		}
		for range 5 {
			n, ok := x.make()
			if !ok {
				break
			}
			note(int64(n))
		}
	}
}
