package gather

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	job     = Job[int, int]
	outcome = Outcome[int]
	tripper = func(ctx context.Context, group string, asks []int, out []outcome)
)

// trips notes trips, each of which takes a while and answers asks with themselves.
type trips struct {
	mu    sync.Mutex
	sizes []int // guarded by mu
}

func (t *trips) make(ctx context.Context, group string, asks []int, out []outcome) {
	t.mu.Lock()
	t.sizes = append(t.sizes, len(asks))
	t.mu.Unlock()
	time.Sleep(time.Millisecond) //nolint:forbidigo // in a bubble: virtual time
	echo(ctx, group, asks, out)
}

// echo answers asks with themselves at once.
func echo(_ context.Context, _ string, asks []int, out []outcome) {
	for i, ask := range asks {
		out[i].Answer = ask
	}
}

// newGather makes one of asks that weigh 1, as counters' do.
func newGather(f tripper) *Gather[int, int] {
	return New(Options[int, int]{Trip: f, PerTrip: 4096, Patience: 10 * time.Second, Noun: "amount", Verb: "counted"})
}

// ask asks one group one thing.
func ask(ctx context.Context, g *Gather[int, int], group string, n int) (int, error) {
	jobs := []job{{Group: group, Ask: n}}
	g.Do(ctx, jobs)
	return jobs[0].Answer, jobs[0].Err
}

// Callers that come again and again share trips, and each has its own answer.
func TestACrowdTravelsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &trips{}
		g := newGather(s.make)
		var callers sync.WaitGroup
		for n := range 32 {
			callers.Go(func() {
				for i := range 50 {
					if got, err := ask(t.Context(), g, "a", 100*n+i); err != nil || got != 100*n+i {
						t.Errorf("%v %v", got, err)
					}
				}
			})
		}
		callers.Wait()
		g.Close()
		require.Less(t, len(s.sizes), 32*50/16, "trips of %v", s.sizes)
	})
}

// Nor are those of another group.
func TestOneAloneIsNotKeptWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGather((&trips{}).make)
		defer g.Close()
		began := time.Now()
		for i := range 100 {
			for _, group := range []string{"a", "b"} {
				_, err := ask(t.Context(), g, group, i)
				require.NoError(t, err)
			}
		}
		require.Equal(t, 200*time.Millisecond, time.Since(began))
		g.Do(t.Context(), nil)
	})
}

// A call of many groups waits once for all of them.
func TestJobsOfManyGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGather((&trips{}).make)
		defer g.Close()
		began := time.Now()
		jobs := make([]job, 100)
		for i := range jobs {
			jobs[i] = job{Group: fmt.Sprint(i), Ask: i}
		}
		g.Do(t.Context(), jobs)
		for i, j := range jobs {
			require.NoError(t, j.Err)
			require.Equal(t, i, j.Answer)
		}
		require.Equal(t, time.Millisecond, time.Since(began))
	})
}

// paces makes trips that take as long as their groups' names say, and counts them.
func paces(t *testing.T, counts map[string]int) tripper {
	var mu sync.Mutex
	return func(ctx context.Context, group string, asks []int, out []outcome) {
		d, err := time.ParseDuration(group)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		counts[group]++
		mu.Unlock()
		select {
		case <-time.After(d):
			echo(ctx, group, asks, out)
		case <-ctx.Done():
			for i := range out {
				out[i].Err = ctx.Err()
			}
		}
	}
}

// askAll asks some groups one thing each, and wants that answered.
func askAll(t *testing.T, g *Gather[int, int], n int, groups ...string) {
	t.Helper()
	jobs := make([]job, len(groups))
	for i, group := range groups {
		jobs[i] = job{Group: group, Ask: n + i}
	}
	g.Do(t.Context(), jobs)
	for i, j := range jobs {
		if j.Err != nil || j.Answer != n+i {
			t.Errorf("%s: %d %v", j.Group, j.Answer, j.Err)
		}
	}
}

