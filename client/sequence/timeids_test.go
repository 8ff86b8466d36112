package sequence_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client/sequence"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

func timed(workerBits uint32) *sequencepb.Definition {
	return &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TIME, Time: &sequencepb.TimeLayout{WorkerBits: workerBits, LeaseMs: 4000}}
}

// skewed is a clock that is set.
type skewed struct{ by atomic.Int64 }

func (s *skewed) now() time.Time {
	now := time.Now()
	if by := time.Duration(s.by.Load()); by != 0 {
		return now.Round(0).Add(by) // a wall clock alone: arithmetic moves both otherwise
	}
	return now
}

func openTimeIDs(t testing.TB, g *group, opts ...sequence.Option) *sequence.TimeIDs {
	m := sequence.NewTimeIDs(g, "sequence/test", "", opts...)
	t.Cleanup(func() { shut(t, m) })
	return m
}

// makeIDs makes n numbers, and sees that they ascend.
func makeIDs(t testing.TB, m *sequence.TimeIDs, n int) (out []int64) {
	t.Helper()
	last := int64(-1)
	for range n {
		id, err := m.Next(t.Context())
		require.NoError(t, err)
		require.Greater(t, id, last)
		last = id
		out = append(out, id)
	}
	return out
}

func TestTimeIDsCostNoRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		g.create(t, timed(0))
		m := openTimeIDs(t, g)
		ids := makeIDs(t, m, 10_000)
		require.Equal(t, 2, g.tried(), "a client and a lease")
		began := ids[0] >> 22
		require.Equal(t, time.Now().UnixMilli(), ids[9999]>>22)
		require.EqualValues(t, 2, ids[9999]>>22-began, "4,096 in each millisecond")
		require.Equal(t, []int64{0, 1}, []int64{ids[0] & 4095, ids[1] & 4095})
		require.Zero(t, ids[0]>>12&1023, "the first worker")
		time.Sleep(time.Minute)
		require.Equal(t, 2, g.tried(), "nobody needs a lease")
		makeIDs(t, m, 1)
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			makeIDs(t, m, 1)
		}
		require.InDelta(t, 8, g.tried(), 2, "renewed each half of four seconds")
	})
}

// Many makers, lost answers, goroutines: no number is made twice.
func TestTimeIDsAreUnique(t *testing.T) {
	g := newGroup()
	g.create(t, timed(0))
	g.change(func() { g.lost = 2 })
	var mu sync.Mutex
	seen := map[int64]bool{}
	var work sync.WaitGroup
	for range 10 {
		m := openTimeIDs(t, g)
		for range 4 {
			work.Go(func() {
				ids := makeIDs(t, m, 500)
				mu.Lock()
				defer mu.Unlock()
				for _, id := range ids {
					require.False(t, seen[id])
					seen[id] = true
				}
			})
		}
	}
	work.Wait()
}

func TestALeaseThatIsNotRenewedStopsTheMaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		g.create(t, timed(0))
		m := openTimeIDs(t, g)
		makeIDs(t, m, 1)
		g.change(func() { g.away = true })
		time.Sleep(3800 * time.Millisecond)
		makeIDs(t, m, 1) // the lease is not over
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := m.Next(ctx)
		require.ErrorContains(t, err, errAway.Error())
		g.change(func() { g.away = false })
		time.Sleep(3 * time.Second)
		makeIDs(t, m, 1)
	})
}

// The group is away for longer than a renewal may take, and than the lease lasts: callers
// wait as long as they said.
func TestAGroupThatIsAwayIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		g.create(t, timed(0))
		m := openTimeIDs(t, g)
		before := makeIDs(t, m, 1)
		g.change(func() { g.away = true })
		time.Sleep(3500 * time.Millisecond)
		go func() {
			time.Sleep(30 * time.Second)
			g.change(func() { g.away = false })
		}()
		for range 100 { // until the lease is over, and then when the group is back
			before = append(before, makeIDs(t, m, 1)...)
			time.Sleep(10 * time.Millisecond)
		}
		require.True(t, slices.IsSorted(before))
	})
}

func TestAClockThatGoesBackWaitsOrFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fails := range []bool{false, true} {
			g, c := newGroup(), &skewed{}
			g.create(t, timed(0))
			var opts []sequence.Option
			if fails {
				opts = append(opts, sequence.FailOnClockBack())
			}
			m := sequence.NewTimeIDsAt(g, c.now, opts...)
			before := makeIDs(t, m, 3)
			c.by.Store(int64(-time.Second))
			began := time.Now()
			id, err := m.Next(t.Context())
			if fails {
				require.ErrorIs(t, err, sequence.ErrClockBack)
			} else {
				require.NoError(t, err)
				require.Greater(t, id, before[2])
				require.InDelta(t, time.Second, time.Since(began), float64(20*time.Millisecond))
			}
			require.NoError(t, m.Close())
		}
	})
}

// A clock that jumps forward is stopped by the lease, which ends by the wall clock, too, and
// by the window.
func TestAClockThatJumpsForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, c := newGroup(), &skewed{}
		g.create(t, timed(0))
		m := sequence.NewTimeIDsAt(g, c.now)
		first := makeIDs(t, m, 1)[0]
		tries := g.tried()
		c.by.Store(int64(10 * time.Second))
		next := makeIDs(t, m, 1)[0]
		require.Greater(t, g.tried(), tries, "it asked for a window there")
		require.InDelta(t, 10_000, next>>22-first>>22, 100)
		require.NoError(t, m.Close())
	})
}

// Two workers, five makers that are paused and whose clocks jump: whoever holds a worker
// makes nothing that another holder made.
func TestFencedMakersMakeNothingTwice(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			g := newGroup()
			g.create(t, timed(1))
			var makers []*sequence.TimeIDs
			var clocks []*skewed
			for range 5 {
				c := &skewed{}
				clocks, makers = append(clocks, c), append(makers, sequence.NewTimeIDsAt(g, c.now))
			}
			seen, made := map[int64]bool{}, 0
			for range 300 {
				i := r.IntN(len(makers))
				switch r.IntN(4) {
				case 0:
					clocks[i].by.Store(int64(time.Duration(r.IntN(20_000)-10_000) * time.Millisecond))
				case 1:
					time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				default:
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					id, err := makers[i].Next(ctx)
					cancel()
					if err == nil {
						require.False(t, seen[id], "seed %d", seed)
						seen[id] = true
						made++
					}
				}
			}
			require.Greater(t, made, 10, "seed %d", seed)
			for _, m := range makers {
				require.NoError(t, m.Close())
			}
		})
	}
}

func TestTimeIDsOfWhatHasNone(t *testing.T) {
	g := newGroup()
	m := openTimeIDs(t, g)
	_, err := m.Next(t.Context())
	require.ErrorIs(t, err, sequence.ErrRefused)
	require.NoError(t, m.Close())
	_, err = m.Next(t.Context())
	require.ErrorIs(t, err, sequence.ErrClosed)

	g = newGroup()
	g.create(t, timed(0))
	m = openTimeIDs(t, g)
	makeIDs(t, m, 1)
	require.NoError(t, m.Close())
	require.Zero(t, g.describe(t).GetWorkers(), "the worker is free")
}

func BenchmarkTimeID(b *testing.B) {
	g := newGroup()
	g.create(b, &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TIME, Time: &sequencepb.TimeLayout{CounterBits: 22, WorkerBits: 1, TimeBits: 40, EpochMs: 1_700_000_000_000, LeaseMs: 60_000}})
	m := openTimeIDs(b, g)
	for b.Loop() {
		if _, err := m.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
