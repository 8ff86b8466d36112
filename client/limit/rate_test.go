package limit_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/client/capacity"
	"github.com/drumline/drumline/client/limit"
)

// crowd has callers that call as often as they may, until ctx ends.
type crowd struct {
	calls atomic.Int64
	wg    sync.WaitGroup
}

func (c *crowd) start(ctx context.Context, n int, wait func(context.Context) error) {
	for range n {
		c.wg.Go(func() {
			for wait(ctx) == nil {
				c.calls.Add(1)
			}
		})
	}
}

// count is the number of calls of a crowd in a time.
func count(t *testing.T, callers int, d time.Duration, wait func(context.Context) error) int64 {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var c crowd
	c.start(ctx, callers, wait)
	c.wg.Wait()
	return c.calls.Load()
}

// near asserts that calls are within 2 % or one call of what a rate gives in ten seconds.
func near(t require.TestingT, rate float64, calls int64, why ...any) {
	want := rate * 10
	require.InDelta(t, want, calls, max(1, want/50), why...)
}

// TestExactRate is what the original's limiter is up to 78 % off.
func TestExactRate(t *testing.T) {
	rates := []float64{
		0.2, 0.7, 1, 2, 3, 5, 7, 9.5, 10, 11, 15, 20, 25, 25.454545454545457, 50, 51, 60, 75, 99, 100, 101, 120, 149, 150,
		200, 300, 500, 777, 1000, 1999, 5000, 10000,
	}
	for _, r := range rates {
		for _, callers := range []int{1, 16} {
			t.Run(fmt.Sprintf("%v/s, %d callers", r, callers), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near(t, r, count(t, callers, 10*time.Second, limit.NewRate(leased(r)).Wait))
				})
			})
		}
	}
}

// TestExactRateAtRandom tries rates, crowds and bursts at random.
func TestExactRateAtRandom(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := math.Pow(10, rapid.Float64Range(0, 3.3).Draw(rt, "rate as a power of ten"))
		callers := rapid.IntRange(1, 20).Draw(rt, "callers")
		var calls int64
		synctest.Test(t, func(t *testing.T) {
			calls = count(t, callers, 10*time.Second, limit.NewRate(leased(r)).Wait)
		})
		near(rt, r, calls, "rate", r, "callers", callers)
	})
}

// TestRateFollowsTheCapacity changes the capacity every second while a crowd waits.
func TestRateFollowsTheCapacity(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom([]float64{0, 1, 10, 33, 300, 2000}), 10, 10).Draw(rt, "capacities")
		var calls int64
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			f := leased(steps[0])
			var c crowd
			c.start(ctx, 40, limit.NewRate(f).Wait)
			for _, s := range steps {
				f.lease(s)
				time.Sleep(time.Second)
			}
			cancel()
			c.wg.Wait()
			calls = c.calls.Load()
		})
		want := 0.0
		for _, s := range steps {
			want += s
		}
		// A change may cut one call off, and a slow call that begins under a low rate
		// ends under the next.
		require.InDelta(rt, want, calls, max(10, want/50), "%v", steps)
	})
}

func TestNoDebtIsLeftByThoseThatWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := leased(1)
		l := limit.NewRate(f)
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		var c crowd
		c.start(ctx, 5000, l.Wait)
		c.wg.Wait()
		require.Equal(t, int64(4), c.calls.Load())
		near(t, 1, count(t, 1, 10*time.Second, l.Wait), "5,000 callers gave up, and cost nobody's time")
	})
}

func TestRateWithoutALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := leased(0)
		f.become(capacity.State{Basis: capacity.Safe, Capacity: math.Inf(1)})
		l := limit.NewRate(f)
		begin := time.Now()
		for range 100000 {
			require.NoError(t, l.Wait(t.Context()))
			require.True(t, l.Allow())
		}
		require.NoError(t, l.WaitN(t.Context(), 1e9))
		require.Zero(t, time.Since(begin))
	})
}

func TestRateBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := leased(0)
		l := limit.NewRate(f)
		require.False(t, l.Allow())
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.ErrorIs(t, l.Wait(ctx), context.DeadlineExceeded)
		require.ErrorIs(t, l.Wait(ctx), context.DeadlineExceeded, "a context that has ended")
		passed := make(chan error)
		go func() { passed <- l.Wait(t.Context()) }()
		synctest.Wait()
		f.lease(1)
		require.NoError(t, <-passed)
		go func() { passed <- l.Wait(t.Context()) }()
		synctest.Wait()
		f.become(capacity.State{Basis: capacity.Released})
		require.ErrorIs(t, <-passed, limit.ErrClosed)
		require.ErrorIs(t, l.Wait(t.Context()), limit.ErrClosed)
	})
}

// TestALeaseThatEndsDuringTheWait has the wall clock end a lease, which wakes nobody.
func TestALeaseThatEndsDuringTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := leased(1)
		l := limit.NewRate(f)
		require.NoError(t, l.Wait(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		f.quietly(capacity.State{Basis: capacity.Leased, Capacity: 1})
		failed := make(chan error)
		go func() { failed <- l.Wait(ctx) }()
		synctest.Wait()
		f.quietly(capacity.State{Basis: capacity.Safe})
		require.ErrorIs(t, <-failed, context.DeadlineExceeded, "its second came after the lease had ended")
	})
}

func TestBurst(t *testing.T) {
	at := func(rate float64, opts ...limit.RateOption) (burst int) {
		synctest.Test(t, func(*testing.T) {
			l := limit.NewRate(leased(rate), opts...)
			l.Allow()
			time.Sleep(time.Minute)
			for l.Allow() {
				burst++
			}
		})
		return burst
	}
	require.Equal(t, 1, at(10))
	require.Equal(t, 1, at(199))
	require.Equal(t, 50, at(5000), "ten milliseconds")
	require.Equal(t, 7, at(10, limit.WithBurst(7)))
	require.Equal(t, 1, at(5000, limit.WithBurst(0)))
}

func TestWaitN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.NewRate(leased(10))
		begin := time.Now()
		require.NoError(t, l.WaitN(t.Context(), 101), "more than a burst")
		require.InDelta(t, 10, time.Since(begin).Seconds(), 0.001)
		require.NoError(t, l.WaitN(t.Context(), 0))
	})
}

func TestCallersGoInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.NewRate(leased(10))
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				require.NoError(t, l.Wait(t.Context()))
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			})
			synctest.Wait()
		}
		wg.Wait()
		require.True(t, slices.IsSorted(order), "%v", order)
	})
}

func TestNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.NoWait(limit.NewRate(leased(1)))
		done, err := l.Acquire(t.Context())
		require.NoError(t, err)
		done()
		_, err = l.Acquire(t.Context())
		require.ErrorIs(t, err, limit.ErrLimited)
		time.Sleep(time.Second)
		_, ok := l.TryAcquire()
		require.True(t, ok)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = l.Acquire(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})
}
