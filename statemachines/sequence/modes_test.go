package sequence_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence"
)

func TestGapFree(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE, ReservationMs: 500, Max: proto.Int64(3)})).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_WRONG_MODE, w.do(take(1)).GetOutcome())
	one, two := w.do(reserve(0)).GetReservation(), w.do(reserve(2000)).GetReservation()
	require.EqualValues(t, 500, one.GetForMs())
	w.pass(500)
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, w.do(commit(one)).GetOutcome(), "too late")
	again := w.do(reserve(0)).GetReservation()
	require.Equal(t, one.GetNumber(), again.GetNumber())
	require.NotEqual(t, one.GetToken(), again.GetToken())
	require.Equal(t, okay, w.do(commit(two)).GetOutcome())
	require.Equal(t, okay, w.do(cancel(again)).GetOutcome())
	require.EqualValues(t, 1, w.do(reserve(0)).GetReservation().GetNumber())
	require.EqualValues(t, 3, w.do(reserve(0)).GetReservation().GetNumber())
	require.Equal(t, exhausted, w.do(reserve(0)).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_WRONG_MODE, w.do(set(&sequencepb.Set{Definition: &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE, Step: 2}})).GetOutcome())
	i := w.describe("")
	require.Equal(t, []uint64{2, 1, 0}, []uint64{i.GetReserved(), i.GetCommitted(), i.GetVacant()})
}

// A cluster that was set up anew counts from the start, and must not take a reservation or
// a worker of the one before for its own.
func TestTokensOfAnotherCluster(t *testing.T) {
	at := func(now uint64) (*world, *sequencepb.Reservation, *sequencepb.Worker) {
		w := newWorld(t)
		do := func(c *sequencepb.Command) *sequencepb.Result {
			c.NowMs = now
			r := w.do(c)
			require.Equal(t, okay, r.GetOutcome(), r.GetDetail())
			return r
		}
		do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE}))
		do(create("time", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TIME}))
		return w, do(reserve(0)).GetReservation(), do(lease(&sequencepb.LeaseWorker{Key: "time", NowMs: 5000})).GetWorker()
	}
	_, reserved, leased := at(1_700_000_000_000)
	w, mine, worker := at(1_700_000_000_001)
	require.Equal(t, []uint64{uint64(mine.GetNumber()), uint64(worker.GetWorker())}, []uint64{uint64(reserved.GetNumber()), uint64(leased.GetWorker())})
	for _, c := range []*sequencepb.Command{commit(reserved), cancel(reserved)} {
		require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, w.do(c).GetOutcome())
	}
	renew := &sequencepb.LeaseWorker{Key: "time", Worker: &leased.Worker, Token: leased.GetToken(), NowMs: 5000}
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, w.do(lease(renew)).GetOutcome())
	require.Equal(t, okay, w.do(commit(mine)).GetOutcome())
}

func TestReservationsAreBounded(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE})).GetOutcome())
	for range sequence.MaxReservations {
		require.Equal(t, okay, w.do(reserve(0)).GetOutcome())
	}
	require.Equal(t, sequencepb.Outcome_OUTCOME_FULL, w.do(reserve(0)).GetOutcome())
	w.pass(30_000)
	require.EqualValues(t, 1, w.do(reserve(0)).GetReservation().GetNumber(), "all were over at once")
	w.reload()
}

func TestWorkers(t *testing.T) {
	w := newWorld(t)
	layout := &sequencepb.TimeLayout{WorkerBits: 1, EpochMs: 1000, LeaseMs: 1000}
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TIME, Time: layout})).GetOutcome())
	take := func(now uint64) *sequencepb.Result { return w.do(lease(&sequencepb.LeaseWorker{NowMs: now})) }
	a, b := take(5000).GetWorker(), take(5000).GetWorker()
	require.NotEqual(t, a.GetWorker(), b.GetWorker())
	require.Equal(t, []uint64{0, 7000}, []uint64{a.GetFloorMs(), a.GetCeilingMs()})
	require.EqualValues(t, 41, a.GetLayout().GetTimeBits())
	full := take(5000)
	require.Equal(t, sequencepb.Outcome_OUTCOME_FULL, full.GetOutcome())
	require.EqualValues(t, 1000, full.GetRetryMs())
	require.EqualValues(t, 2, w.describe("").GetWorkers())

	w.pass(600)
	renewed := w.do(lease(&sequencepb.LeaseWorker{Worker: &a.Worker, Token: a.GetToken(), NowMs: 5600})).GetWorker()
	require.EqualValues(t, 7600, renewed.GetCeilingMs())
	w.pass(400)
	c := take(2000).GetWorker() // the clock of this one is behind
	require.Equal(t, b.GetWorker(), c.GetWorker(), "a was renewed, b is over")
	require.Equal(t, b.GetCeilingMs(), c.GetFloorMs(), "it must wait until its clock is beyond")
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, w.do(lease(&sequencepb.LeaseWorker{Worker: &b.Worker, Token: b.GetToken(), NowMs: 6000})).GetOutcome())
	require.Equal(t, okay, w.do(release(a)).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, w.do(release(a)).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, w.do(release(&sequencepb.Worker{Worker: a.GetWorker()})).GetOutcome(), "no token is no lease")
	require.Equal(t, a.GetWorker(), take(9000).GetWorker().GetWorker())
	require.Equal(t, invalid, take(999).GetOutcome(), "before the epoch")
	require.Equal(t, invalid, take(1<<42).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_WRONG_MODE, w.do(next(nil)).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_WRONG_MODE, w.do(restart(&sequencepb.Restart{})).GetOutcome())
}