// Callers of many groups come again when the slowest has answered: a quick one waits for them,
// and each group makes one trip for all. Trips come back when the test says so.
func TestAQuickGroupWaitsForCallersWhomASlowOneKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		sizes := map[string][]int{}
		back := map[string]chan struct{}{"quick": make(chan struct{}), "slow": make(chan struct{})}
		g := newGather(func(ctx context.Context, group string, asks []int, out []outcome) {
			mu.Lock()
			sizes[group] = append(sizes[group], len(asks))
			mu.Unlock()
			<-back[group]
			echo(ctx, group, asks, out)
		})
		defer g.Close()
		var callers sync.WaitGroup
		for n := range 8 {
			callers.Go(func() {
				for range 2 {
					askAll(t, g, n, "quick", "slow")
				}
			})
			if n == 0 {
				synctest.Wait() // the first goes alone, to both
			}
		}
		for range 3 {
			time.Sleep(time.Millisecond) //nolint:forbidigo // in a bubble: virtual time
			back["quick"] <- struct{}{}
			time.Sleep(heldUp / 2) //nolint:forbidigo // longer than the moment for those who come again
			back["slow"] <- struct{}{}
		}
		callers.Wait()
		// Then all eight of them go; then the seven who have something left to ask.
		require.Equal(t, map[string][]int{"quick": {1, 8, 7}, "slow": {1, 8, 7}}, sizes)
	})
}

// Whoever asks one group alone waits for callers whom another one keeps, but for a moment only.
func TestWhoAnotherGroupKeepsIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGather(paces(t, map[string]int{}))
		defer g.Close()
		var callers sync.WaitGroup
		for n := range 8 {
			callers.Go(func() { askAll(t, g, n, "1ms", "9s") })
		}
		synctest.Wait()
		for n := range 20 {
			began := time.Now()
			askAll(t, g, n, "1ms")
			require.Less(t, time.Since(began), heldUp+2*look+2*time.Millisecond)
		}
		began := time.Now()
		askAll(t, g, 1, "1ms")
		require.Equal(t, time.Millisecond, time.Since(began), "they are not waited for any more")
		callers.Wait()
	})
}

// What is asked bounds a trip by its weight, and what is too heavy for any travels alone.
func TestTripsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var weights [][]int
		g := New(Options[int, int]{PerTrip: 10, Weight: func(n int) int { return n }, Patience: time.Second, Trip: func(ctx context.Context, group string, asks []int, out []outcome) {
			time.Sleep(time.Millisecond) //nolint:forbidigo // in a bubble: virtual time
			mu.Lock()
			weights = append(weights, asks)
			mu.Unlock()
			echo(ctx, group, asks, out)
		}})
		defer g.Close()
		jobs := []job{{Ask: 1}, {Ask: 4}, {Ask: 6}, {Ask: 1}, {Ask: 99}, {Ask: 2}, {Ask: 2}}
		g.Do(t.Context(), jobs)
		for _, j := range jobs {
			require.Equal(t, j.Ask, j.Answer)
		}
		require.Equal(t, [][]int{{1}, {4, 6}, {1}, {99}, {2, 2}}, weights)
	})
}

// What one is refused for is not the others' fault.
func TestEachHasItsOwnFault(t *testing.T) {
	refusal := errors.New("not this one")
	g := newGather(func(ctx context.Context, group string, asks []int, out []outcome) {
		echo(ctx, group, asks, out)
		for i, n := range asks {
			if n == 7 {
				out[i] = outcome{Err: refusal}
			}
		}
	})
	defer g.Close()
	var callers sync.WaitGroup
	for n := range 100 {
		callers.Go(func() {
			if _, err := ask(t.Context(), g, "a", n); (n == 7) != errors.Is(err, refusal) {
				t.Errorf("%d: %v", n, err)
			}
		})
	}
	callers.Wait()
}

// A caller that goes before its turn does not travel, one that goes while it is under way
// cannot know.
func TestWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counted atomic.Int64
		free := make(chan struct{})
		g := newGather(func(_ context.Context, _ string, asks []int, _ []outcome) {
			<-free
			counted.Add(int64(len(asks)))
		})
		defer g.Close()
		leaves := func(want fault.Reason, says string) (leave func()) {
			ctx, cancel := context.WithCancel(t.Context())
			told := make(chan error, 1)
			go func() {
				_, err := ask(ctx, g, "a", 1)
				told <- err
			}()
			synctest.Wait()
			return func() {
				cancel()
				err := <-told
				require.Equal(t, want, fault.ReasonOf(err))
				require.ErrorContains(t, err, says)
				require.ErrorIs(t, err, context.Canceled)
			}
		}
		underWay := leaves(fault.UnknownOutcome, "the amount may or may not be counted")
		before := leaves(fault.Deadline, "was not counted")
		before()
		underWay()
		close(free)
		synctest.Wait()
		_, err := ask(t.Context(), g, "a", 1)
		require.NoError(t, err)
		require.EqualValues(t, 2, counted.Load(), "the first and the last")
	})
}

