package sequence_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client/sequence"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

var gapFree = &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE}

func openGapFree(t testing.TB, g *group) *sequence.GapFree {
	q := sequence.NewGapFree(g, "sequence/test", "")
	t.Cleanup(func() { shut(t, q) })
	return q
}

func reserve(t testing.TB, q *sequence.GapFree, opts ...sequence.ReserveOption) *sequence.Reservation {
	t.Helper()
	r, err := q.Reserve(t.Context(), opts...)
	require.NoError(t, err)
	return r
}

func TestReservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		g.create(t, gapFree)
		q := openGapFree(t, g)
		a, b, c := reserve(t, q), reserve(t, q), reserve(t, q, sequence.For(time.Minute))
		require.Equal(t, []int64{1, 2, 3}, []int64{a.Number(), b.Number(), c.Number()})
		require.Equal(t, 30*time.Second, time.Until(b.Until()))
		require.NoError(t, a.Cancel(t.Context()))
		require.NoError(t, a.Cancel(t.Context()), "twice is fine")
		require.ErrorContains(t, a.Commit(t.Context()), "it is cancelled")
		require.EqualValues(t, 1, reserve(t, q).Number(), "it is the next to be reserved")

		time.Sleep(31 * time.Second)
		require.NoError(t, c.Commit(t.Context()))
		require.NoError(t, c.Commit(t.Context()), "it stays committed")
		require.ErrorContains(t, c.Cancel(t.Context()), "it is committed")
		require.EqualValues(t, 1, reserve(t, q).Number())
		require.EqualValues(t, 2, reserve(t, q).Number(), "its reservation is over")
		require.ErrorIs(t, b.Commit(t.Context()), sequence.ErrExpired)
		require.NoError(t, b.Cancel(t.Context()))
		require.EqualValues(t, 1, g.describe(t).GetCommitted())
	})
}

// Answers get lost, holders forget: committed numbers are 1 to n all the same, each once.
func TestCommittedNumbersHaveNoGap(t *testing.T) {
	g := newGroup()
	g.create(t, &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE, ReservationMs: 50})
	g.change(func() { g.lost = 3 })
	var mu sync.Mutex
	var committed []int64
	var work sync.WaitGroup
	for i := range 8 {
		q := openGapFree(t, g)
		r := rand.New(rand.NewPCG(1, uint64(i)))
		work.Go(func() {
			for done := 0; done < 15; {
				n, err := q.Reserve(t.Context(), sequence.For(time.Minute))
				require.NoError(t, err)
				switch r.IntN(3) {
				case 0:
					require.NoError(t, n.Cancel(t.Context()))
				default:
					require.NoError(t, n.Commit(t.Context()))
					mu.Lock()
					committed = append(committed, n.Number())
					mu.Unlock()
					done++
				}
			}
		})
	}
	work.Wait()
	slices.Sort(committed)
	require.Equal(t, upTo(8*15), slices.Compact(committed))
	require.Len(t, committed, 8*15)
}

// A commit whose context ends is found out by the next one, though the number would be
// somebody else's by now if it had not been applied.
func TestACommitWhoseAnswerIsLostIsFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		g.create(t, gapFree)
		q := openGapFree(t, g)
		r := reserve(t, q)
		g.change(func() { g.lost = 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := r.Commit(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "what it waits for: no quorum")
		require.ErrorIs(t, r.Cancel(t.Context()), sequence.ErrUnsure)
		time.Sleep(time.Minute)
		g.change(func() { g.lost = 0 })
		require.NoError(t, r.Commit(t.Context()))
		require.EqualValues(t, 1, g.describe(t).GetCommitted())
	})
}

func TestCloseCancelsWhatIsReserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		g.create(t, gapFree)
		q := openGapFree(t, g)
		a, b := reserve(t, q), reserve(t, q)
		require.NoError(t, a.Commit(t.Context()))
		require.NoError(t, q.Close())
		info := g.describe(t)
		require.Equal(t, []uint64{0, 1, 1}, []uint64{info.GetReserved(), info.GetVacant(), info.GetCommitted()})
		require.ErrorContains(t, b.Commit(t.Context()), "it is cancelled")
		_, err := q.Reserve(t.Context())
		require.ErrorIs(t, err, sequence.ErrClosed)

		away := sequence.NewGapFree(g, "sequence/test", "")
		for range 5 {
			reserve(t, away)
		}
		g.change(func() { g.away = true })
		waiting := make(chan error)
		go func() {
			_, err := away.Reserve(t.Context())
			waiting <- err
		}()
		synctest.Wait()
		began := time.Now()
		closed := make(chan error)
		go func() { closed <- away.Close() }()
		require.ErrorIs(t, <-waiting, sequence.ErrClosed)
		require.Error(t, <-closed)
		require.LessOrEqual(t, time.Since(began), time.Second)
	})
}

func TestAGapFreeSequenceMadeAnewIsAnother(t *testing.T) {
	g := newGroup()
	g.create(t, gapFree)
	q := openGapFree(t, g)
	reserve(t, q)
	g.do(t, &sequencepb.Command{Op: &sequencepb.Command_Drop{Drop: &sequencepb.Drop{}}})
	g.create(t, gapFree)
	_, err := q.Reserve(t.Context())
	require.ErrorIs(t, err, sequence.ErrDifferent)
	dense := newGroup()
	_, err = openGapFree(t, dense).Reserve(t.Context())
	require.ErrorIs(t, err, sequence.ErrRefused)
}