// advance moves the window of timestamps on.
func advance(a *sequencepb.Advance) *sequencepb.Command {
	return &sequencepb.Command{Op: &sequencepb.Command_Advance{Advance: a}}
}

// newest is the newest window of a key.
func (w *world) newest(key string) *sequencepb.Window {
	return w.query(&sequencepb.Query{Op: &sequencepb.Query_Window{Window: &sequencepb.GetWindow{Key: key}}}).GetWindow()
}

func TestTimestamps(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO, LogicalBits: 8})).GetOutcome())
	require.Nil(t, w.newest(""))
	require.Equal(t, sequencepb.Outcome_OUTCOME_TIMESTAMPS, w.do(take(1)).GetOutcome(), "whatever now_ms it carries")
	a := w.do(advance(&sequencepb.Advance{UntilMs: 1000})).GetWindow()
	require.Equal(t, []uint64{0, 1001<<8 - 1, 8}, []uint64{a.GetFirst(), a.GetLast(), uint64(a.GetLogicalBits())})
	mine := func(of *sequencepb.Window, until uint64) *sequencepb.Result {
		return w.do(advance(&sequencepb.Advance{Window: of.GetWindow(), Incarnation: of.GetIncarnation(), UntilMs: until, Issued: 70}))
	}
	b := mine(a, 2000).GetWindow()
	require.Equal(t, []uint64{1001 << 8, 2001<<8 - 1}, []uint64{b.GetFirst(), b.GetLast()})
	require.Equal(t, a.GetWindow(), b.GetWindow())
	require.Equal(t, b.GetLast(), mine(a, 900).GetWindow().GetLast(), "a clock that is behind takes nothing back")
	require.EqualValues(t, 140, w.describe("").GetIssued())
	require.Equal(t, b.GetWindow(), w.newest("").GetWindow())

	c := w.do(advance(&sequencepb.Advance{UntilMs: 500})).GetWindow()
	require.Greater(t, c.GetFirst(), c.GetLast(), "another window begins beyond all that were, whatever its clock says")
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, mine(a, 9000).GetOutcome())
	require.Equal(t, invalid, w.do(advance(&sequencepb.Advance{UntilMs: 1<<55 - 1})).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_FOUND, w.do(advance(&sequencepb.Advance{Key: "none"})).GetOutcome())
	require.Equal(t, okay, w.do(create("dense", nil)).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_WRONG_MODE, w.do(advance(&sequencepb.Advance{Key: "dense"})).GetOutcome())
	require.Nil(t, w.newest("dense"))
	require.Zero(t, w.describe("").GetSkipped(), "time that passed is no gap")

	require.Equal(t, okay, w.do(drop("")).GetOutcome())
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO, LogicalBits: 8})).GetOutcome())
	w.do(advance(&sequencepb.Advance{UntilMs: 500}))
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, mine(a, 9000).GetOutcome(), "a sequence of the same name is another one")
}

// After a recovery no window of the life before counts, and the margin is milliseconds.
func TestTimestampsAfterARecovery(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO, LogicalBits: 8})).GetOutcome())
	a := w.do(advance(&sequencepb.Advance{UntilMs: 1000})).GetWindow()
	w.m.Recovered(1)
	require.Nil(t, w.newest(""))
	require.Equal(t, sequencepb.Outcome_OUTCOME_CLOSED, w.do(advance(&sequencepb.Advance{UntilMs: 2000})).GetOutcome())
	require.Equal(t, okay, w.do(resume(&sequencepb.Resume{Margin: 500})).GetOutcome())
	again := w.do(advance(&sequencepb.Advance{Window: a.GetWindow(), Incarnation: a.GetIncarnation(), UntilMs: 2000}))
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, again.GetOutcome())
	b := w.do(advance(&sequencepb.Advance{UntilMs: 2000})).GetWindow()
	require.EqualValues(t, 1501<<8, b.GetFirst())
}

// Reservations and workers of a sequence that is gone are not asked of its successor.
func TestIncarnationsOfReservationsAndWorkers(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, okay, w.do(create("free", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE})).GetOutcome())
	require.Equal(t, okay, w.do(create("time", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TIME})).GetOutcome())
	res := func(incarnation uint64) *sequencepb.Result {
		return w.do(&sequencepb.Command{Op: &sequencepb.Command_Reserve{Reserve: &sequencepb.Reserve{Key: "free", Incarnation: incarnation}}})
	}
	work := func(incarnation uint64) *sequencepb.Result {
		return w.do(lease(&sequencepb.LeaseWorker{Key: "time", NowMs: 1000, Incarnation: incarnation}))
	}
	r, l := res(0).GetReservation().GetIncarnation(), work(0).GetWorker().GetIncarnation()
	require.Equal(t, okay, res(r).GetOutcome())
	require.Equal(t, okay, work(l).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_INCARNATION, res(l).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_INCARNATION, work(r).GetOutcome())
}

func TestPlainClientsGetPlainNumbersOnly(t *testing.T) {
	for _, d := range []*sequencepb.Definition{{Step: 2}, {Step: -1}, {Min: proto.Int64(-4)}, {Mode: sequencepb.Mode_MODE_SCATTER}, {Mode: sequencepb.Mode_MODE_GAPFREE}, {Mode: sequencepb.Mode_MODE_TIME}} {
		w := newWorld(t)
		require.Equal(t, okay, w.do(create("", d)).GetOutcome())
		require.Equal(t, sequencepb.Outcome_OUTCOME_WRONG_MODE, w.do(next(&sequencepb.Next{Plain: true})).GetOutcome())
	}
	w := newWorld(t)
	require.Equal(t, []int64{1}, numbers(t, w.do(next(&sequencepb.Next{Plain: true}))))
}
