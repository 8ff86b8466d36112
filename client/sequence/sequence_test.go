package sequence_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client/sequence"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	machine "github.com/drumline/drumline/statemachines/sequence"
)

// open is a Sequence that is closed at the end of the test.
func open(t testing.TB, g *group, opts ...sequence.Option) *sequence.Sequence {
	q := sequence.New(g, "sequence/test", "", opts...)
	t.Cleanup(func() { shut(t, q) })
	return q
}

// take takes n numbers.
func take(t testing.TB, q *sequence.Sequence, n int) []int64 {
	t.Helper()
	out := make([]int64, n)
	for i := range out {
		var err error
		out[i], err = q.Next(t.Context())
		require.NoError(t, err)
	}
	return out
}

// upTo is 1 to n.
func upTo(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i + 1)
	}
	return out
}

// crowd takes n numbers in each of many goroutines, and sees that each gets ascending ones.
func crowd(t testing.TB, q *sequence.Sequence, goroutines, n int) []int64 {
	var mu sync.Mutex
	var all []int64
	var work sync.WaitGroup
	for range goroutines {
		work.Go(func() {
			mine := make([]int64, 0, n)
			for range n {
				v, err := q.Next(t.Context())
				if err != nil {
					break
				}
				mine = append(mine, v)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(mine) < n || !slices.IsSorted(mine) {
				t.Errorf("got %d of %d numbers, or not in order", len(mine), n)
			}
			all = append(all, mine...)
		})
	}
	work.Wait()
	slices.Sort(all)
	return all
}

func TestDense(t *testing.T) {
	for _, buffer := range []int{-42, 0, 1, 2, 1024} {
		t.Run(fmt.Sprint(buffer), func(t *testing.T) {
			g := newGroup()
			require.Equal(t, upTo(300), take(t, open(t, g, sequence.Buffer(buffer)), 300))
		})
		t.Run(fmt.Sprint(buffer, " by 256 goroutines"), func(t *testing.T) {
			g := newGroup()
			require.Equal(t, upTo(256*40), crowd(t, open(t, g, sequence.Buffer(buffer)), 256, 40))
		})
	}
	t.Run("by its mode", func(t *testing.T) {
		g := newGroup()
		require.Equal(t, upTo(300), take(t, open(t, g), 300))
		require.EqualValues(t, 301, g.describe(t).GetNext(), "no more than its user asked for")
	})
}

// Many Sequences of one name, each with another buffer: what broke rr_seq.
func TestMixedBuffersShareNothing(t *testing.T) {
	g := newGroup()
	var mu sync.Mutex
	seen := map[int64]bool{}
	var work sync.WaitGroup
	for i := range 32 {
		q := open(t, g, sequence.Buffer([]int{0, 1, 2, 10, 13, 1000, 1250, 1024}[i%8]))
		work.Go(func() {
			mine := crowd(t, q, 2, 500)
			mu.Lock()
			defer mu.Unlock()
			for _, n := range mine {
				if seen[n] {
					t.Errorf("%d was handed out twice", n)
				}
				seen[n] = true
			}
		})
	}
	work.Wait()
	require.Len(t, seen, 32*2*500)
}

func TestLostAnswersLeaveNoGap(t *testing.T) {
	for _, buffer := range []int{0, 7} {
		g := newGroup()
		g.lost = 3
		require.Equal(t, upTo(60), take(t, open(t, g, sequence.Buffer(buffer)), 60))
	}
}

func TestCloseGivesTheTailBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		q := open(t, g, sequence.Buffer(1000))
		take(t, q, 700) // past the middle, so that more is on its way
		require.NoError(t, q.Close())
		require.NoError(t, q.Close(), "twice is once")
		_, err := q.Next(t.Context())
		require.ErrorIs(t, err, sequence.ErrClosed)
		i := g.describe(t)
		require.EqualValues(t, 701, i.GetNext())
		require.Zero(t, i.GetUnused()+i.GetLost()+i.GetOutstanding())
		require.Equal(t, []int64{701}, take(t, open(t, g), 1))
	})
}

func TestWhatIsSettledIsForgotten(t *testing.T) {
	g := newGroup()
	q := open(t, g, sequence.Buffer(10))
	take(t, q, 5000)
	require.Less(t, g.describe(t).GetOutstandingRanges(), uint64(20))
}

func TestCachedRangesGrowWithTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		g.create(t, &sequencepb.Definition{Mode: sequencepb.Mode_MODE_CACHED, Cache: 100})
		g.slow = 2 * time.Millisecond
		q := open(t, g)
		for range 20_000 { // 20 s at 1,000 a second
			take(t, q, 1)
			time.Sleep(time.Millisecond)
		}
		i := g.describe(t)
		ahead := i.GetNext() - 20_001
		require.GreaterOrEqual(t, ahead, int64(3000), "some seconds of supply")
		require.Less(t, ahead, int64(40_000))
		// While the group is away for 4 s, nobody notices.
		g.change(func() { g.away = true })
		began := time.Now()
		for range 4000 {
			take(t, q, 1)
			time.Sleep(time.Millisecond)
		}
		require.Less(t, time.Since(began), 4500*time.Millisecond)
		g.change(func() { g.away = false })
	})
}

func TestScattered(t *testing.T) {
	g := newGroup()
	g.create(t, &sequencepb.Definition{Mode: sequencepb.Mode_MODE_SCATTER, ScatterBits: 8})
	q := open(t, g)
	seen := map[int64]bool{}
	for _, n := range take(t, q, 255) {
		require.True(t, n > 0 && n < 256 && !seen[n], n)
		seen[n] = true
	}
	require.True(t, seen[128], "1, reversed")
	_, err := q.Next(t.Context())
	require.ErrorIs(t, err, sequence.ErrExhausted)
}

func TestDescending(t *testing.T) {
	g := newGroup()
	g.create(t, &sequencepb.Definition{Step: -3, Max: proto.Int64(100), Min: proto.Int64(0)})
	require.Equal(t, []int64{100, 97, 94, 91, 88}, take(t, open(t, g, sequence.Buffer(2)), 5))
}

func TestTheEndPassesWhenTheSequenceIsExtended(t *testing.T) {
	g := newGroup()
	g.create(t, &sequencepb.Definition{Max: proto.Int64(3)})
	q := open(t, g)
	require.Equal(t, upTo(3), take(t, q, 3))
	_, err := q.Next(t.Context())
	require.ErrorIs(t, err, sequence.ErrExhausted)
	require.NoError(t, q.Err(), "it does not stay")
	g.do(t, &sequencepb.Command{Op: &sequencepb.Command_Set{Set: &sequencepb.Set{Definition: &sequencepb.Definition{}}}})
	require.Equal(t, []int64{4}, take(t, q, 1))
}

func TestNextN(t *testing.T) {
	g := newGroup()
	q := open(t, g, sequence.Buffer(100))
	take(t, q, 1)
	r, err := q.NextN(t.Context(), 7)
	require.NoError(t, err)
	require.EqualValues(t, 7, r.Count)
	require.Greater(t, r.First, int64(100))
	require.Equal(t, r.First+6, r.Number(6))
	require.Equal(t, []int64{2}, take(t, q, 1))
}

func TestStream(t *testing.T) {
	for buffer, room := range map[int]int{-42: 0, 0: 0, 1: 1, 1000: 1000} {
		g := newGroup()
		q := open(t, g, sequence.Buffer(buffer))
		s := q.Stream()
		require.Equal(t, room, cap(s))
		require.EqualValues(t, 1, <-s, "the first ID")
		require.EqualValues(t, 2, <-q.Stream(), "it is the same channel")
		shut(t, q)
		last := int64(2)
		for n := range s {
			require.Equal(t, last+1, n, "what is in it can be read")
			last = n
		}
	}
	g := newGroup()
	q := open(t, g)
	shut(t, q)
	_, more := <-q.Stream()
	require.False(t, more)
}

// While the group is away, callers are told why they wait, what is in hand goes on, and
// nothing spins.
func TestAGroupThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		q := open(t, g, sequence.Buffer(10))
		take(t, q, 6)
		synctest.Wait() // the next range is here
		g.change(func() { g.away = true })
		before := g.tried()
		take(t, q, 14)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := q.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errAway)
		require.Less(t, g.tried()-before, 6*130, "tries of all ranges on their way in a minute")
		g.change(func() { g.away = false })
		require.Equal(t, []int64{21}, take(t, q, 1))
	})
}

func TestCloseWhileTheGroupIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		q := sequence.New(g, "sequence/test", "", sequence.Buffer(10))
		take(t, q, 1)
		g.change(func() { g.away, g.slow = true, time.Hour })
		began := time.Now()
		require.Error(t, q.Close())
		require.LessOrEqual(t, time.Since(began), time.Second)
		began = time.Now()
		unused := sequence.New(g, "sequence/test", "")
		require.NoError(t, unused.Close())
		require.Zero(t, time.Since(began), "who took nothing has nothing to say")
	})
}

func TestAGroupThatDoesNotExist(t *testing.T) {
	g := newGroup()
	g.none = true
	q := open(t, g)
	_, err := q.Next(t.Context())
	require.ErrorIs(t, err, errWrong)
	require.ErrorIs(t, err, sequence.ErrRefused)
	g.change(func() { g.none = false })
	require.Equal(t, []int64{1}, take(t, q, 1))
}

// A cluster that was set up anew under the old addresses: never 1 again in silence.
func TestADifferentClusterIsAnError(t *testing.T) {
	for name, id := range map[string]uint64{"the same number": 1000, "another number": 1001} {
		t.Run(name, func(t *testing.T) {
			g := newGroup()
			q := open(t, g)
			take(t, q, 5)
			g.change(func() { g.m = machine.New(statemachines.Group{ID: id}) })
			_, err := q.Next(t.Context())
			require.ErrorIs(t, err, sequence.ErrDifferent)
			_, err = q.Next(t.Context())
			require.ErrorIs(t, err, sequence.ErrDifferent)
			require.ErrorIs(t, q.Err(), sequence.ErrDifferent)
			g.change(func() { g.away = false })
		})
	}
	t.Run("as many clients and numbers", func(t *testing.T) {
		g := newGroup()
		q := open(t, g)
		take(t, q, 5)
		g.change(func() { g.m, g.born = machine.New(statemachines.Group{ID: 1000}), g.born+1 })
		for range 3 { // whoever opens itself now is a later client than q was
			other := sequence.New(g, "sequence/test", "")
			take(t, other, 5)
			shut(t, other)
		}
		_, err := q.Next(t.Context())
		require.ErrorIs(t, err, sequence.ErrDifferent)
		require.ErrorIs(t, q.Err(), sequence.ErrDifferent)
	})
	t.Run("dropped and made anew", func(t *testing.T) {
		g := newGroup()
		q := open(t, g)
		take(t, q, 5)
		g.do(t, &sequencepb.Command{Op: &sequencepb.Command_Drop{Drop: &sequencepb.Drop{}}})
		g.create(t, nil)
		_, err := q.Next(t.Context())
		require.ErrorIs(t, err, sequence.ErrDifferent)
	})
}

// After a recovery the client waits until the group is resumed, and says what it knows.
func TestARecoveryIsGoneThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		q := open(t, g, sequence.Buffer(100))
		take(t, q, 10)
		g.change(func() { g.m.Recovered(1) })
		go func() {
			time.Sleep(5 * time.Second)
			g.do(t, &sequencepb.Command{Op: &sequencepb.Command_Resume{Resume: &sequencepb.Resume{Margin: 1}}})
		}()
		got := take(t, q, 400)
		require.True(t, slices.IsSorted(got))
		require.Len(t, slices.Compact(got), 400)
	})
}

func TestAQuotaIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		g.create(t, &sequencepb.Definition{Quota: &sequencepb.Quota{Numbers: 10, PeriodMs: 1000}})
		began := time.Now()
		require.Equal(t, upTo(30), take(t, open(t, g), 30))
		require.GreaterOrEqual(t, time.Since(began), 2*time.Second)
		require.Less(t, time.Since(began), 10*time.Second)
	})
}

// Clients that were forgotten for newer ones open themselves anew and go on.
func TestAClientThatWasForgotten(t *testing.T) {
	g := newGroup()
	q := open(t, g)
	take(t, q, 3)
	for range machine.MaxClients {
		g.do(t, &sequencepb.Command{Op: &sequencepb.Command_Open{Open: &sequencepb.Open{Nonce: 1}}})
	}
	require.Equal(t, []int64{4, 5}, take(t, q, 2))
}

func BenchmarkNext(b *testing.B) {
	g := newGroup()
	g.create(b, &sequencepb.Definition{Mode: sequencepb.Mode_MODE_CACHED, Cache: 1 << 20})
	q, ctx := open(b, g), b.Context()
	for b.Loop() {
		if _, err := q.Next(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
