package limit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client/limit"
)

// steadily calls every interval, each call in a goroutine of its own, for a time.
func steadily(t *testing.T, l limit.Limiter, interval, d time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), d+time.Hour)
	defer cancel()
	var wg sync.WaitGroup
	for begin := time.Now(); time.Since(begin) < d; time.Sleep(interval) {
		wg.Go(func() {
			_, err := l.Acquire(ctx)
			require.NoError(t, err)
		})
	}
	wg.Wait()
}

func TestWantsFollowTheDemand(t *testing.T) {
	for _, rate := range []int{1, 2, 10, 100, 1000} {
		synctest.Test(t, func(t *testing.T) {
			f := leased(1e6)
			a := limit.NewAdaptive(f)
			defer a.Close()
			steadily(t, a, time.Second/time.Duration(rate), 30*time.Second)
			wants, times := f.asked()
			require.InDelta(t, rate, wants, 1+float64(rate)/20, "at %d/s", rate)
			require.LessOrEqual(t, times, 25, "each change is a request")
		})
	}
}

func TestWantsFallWhenNobodyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := leased(1e6)
		a := limit.NewAdaptive(f, limit.WithBounds(5, 50))
		defer a.Close()
		steadily(t, a, 10*time.Millisecond, 15*time.Second)
		wants, _ := f.asked()
		require.InDelta(t, 50.0, wants, 0)
		time.Sleep(15 * time.Second)
		wants, times := f.asked()
		require.InDelta(t, 5.0, wants, 0)
		time.Sleep(time.Minute)
		_, again := f.asked()
		require.Equal(t, times, again, "and stay")
	})
}

// TestACrowdGrows has callers that are held up by the limit itself: what they would do
// without it is not to be seen.
func TestACrowdGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 500.0 // calls a second that the resource has for us
		f := leased(10)
		f.granted = func(wants float64) float64 { return min(wants, most) }
		a := limit.NewAdaptive(f)
		defer a.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var c crowd
		c.start(ctx, 4, func(ctx context.Context) error {
			if err := a.Wait(ctx); err != nil {
				return err
			}
			time.Sleep(2 * time.Millisecond) // the work: four workers could do 2,000/s
			return nil
		})
		time.Sleep(20 * time.Second)
		require.InDelta(t, most, f.State().Capacity, 0)
		wants, _ := f.asked()
		require.LessOrEqual(t, wants, 1.6*most, "it asks for little more than there is")
		cancel()
		c.wg.Wait()
	})
}

func TestAdaptiveCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := leased(100)
		a := limit.NewAdaptive(f, limit.WithWindow(2*time.Second), limit.WithRate(limit.WithBurst(3)))
		time.Sleep(5 * time.Second)
		a.Close()
		a.Close()
		_, before := f.asked()
		require.True(t, a.Allow())
		time.Sleep(time.Second)
		for range 3 {
			require.True(t, a.Allow())
		}
		_, ok := a.TryAcquire()
		require.False(t, ok)
		time.Sleep(time.Minute)
		_, after := f.asked()
		require.Equal(t, before, after)
	})
}
