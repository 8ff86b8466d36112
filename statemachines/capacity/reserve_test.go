package capacity_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
)

// The answer that takes capacity away may be lost: it is given to others only when
// the client has shown that it knows.
func TestCapacityTakenStaysReservedUntilTheClientKnows(t *testing.T) {
	r := divided(t, fair, 100)
	big := r.ask(wants("big", 100))
	same(t, 100.0, big.GetCapacity())
	require.Zero(t, r.ask(wants("new", 100)).GetCapacity())

	r.now += 15 * time.Second
	less := r.ask(known(wants("big", 100), big))
	same(t, 50.0, less.GetCapacity())
	require.EqualValues(t, 200, less.GetRetryMs(), "somebody waits for the receipt")
	waits := r.ask(wants("new", 100))
	require.Zero(t, waits.GetCapacity(), "big may not have heard of it")
	require.EqualValues(t, 3750, waits.GetRetryMs())
	same(t, 100.0, r.find("big").GetReserved())

	again := r.ask(known(wants("big", 100), big))
	same(t, 50.0, again.GetCapacity(), "big shows the old token: the answer was lost")
	same(t, 100.0, r.find("big").GetReserved())

	r.now += time.Second
	shown := r.ask(known(wants("big", 100), again))
	same(t, 50.0, shown.GetCapacity())
	require.Zero(t, shown.GetRetryMs())
	same(t, 50.0, r.ask(wants("new", 100)).GetCapacity())
}

func TestCapacityTakenIsFreeWhenTheOlderLeaseEnds(t *testing.T) {
	r := divided(t, fair, 100)
	big := r.ask(wants("big", 100)) // until 61 s
	r.ask(wants("new", 100))
	r.now += 50 * time.Second
	r.ask(known(wants("big", 100), big))
	r.now = 61 * time.Second
	require.Zero(t, r.ask(wants("new", 100)).GetCapacity(), "its last instant still counts")
	r.now++
	same(t, 50.0, r.ask(wants("new", 100)).GetCapacity())
	same(t, 50.0, r.find("big").GetReserved())
}

// Clients of the original know no tokens; what they have shows what they know.
func TestTheNewestAnswerAsWhatAClientHasIsAReceipt(t *testing.T) {
	r := divided(t, proportional, 100)
	has := func(id string, w, h float64) *capacitypb.Request {
		q := wants(id, w)
		q.Has = &h
		return q
	}
	r.ask(wants("big", 100))
	r.ask(wants("new", 100))
	same(t, 50.0, r.ask(has("big", 100, 100)).GetCapacity())
	require.Zero(t, r.ask(has("new", 100, 0)).GetCapacity())
	r.ask(has("big", 100, 49))
	require.Zero(t, r.ask(has("new", 100, 0)).GetCapacity(), "49 is not what it was answered")
	r.ask(has("big", 100, 50))
	same(t, 50.0, r.ask(has("new", 100, 0)).GetCapacity())
}

// Our clients limit themselves before they ask for less, so what they stop using
// is free at once; others go on until they read the answer.
func TestALimitedClientFreesCapacityAtOnce(t *testing.T) {
	for name, limited := range map[string]bool{"limited": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			r := divided(t, fair, 100)
			big := r.ask(wants("big", 100))
			less := known(wants("big", 20), big)
			less.Limited = limited
			same(t, 20.0, r.ask(less).GetCapacity())
			want := 0.0
			if limited {
				want = 80
			}
			same(t, want, r.ask(wants("new", 80)).GetCapacity())
		})
	}
}

func TestALimitedClientThatMissedAnAnswerFreesNothing(t *testing.T) {
	r := divided(t, fair, 100)
	first := r.ask(wants("a", 10))
	r.ask(known(wants("a", 100), first)) // lost
	less := known(wants("a", 5), first)
	less.Limited = true
	same(t, 5.0, r.ask(less).GetCapacity())
	same(t, 100.0, r.find("a").GetReserved())
}

func TestManyLostAnswersReserveTheMost(t *testing.T) {
	r := divided(t, fair, 100)
	first := r.ask(wants("a", 90))
	for w := 80.0; w > 0; w -= 10 {
		r.now += time.Second
		same(t, w, r.ask(known(wants("a", w), first)).GetCapacity())
	}
	same(t, 90.0, r.find("a").GetReserved())
	last := r.find("a")
	r.ask(known(wants("a", 5), &capacitypb.Grant{Capacity: 10, Token: last.GetToken()}))
	same(t, 10.0, r.find("a").GetReserved())
}

func TestARepeatedRequestGetsTheSameAnswer(t *testing.T) {
	r := divided(t, fair, 100)
	q := wants("a", 60)
	q.Serial = 7
	first := r.ask(q)
	r.ask(wants("b", 100))
	r.now += 10 * time.Second
	second := r.ask(q)
	require.Equal(t, first.GetToken().GetN(), second.GetToken().GetN())
	same(t, 60.0, second.GetCapacity())
	require.EqualValues(t, 50_000, second.GetLeaseMs(), "of the lease that it was given then")
	late := known(wants("a", 60), second)
	late.Serial = 6
	require.Equal(t, capacitypb.Outcome_OUTCOME_STALE, r.ask(late).GetOutcome())
	q.Serial = 8
	same(t, 50.0, r.ask(q).GetCapacity())
	q.Serial = 1
	g := r.ask(q)
	require.Equal(t, capacitypb.Outcome_OUTCOME_OK, g.GetOutcome(), "a client that began anew has no token")
	same(t, 60, r.find("a").GetReserved(), "the one before may still run")
}

func TestALowerCapacityIsReachedAsLeasesAreRefreshed(t *testing.T) {
	for _, a := range []capacitypb.Algorithm{proportional, fair, priority} {
		r := divided(t, a, 90)
		for _, id := range []string{"a", "b", "c"} {
			same(t, 30.0, r.settled(wants(id, 30)))
		}
		r.configure(define(a, 30))
		require.Zero(t, r.settled(wants("a", 30)), "%v: b and c still use more than there is", a)
		require.Zero(t, r.settled(wants("b", 30)))
		same(t, 10.0, r.settled(wants("c", 30)))
		same(t, 10.0, r.settled(wants("a", 30)))
		same(t, 10.0, r.settled(wants("b", 30)))
	}
}

// A client that gave its share back and asked again uses its new lease: a release that
// was held up on its way must not give that to another.
func TestALateReleaseTakesNoNewerLease(t *testing.T) {
	r := divided(t, fair, 100)
	asks := func(serial uint64) *capacitypb.Request {
		q := wants("a", 60)
		q.Serial = serial
		return q
	}
	release := func(serial uint64) {
		what := &capacitypb.Release{ClientIds: []string{"a"}, Serial: serial}
		out := r.apply(&capacitypb.Command{Op: &capacitypb.Command_Release{Release: what}})
		require.Equal(t, capacitypb.Outcome_OUTCOME_OK, out.GetOutcome(), out.GetDetail())
	}
	require.InDelta(t, 60, r.settled(asks(7)), 1e-9)
	require.InDelta(t, 60, r.settled(asks(9)), 1e-9) // the release, 8, is still on its way
	release(8)
	require.NotNil(t, r.find("a"))
	require.InDelta(t, 40, r.settled(wants("b", 100)), 1e-9)
	release(10)
	require.Nil(t, r.find("a"))
}
