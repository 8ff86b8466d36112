package limit_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client/capacity"
	"github.com/drumline/drumline/client/limit"
)

func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := leased(2.9)
		l := limit.NewInFlight(f)
		first, err := l.Acquire(t.Context())
		require.NoError(t, err)
		second, ok := l.TryAcquire()
		require.True(t, ok)
		_, ok = l.TryAcquire()
		require.False(t, ok, "2.9 calls are two")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = l.Acquire(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = l.Acquire(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "a context that has ended")
		first()
		first()
		require.Equal(t, 1, l.Count(), "a call ends once")
		third, err := l.Acquire(t.Context())
		require.NoError(t, err)
		f.lease(1)
		second()
		_, ok = l.TryAcquire()
		require.False(t, ok, "the capacity has fallen")
		third()
		fourth, ok := l.TryAcquire()
		require.True(t, ok)
		fourth()
	})
}

func TestInFlightWakesThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := leased(0)
		l := limit.NewInFlight(f)
		got := make(chan func())
		for range 3 {
			go func() {
				done, err := l.Acquire(t.Context())
				require.NoError(t, err)
				got <- done
			}()
		}
		synctest.Wait()
		_, ok := l.TryAcquire()
		require.False(t, ok)
		f.lease(1)
		done := <-got
		synctest.Wait()
		require.Equal(t, 1, l.Count())
		done()
		done = <-got
		f.lease(2)
		last := <-got
		require.Equal(t, 2, l.Count())
		done()
		last()
		f.become(capacity.State{Basis: capacity.Released})
		_, err := l.Acquire(t.Context())
		require.ErrorIs(t, err, limit.ErrClosed)
	})
}

// TestInFlightIsNeverExceeded has a crowd whose calls last for random times while the
// capacity rises.
func TestInFlightIsNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := leased(1)
		l := limit.NewInFlight(f)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		var mu sync.Mutex
		most := 0
		for range 50 {
			wg.Go(func() {
				for {
					done, err := l.Acquire(ctx)
					if err != nil {
						return
					}
					mu.Lock()
					n := l.Count()
					most = max(most, n)
					mu.Unlock()
					time.Sleep(rand.N(20 * time.Millisecond))
					done()
				}
			})
		}
		for n := range 10 {
			f.lease(float64(n + 1))
			time.Sleep(time.Second)
			mu.Lock()
			require.Equal(t, n+1, most, "no more, and no less")
			mu.Unlock()
		}
		cancel()
		wg.Wait()
		require.Zero(t, l.Count())
	})
}
