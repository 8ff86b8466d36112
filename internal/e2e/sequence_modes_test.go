//go:build e2e || e2elong

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/internal/chaos"
)

// TestSequencesOfOtherModes runs those that are no plain ranges, each while the host that
// leads them is killed again and again.
func TestSequencesOfOtherModes(t *testing.T) {
	w, c := newSequences(t)
	for _, scenario := range []struct {
		name string
		mode *sequencepb.Definition
		run  func(*testing.T, *caller)
	}{
		{"gap-free", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE, ReservationMs: 500}, gapFree},
		{"time", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TIME, Time: &sequencepb.TimeLayout{LeaseMs: 2000}}, ofTime},
		{"timestamps", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO}, timestamps},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			newAdmin(t, c).create(scenario.name, scenario.mode)
			over, kills := make(chan struct{}), make(chan int)
			go func() { kills <- w.killLeaders(family, over) }()
			scenario.run(t, &caller{T: t, c: c, key: scenario.name})
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

// client opens a client, so that its calls may be repeated.
func (k *caller) client() *sequencepb.Client {
	return patient(k.T, func(ctx context.Context) (*sequencepb.Result, error) {
		return service(k.c).Open(ctx, &sequencepb.OpenRequest{Group: family})
	}).GetClient()
}

// gapFree: holders commit, cancel or die. What they leave is reserved again, the lowest
// first, and in the end what was committed is 1 to n.
func gapFree(t *testing.T, k *caller) {
	var mu sync.Mutex
	committed := map[int64]int{} // guarded by mu
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			rng, by, serial := rand.New(rand.NewPCG(rand.Uint64(), uint64(i))), k.client(), uint64(0)
			for {
				mu.Lock()
				enough := len(committed) >= seqGapFree
				mu.Unlock()
				if enough {
					return
				}
				serial += 2
				if n := k.hold(by, serial, rng.IntN(3)); n > 0 {
					mu.Lock()
					committed[n]++
					mu.Unlock()
				}
			}
		})
	}
	work.Wait()
	// What dead holders have left is filled: every number up to the greatest committed one.
	by, serial, top := k.client(), uint64(0), int64(0)
	for n := range committed {
		top = max(top, n)
	}
	deadline := time.Now().Add(time.Minute)
	for int64(len(committed)) < top && time.Now().Before(deadline) {
		serial += 2
		r := k.reserve(by, serial)
		n := r.GetReservation().GetNumber()
		if n > top { // the rest is reserved for a little longer
			k.settle(by, serial+1, r.GetReservation(), false)
			continue
		}
		if k.settle(by, serial+1, r.GetReservation(), true) {
			committed[n]++
		}
	}
	require.Len(t, committed, int(top), "a gap")
	for n := int64(1); n <= top; n++ {
		require.Equal(t, 1, committed[n], "times that %d was committed", n)
	}
}

// hold reserves a number, and commits it, cancels it, or dies with it in hand; it tells
// the number that was committed.
func (k *caller) hold(by *sequencepb.Client, serial uint64, fate int) int64 {
	r := k.reserve(by, serial)
	held := r.GetReservation()
	if held == nil || fate == 0 {
		return 0
	}
	if k.settle(by, serial+1, held, fate == 1) && fate == 1 {
		return held.GetNumber()
	}
	return 0
}

func (k *caller) reserve(by *sequencepb.Client, serial uint64) *sequencepb.Result {
	return patient(k.T, func(ctx context.Context) (*sequencepb.Result, error) {
		return service(k.c).Reserve(ctx, &sequencepb.ReserveRequest{
			Group: family, Caller: &sequencepb.Caller{Client: by, Serial: serial, Settled: serial - 1}, Reserve: &sequencepb.Reserve{Key: k.key},
		})
	})
}

// settle commits or cancels, and tells whether the holder still had the number.
func (k *caller) settle(by *sequencepb.Client, serial uint64, held *sequencepb.Reservation, commit bool) bool {
	who := &sequencepb.Caller{Client: by, Serial: serial, Settled: serial - 1}
	r := patient(k.T, func(ctx context.Context) (*sequencepb.Result, error) {
		if commit {
			return service(k.c).Commit(ctx, &sequencepb.CommitRequest{
				Group: family, Caller: who, Commit: &sequencepb.Commit{Key: k.key, Number: held.GetNumber(), Token: held.GetToken()},
			})
		}
		return service(k.c).Cancel(ctx, &sequencepb.CancelRequest{
			Group: family, Caller: who, Cancel: &sequencepb.Cancel{Key: k.key, Number: held.GetNumber(), Token: held.GetToken()},
		})
	})
	return r.GetOutcome() == sequencepb.Outcome_OUTCOME_OK
}

// timestamps: asked one after the other, and by several at a time, they rise over every
// failover, and their physical part is the time of day.
func timestamps(t *testing.T, k *caller) {
	const logicalBits, slack = 18, 5 * time.Second
	var top atomic.Int64
	var work sync.WaitGroup
	until := time.Now().Add(seqRun)
	for range 4 {
		work.Go(func() {
			for time.Now().Before(until) {
				floor, asked := top.Load(), time.Now()
				r := patient(t, func(ctx context.Context) (*sequencepb.Result, error) {
					return service(k.c).Next(ctx, &sequencepb.NextRequest{Group: family, Next: &sequencepb.Next{Key: k.key}})
				})
				n := r.GetGrant().GetFirst()
				if n <= floor {
					t.Errorf("%d was asked for after somebody had %d", n, floor)
					return
				}
				for old := top.Load(); old < n && !top.CompareAndSwap(old, n); old = top.Load() {
				}
				at := time.UnixMilli(n >> logicalBits)
				if at.Before(asked.Add(-slack)) || at.After(time.Now().Add(slack)) {
					t.Errorf("%d is of %v, asked at %v", n, at, asked)
				}
			}
		})
	}
	work.Wait()
	require.Positive(t, top.Load())
}

// clockwork is a worker of a sequence of time, with a clock that may be wrong.
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
// and that die and come again: all numbers differ.
func ofTime(t *testing.T, k *caller) {
	var mu sync.Mutex
	seen := map[uint64]bool{} // guarded by mu
	var work sync.WaitGroup
	until := time.Now().Add(2 * seqRun)
	for i := range seqTimeWorkers {
		work.Go(func() {
			rng := rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))
			x := &clockwork{caller: k, skew: time.Duration(i%3-1) * 10 * time.Second}
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for ; time.Now().Before(until); <-pace.C {
				switch rng.IntN(200) {
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
					mu.Lock()
					again := seen[n]
					seen[n] = true
					mu.Unlock()
					if again {
						t.Errorf("%d was made twice, the second time by worker %d", n, x.lease.GetWorker())
					}
				}
			}
		})
	}
	work.Wait()
	t.Log(fmt.Sprint(len(seen), " numbers by ", seqTimeWorkers, " workers"))
	require.Greater(t, len(seen), seqTimeWorkers*10)
}
