package limit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/client/capacity"
	"github.com/drumline/drumline/client/limit"
)

// slowResource grants what is free of the wants, some time after it was asked, and is asked
// once a second at most, as a capacity.Client asks.
type slowResource struct {
	*fakeResource
	free, delay float64 // calls a second, seconds

	mu    sync.Mutex
	last  time.Time // guarded by mu: of the last request
	wants float64   // guarded by mu
	timer *time.Timer
}

func newSlow(free float64, delay time.Duration) *slowResource {
	s := &slowResource{fakeResource: leased(min(free, 1)), free: free, delay: delay.Seconds(), last: time.Now(), wants: 1}
	return s
}

func (s *slowResource) SetWants(wants float64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lower := wants < s.wants; lower && s.State().Capacity > wants {
		s.lease(wants)
	}
	s.wants = wants
	if s.timer != nil {
		return nil
	}
	s.timer = time.AfterFunc(max(0, time.Second-time.Since(s.last)), s.ask)
	return nil
}

// ask is a request, and its answer later.
func (s *slowResource) ask() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.timer = time.Now(), nil
	asked := s.wants
	time.AfterFunc(time.Duration(s.delay*float64(time.Second)), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.become(capacity.State{Basis: capacity.Leased, Capacity: min(asked, s.wants, s.free)})
	})
}

// wanted is the wants as last set.
func (s *slowResource) wanted() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wants
}

// TestANewcomerHasWhatIsFree: callers that are held up by the limit alone have what is free,
// or nearly as much as they can use, ten seconds after they begin, and go on having it; and what is asked
// for is of that size.
func TestANewcomerHasWhatIsFree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		free := float64(rapid.IntRange(1, 200).Draw(rt, "free"))
		callers := rapid.IntRange(1, 4).Draw(rt, "callers")
		work := time.Duration(rapid.IntRange(3, 200).Draw(rt, "work")) * time.Millisecond
		delay := time.Duration(rapid.IntRange(0, 500).Draw(rt, "delay")) * time.Millisecond
		idle := time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "idle")) * time.Millisecond
		could := min(free, float64(callers)/work.Seconds())
		var had, wanted float64
		synctest.Test(t, func(t *testing.T) {
			s := newSlow(free, delay)
			a := limit.NewAdaptive(s)
			defer a.Close()
			time.Sleep(idle)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var c crowd
			c.start(ctx, callers, func(ctx context.Context) error {
				err := a.Wait(ctx)
				time.Sleep(work)
				return err
			})
			time.Sleep(10 * time.Second)
			begun := c.calls.Load()
			time.Sleep(9 * time.Second)
			had, wanted = float64(c.calls.Load()-begun)/9, s.wanted()
			cancel()
			c.wg.Wait()
		})
		require.GreaterOrEqual(rt, had, 0.75*could-2)
		require.LessOrEqual(rt, wanted, 2.5*could+float64(callers)+2)
	})
}

// TestAThousandIsFourRequestsAway: one caller that always comes again.
func TestAThousandIsFourRequestsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow(1000, 10*time.Millisecond)
		a := limit.NewAdaptive(s)
		defer a.Close()
		require.GreaterOrEqual(t, count(t, 1, 5*time.Second, a.Wait), int64(900))
		require.InDelta(t, 1000, s.State().Capacity, 0)
	})
}