// Those who come while trips hang go by themselves, for there may be another leader by then.
func TestAHungLeaderKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		g := newGather(func(ctx context.Context, _ string, _ []int, out []outcome) {
			if begun.Add(1) <= 4 {
				<-ctx.Done()
				for i := range out {
					out[i].Err = ctx.Err()
				}
			}
		})
		defer g.Close()
		began := time.Now()
		var callers sync.WaitGroup
		var failed atomic.Int64
		for range 10 {
			callers.Go(func() {
				if _, err := ask(context.Background(), g, "a", 1); err != nil {
					failed.Add(1)
				} else if took := time.Since(began); took > 5*time.Second {
					t.Errorf("it took %s", took)
				}
			})
			time.Sleep(100 * time.Millisecond) //nolint:forbidigo // in a bubble: virtual time
		}
		callers.Wait()
		require.EqualValues(t, 4, failed.Load())
	})
}

// What is undone when the time of its trip is over travels again, if the owner says so and
// its caller still waits; what nobody knows of the first trip is not forgotten by the next.
func TestWhoTravelsAgain(t *testing.T) {
	lost := fault.New(fault.UnknownOutcome, "lost")
	for name, c := range map[string]struct {
		again   bool
		waits   time.Duration
		failing int64 // so many trips hang, and are lost
		want    error
		trips   int64
	}{
		"to where it is done":              {again: true, waits: 10 * time.Second, failing: 1, trips: 2},
		"until there is no more time":      {again: true, waits: 7 * time.Second, failing: 9, want: lost, trips: 3},
		"not at all":                       {waits: 10 * time.Second, failing: 1, want: lost, trips: 1},
		"not when hardly any time is left": {again: true, waits: time.Second, failing: 1, want: lost, trips: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var begun atomic.Int64
				o := Options[int, int]{PerTrip: 10, Patience: 3 * time.Second, Trip: func(ctx context.Context, group string, asks []int, out []outcome) {
					if begun.Add(1) > c.failing {
						echo(ctx, group, asks, out)
						return
					}
					<-ctx.Done()
					out[0].Err = lost
				}}
				if c.again {
					o.Again = func(err error) bool { return fault.Is(err, fault.UnknownOutcome) }
				}
				g := New(o)
				defer g.Close()
				ctx, cancel := context.WithTimeout(t.Context(), c.waits)
				defer cancel()
				got, err := ask(ctx, g, "a", 5)
				require.ErrorIs(t, err, c.want)
				require.Equal(t, err == nil, got == 5)
				require.Equal(t, c.trips, begun.Load())
			})
		})
	}
}

// Close ends what is under way, and takes nothing more.
func TestClose(t *testing.T) {
	g := newGather(func(ctx context.Context, _ string, _ []int, out []outcome) {
		<-ctx.Done()
		out[0].Err = ctx.Err()
	})
	told := make(chan error)
	go func() {
		_, err := ask(context.Background(), g, "a", 1)
		told <- err
	}()
	g.Close() // before or after it came
	require.Error(t, <-told)
	_, err := ask(context.Background(), g, "a", 1)
	require.Equal(t, fault.Unavailable, fault.ReasonOf(err))
	g.Close()
}

// Queues in which nobody is are forgotten.
func TestManyGroups(t *testing.T) {
	g := newGather(echo)
	defer g.Close()
	for n := range 3 * keptQueues {
		_, err := ask(t.Context(), g, fmt.Sprint(n), 1)
		require.NoError(t, err)
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	require.LessOrEqual(t, len(g.queues), keptQueues)
}

// Whoever leaves and whatever fails, every answer is that of its own ask.
func TestAnswersAreTheirOwners(t *testing.T) {
	busy := errors.New("too many wait")
	g := newGather(func(ctx context.Context, group string, asks []int, out []outcome) {
		echo(ctx, group, asks, out)
		if rand.N(10) == 0 {
			out[0] = outcome{Err: busy}
		}
	})
	defer g.Close()
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			for n := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.N(int64(time.Millisecond))))
				jobs := []job{{Group: "a", Ask: 1000*i + n}, {Group: fmt.Sprint(n % 5), Ask: n}}
				g.Do(ctx, jobs)
				cancel()
				for _, j := range jobs {
					switch {
					case j.Err == nil && j.Answer != j.Ask:
						t.Errorf("asked %d, answered %d", j.Ask, j.Answer)
					case j.Err != nil && !errors.Is(j.Err, context.DeadlineExceeded) && !errors.Is(j.Err, busy):
						t.Error(j.Err)
					}
				}
			}
		})
	}
	callers.Wait()
}
