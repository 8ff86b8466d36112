package gather_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/nodehost/counters/gather"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trips notes proposals, each of which takes a while and answers amounts with themselves.
type trips struct {
	mu    sync.Mutex
	sizes []int // guarded by mu
}

func (t *trips) add(_ context.Context, _ string, adds []*counterpb.Add) []gather.Outcome {
	t.mu.Lock()
	t.sizes = append(t.sizes, len(adds))
	t.mu.Unlock()
	time.Sleep(time.Millisecond) // in a bubble: that is how long the group takes
	out := make([]gather.Outcome, len(adds))
	for i, a := range adds {
		out[i].Result = &counterpb.Result{Value: a.GetAmount()}
	}
	return out
}

// TestACrowdTravelsTogether: callers that come again and again share proposals, and each
// has its own answer.
func TestACrowdTravelsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &trips{}
		g := gather.New(s.add)
		var callers sync.WaitGroup
		for n := range int64(32) {
			callers.Go(func() {
				for i := range int64(50) {
					r, err := g.Add(t.Context(), "counter/a", &counterpb.Add{Amount: 100*n + i})
					if err != nil || r.GetValue() != 100*n+i {
						t.Errorf("%v %v", r, err)
					}
				}
			})
		}
		callers.Wait()
		require.NoError(t, g.Close())
		require.Less(t, len(s.sizes), 32*50/16, "proposals of %v", s.sizes)
	})
}

// TestOneAloneIsNotKeptWaiting: nor are those of another group.
func TestOneAloneIsNotKeptWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gather.New((&trips{}).add)
		began := time.Now()
		for range 100 {
			for _, group := range []string{"counter/a", "counter/b"} {
				_, err := g.Add(t.Context(), group, &counterpb.Add{Amount: 1})
				require.NoError(t, err)
			}
		}
		require.Equal(t, 200*time.Millisecond, time.Since(began))
		require.NoError(t, g.Close())
	})
}

// TestEachHasItsOwnFault: what one is refused for is not the others' fault.
func TestEachHasItsOwnFault(t *testing.T) {
	refusal := errors.New("not this one")
	g := gather.New(func(_ context.Context, _ string, adds []*counterpb.Add) []gather.Outcome {
		out := make([]gather.Outcome, len(adds))
		for i, a := range adds {
			if out[i].Result = (&counterpb.Result{}); a.GetAmount() == 7 {
				out[i] = gather.Outcome{Err: refusal}
			}
		}
		return out
	})
	var callers sync.WaitGroup
	for n := range int64(100) {
		callers.Go(func() {
			_, err := g.Add(t.Context(), "counter/a", &counterpb.Add{Amount: n})
			if (n == 7) != errors.Is(err, refusal) {
				t.Errorf("%d: %v", n, err)
			}
		})
	}
	callers.Wait()
	require.NoError(t, g.Close())
}

// TestWhoLeaves: a caller that goes before its turn is not counted, one that goes while it
// is under way cannot know.
func TestWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counted atomic.Int64
		free := make(chan struct{})
		g := gather.New(func(_ context.Context, _ string, adds []*counterpb.Add) []gather.Outcome {
			<-free
			counted.Add(int64(len(adds)))
			return make([]gather.Outcome, len(adds))
		})
		leaves := func(want fault.Reason) (leave func()) {
			ctx, cancel := context.WithCancel(t.Context())
			told := make(chan error, 1)
			go func() {
				_, err := g.Add(ctx, "counter/a", &counterpb.Add{Amount: 1})
				told <- err
			}()
			synctest.Wait()
			return func() {
				cancel()
				require.Equal(t, want, fault.ReasonOf(<-told))
			}
		}
		underWay := leaves(fault.UnknownOutcome)
		before := leaves(fault.Deadline)
		before()
		underWay()
		close(free)
		synctest.Wait()
		_, err := g.Add(t.Context(), "counter/a", &counterpb.Add{Amount: 1})
		require.NoError(t, err)
		require.NoError(t, g.Close())
		require.EqualValues(t, 2, counted.Load(), "the first and the last")
	})
}

// TestAHungLeaderKeepsNobodyWaiting: those who come while proposals hang go by themselves,
// for there may be another leader by then.
func TestAHungLeaderKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var trip atomic.Int64
		g := gather.New(func(ctx context.Context, _ string, adds []*counterpb.Add) []gather.Outcome {
			out := make([]gather.Outcome, len(adds))
			if trip.Add(1) <= 4 {
				<-ctx.Done()
				for i := range out {
					out[i].Err = ctx.Err()
				}
			}
			return out
		})
		began := time.Now()
		var callers sync.WaitGroup
		var failed atomic.Int64
		for range 10 {
			callers.Go(func() {
				if _, err := g.Add(context.Background(), "counter/a", &counterpb.Add{Amount: 1}); err != nil {
					failed.Add(1)
				} else if took := time.Since(began); took > 5*time.Second {
					t.Errorf("it took %s", took)
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
		callers.Wait()
		require.EqualValues(t, 4, failed.Load())
		require.NoError(t, g.Close())
	})
}

// TestClose ends what is under way, and takes nothing more.
func TestClose(t *testing.T) {
	g := gather.New(func(ctx context.Context, _ string, _ []*counterpb.Add) []gather.Outcome {
		<-ctx.Done()
		return []gather.Outcome{{Err: ctx.Err()}}
	})
	told := make(chan error)
	go func() {
		_, err := g.Add(context.Background(), "counter/a", &counterpb.Add{Amount: 1})
		told <- err
	}()
	require.NoError(t, g.Close()) // before or after it came
	require.Error(t, <-told)
	_, err := g.Add(context.Background(), "counter/a", &counterpb.Add{Amount: 1})
	require.Equal(t, fault.Unavailable, fault.ReasonOf(err))
	require.NoError(t, g.Close())
}

// TestManyGroups: queues in which nobody is are forgotten.
func TestManyGroups(t *testing.T) {
	g := gather.New(func(_ context.Context, _ string, adds []*counterpb.Add) []gather.Outcome {
		return make([]gather.Outcome, len(adds))
	})
	defer func() { require.NoError(t, g.Close()) }()
	for n := range 5000 {
		_, err := g.Add(t.Context(), string(rune('a'+n%26))+string(rune(n)), &counterpb.Add{Amount: 1})
		require.NoError(t, err)
	}
}
