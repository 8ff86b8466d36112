package counter_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/counter"
)

func newReader(p []byte) io.Reader { return bytes.NewReader(p) }

func TestAdd(t *testing.T) {
	w := newWorld(t, 1000, "")
	require.False(t, w.get("").GetFound())
	require.EqualValues(t, 0, w.must(add("", 0)).GetValue())
	require.False(t, w.get("").GetFound(), "adding nothing makes nothing")
	require.EqualValues(t, 3, w.must(add("", 3)).GetValue())
	require.EqualValues(t, 1, w.must(add("", -2)).GetValue())
	require.EqualValues(t, 7, w.must(add("other", 7)).GetValue())
	r := w.must(add("", 1))
	require.Equal(t, w.status().GetVersion(), r.GetToken().GetVersion())
	require.Equal(t, w.status().GetOrigin().GetIncarnation(), r.GetToken().GetIncarnation())
}

// TestNothingWraps: at every edge the counter refuses and stays.
func TestNothingWraps(t *testing.T) {
	const over = counterpb.Outcome_OUTCOME_OVERFLOW
	w := newWorld(t, 1000, "")
	w.must(add("", math.MaxInt64-1))
	require.Equal(t, over, w.do(add("", 2)).GetOutcome())
	require.EqualValues(t, math.MaxInt64, w.must(add("", 1)).GetValue())
	require.Equal(t, over, w.do(add("", 1)).GetOutcome())
	require.EqualValues(t, math.MaxInt64-5, w.must(add("", -5)).GetValue())
	w.must(add("low", -math.MaxInt64))
	require.Equal(t, over, w.do(add("low", -2)).GetOutcome())
	require.Equal(t, counterpb.Outcome_OUTCOME_INVALID, w.do(add("low", math.MinInt64)).GetOutcome())
	// Two regions may pass the edge together: the value says so, and is the nearest.
	far := &counterpb.Slot{Origin: &counterpb.Origin{Region: "hkg", Incarnation: 5}, Added: math.MaxInt64}
	w.take(&counterpb.Entry{Slots: []*counterpb.Slot{far}})
	info := w.get("").GetCounters()[0]
	require.True(t, info.GetOverflow())
	require.EqualValues(t, math.MaxInt64, info.GetValue())
	require.Equal(t, over, w.do(add("", 1)).GetOutcome())
	w.reload()
}

// TestValue: the sum is right for any slots.
func TestValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 1000, "")
		e := &counterpb.Entry{}
		sum := int64(0)
		for i := range rapid.IntRange(1, 5).Draw(t, "slots") {
			up, down := rapid.Uint64Range(0, 1<<60).Draw(t, "added"), rapid.Uint64Range(0, 1<<60).Draw(t, "subtracted")
			e.Slots = append(e.Slots, &counterpb.Slot{Origin: &counterpb.Origin{Region: fmt.Sprint(i), Incarnation: 1}, Added: up, Subtracted: down})
			sum += int64(up) - int64(down)
		}
		w.take(e)
		require.Equal(t, sum, w.value(""))
	})
}

func TestOnce(t *testing.T) {
	w := newWorld(t, 1000, "")
	key := &counterpb.Key{High: 1, Low: 2, MadeMs: w.now}
	first := w.must(addOnce(5, key))
	w.must(add("", 1))
	for range 3 {
		again := w.must(addOnce(5, key))
		require.True(t, again.GetRepeated())
		require.Equal(t, first.GetValue(), again.GetValue())
		w.reload()
	}
	require.EqualValues(t, 6, w.value(""))
	require.Equal(t, counterpb.Outcome_OUTCOME_CONFLICT, w.do(addOnce(4, key)).GetOutcome())
	require.Equal(t, counterpb.Outcome_OUTCOME_INVALID, w.do(addOnce(4, &counterpb.Key{Low: 9, MadeMs: w.now + 61_000})).GetOutcome())
	require.Equal(t, counterpb.Outcome_OUTCOME_INVALID, w.do(addOnce(4, &counterpb.Key{})).GetOutcome())
	w.now += 3_600_001
	require.Equal(t, counterpb.Outcome_OUTCOME_TOO_OLD, w.do(addOnce(5, key)).GetOutcome())
	require.EqualValues(t, 6, w.value(""))
	w.configure(&counterpb.Settings{Remember: 2})
	for i := range uint64(3) {
		w.must(addOnce(1, &counterpb.Key{Low: 10 + i, MadeMs: w.now + i}))
	}
	require.EqualValues(t, 2, w.status().GetRemembered())
	require.Equal(t, counterpb.Outcome_OUTCOME_TOO_OLD, w.do(addOnce(1, &counterpb.Key{Low: 10, MadeMs: w.now})).GetOutcome())
	// What is refused leaves no trace under its key.
	w.configure(&counterpb.Settings{OnlyUp: true})
	refused := &counterpb.Key{Low: 20, MadeMs: w.now + 500}
	require.Equal(t, counterpb.Outcome_OUTCOME_ONLY_UP, w.do(addOnce(-1, refused)).GetOutcome())
	w.configure(&counterpb.Settings{})
	require.False(t, w.must(addOnce(-1, refused)).GetRepeated())
}

func TestWindows(t *testing.T) {
	w := newWorld(t, 1000, "ord")
	for range 180 * 10 { // ten a second for three minutes
		w.must(add("", 1))
		w.now += 100
	}
	require.True(t, w.status().GetUnsealed())
	w.now += 1000
	w.must(&counterpb.Command{Op: &counterpb.Command_Tick{Tick: &counterpb.Tick{}}})
	require.False(t, w.status().GetUnsealed())
	minutes := w.windows(counterpb.Resolution_RESOLUTION_MINUTE)
	sum := uint64(0)
	for i, x := range minutes {
		sum += x.GetAdded()
		require.LessOrEqual(t, x.GetAdded(), uint64(600))
		require.Equal(t, i < len(minutes)-1, x.GetSealed())
		require.EqualValues(t, 60_000, x.GetLengthMs())
	}
	require.EqualValues(t, 1800, sum)
	seconds := w.windows(counterpb.Resolution_RESOLUTION_UNSPECIFIED)
	require.LessOrEqual(t, len(seconds), 120, "old windows are dropped")
	for _, x := range seconds {
		require.EqualValues(t, 10, x.GetAdded())
		require.True(t, x.GetSealed())
	}
	w.configure(&counterpb.Settings{Keep: []*counterpb.Keep{{Resolution: counterpb.Resolution_RESOLUTION_SECOND}, {Resolution: counterpb.Resolution_RESOLUTION_MINUTE, Windows: 1}}})
	w.must(add("", 1))
	require.Empty(t, w.windows(counterpb.Resolution_RESOLUTION_SECOND))
	require.Len(t, w.windows(counterpb.Resolution_RESOLUTION_MINUTE), 1)
	w.now = 5
	w.must(add("", 1))
	require.GreaterOrEqual(t, w.status().GetWallMs(), uint64(start), "time does not go back")
	w.reload()
}

// TestAClockThatIsAhead: a region whose clock is five seconds ahead counts in its own
// windows, and windows are sealed when the slower one has passed them.
func TestAClockThatIsAhead(t *testing.T) {
	ord, hkg := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg")
	hkg.now += 5000
	ord.pull(hkg)
	for range 300 {
		ord.must(add("", 1))
		hkg.must(add("", 1))
		ord.now, hkg.now = ord.now+100, hkg.now+100
	}
	ord.pull(hkg)
	sum := uint64(0)
	for _, x := range ord.windows(counterpb.Resolution_RESOLUTION_SECOND) {
		require.Equal(t, x.GetStartMs()+x.GetLengthMs() <= ord.status().GetWallMs(), x.GetSealed())
		sum += x.GetAdded()
	}
	require.EqualValues(t, 600, sum)
}

func TestResetTakesOffWhatIsKnown(t *testing.T) {
	ord, hkg := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg")
	ord.must(add("", 10))
	hkg.must(add("", 5))
	ord.pull(hkg)
	hkg.must(add("", 2)) // ord does not know of it
	require.EqualValues(t, 0, ord.must(reset("")).GetValue())
	ord.must(add("", 1))
	ord.pull(hkg)
	hkg.pull(ord)
	require.EqualValues(t, 3, ord.value(""))
	require.EqualValues(t, 3, hkg.value(""))
	require.Equal(t, counterpb.Outcome_OUTCOME_NOT_FOUND, ord.do(reset("none")).GetOutcome())
	hkg.reload()
	require.EqualValues(t, 3, hkg.value(""))
}

func TestDelete(t *testing.T) {
	ord, hkg := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg")
	ord.must(add("a", 10))
	hkg.pull(ord)
	hkg.must(add("a", 5))
	ord.must(remove("a"))
	require.False(t, ord.get("a").GetFound())
	require.Equal(t, counterpb.Outcome_OUTCOME_NOT_FOUND, ord.do(remove("a")).GetOutcome())
	late, _ := ord.next(hkg, 0)
	hkg.pull(ord)
	require.False(t, hkg.get("a").GetFound())
	ord.must(merge(late))
	require.False(t, ord.get("a").GetFound(), "what comes late is of a generation that is over")
	require.Empty(t, ord.query(&counterpb.Query{Op: &counterpb.Query_List{List: &counterpb.List{}}}).GetCounters())
	require.EqualValues(t, 1, hkg.must(add("a", 1)).GetValue(), "and it begins again at 0")
	ord.pull(hkg)
	require.EqualValues(t, 1, ord.value("a"))
	ord.must(create("b"))
	require.Equal(t, counterpb.Outcome_OUTCOME_EXISTS, ord.do(create("b")).GetOutcome())
	ord.reload()
}

// TestBounded: whatever regions subtract and transfer while they hear of each other late
// or never, the sum of all is never below 0, nor is what any of them shows.
func TestBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		regions := []*world{newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg"), newWorld(t, 1002, "ams")}
		names := []string{"ord", "hkg", "ams"}
		for _, w := range regions {
			w.configure(&counterpb.Settings{Bounded: true})
		}
		sum := int64(0)
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, 2).Draw(t, "region")
			w, other := regions[i], rapid.IntRange(0, 2).Draw(t, "other")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1, 2:
				amount := rapid.Int64Range(-6, 5).Draw(t, "amount")
				if r := w.do(add("", amount)); r.GetOutcome() == okay {
					sum += amount
					require.GreaterOrEqual(t, r.GetValue(), int64(0))
				}
			case 3:
				w.do(transfer(names[other], rapid.Uint64Range(1, 4).Draw(t, "rights")))
			case 4:
				if other != i {
					w.pull(regions[other])
				}
			default:
				w.reload()
			}
			require.GreaterOrEqual(t, sum, int64(0))
			for i, w := range regions {
				require.GreaterOrEqual(t, w.value(""), int64(0), "region %s", names[i])
			}
		}
		for _, w := range regions {
			for _, from := range regions {
				if w != from {
					w.pull(from)
				}
			}
			require.Equal(t, sum, w.value(""))
		}
	})
}

// TestABoundedCounterIsNeverShownBelow0: not by a region that has heard of who subtracted, and
// not of who added and gave the right.
func TestABoundedCounterIsNeverShownBelow0(t *testing.T) {
	ord, hkg, ams := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg"), newWorld(t, 1002, "ams")
	for _, w := range []*world{ord, hkg, ams} {
		w.configure(&counterpb.Settings{Bounded: true})
	}
	ord.must(add("", 10))
	hkg.pull(ord)
	ord.pull(hkg)
	ord.must(transfer("hkg", 6))
	hkg.pull(ord)
	hkg.must(add("", -5))
	ams.pull(hkg)
	require.EqualValues(t, 0, ams.value(""))
	require.EqualValues(t, 2, ams.must(add("", 2)).GetValue())
	require.EqualValues(t, 1, ams.must(add("", -1)).GetValue())
	ams.pull(ord)
	require.EqualValues(t, 6, ams.value(""), "and all of it when it has")
}

// TestWhatWasResetGivesNoRights: a counter may be reset before it becomes a bounded one.
func TestWhatWasResetGivesNoRights(t *testing.T) {
	w := newWorld(t, 1000, "ord")
	w.must(add("", 10))
	w.must(reset(""))
	w.must(add("", 1))
	w.configure(&counterpb.Settings{Bounded: true})
	require.Equal(t, counterpb.Outcome_OUTCOME_BOUND, w.do(add("", -2)).GetOutcome())
	require.EqualValues(t, 1, w.get("").GetCounters()[0].GetRights())
	require.EqualValues(t, 0, w.must(add("", -1)).GetValue())
}

func TestRights(t *testing.T) {
	ord, hkg := newWorld(t, 1000, "ord"), newWorld(t, 1001, "hkg")
	ord.configure(&counterpb.Settings{Bounded: true})
	hkg.configure(&counterpb.Settings{Bounded: true})
	ord.must(add("", 10))
	hkg.pull(ord)
	ord.pull(hkg)
	const bound = counterpb.Outcome_OUTCOME_BOUND
	require.Equal(t, bound, hkg.do(add("", -1)).GetOutcome(), "the rights are where it was added")
	require.Equal(t, bound, ord.do(transfer("hkg", 11)).GetOutcome())
	require.Equal(t, counterpb.Outcome_OUTCOME_NOT_FOUND, ord.do(transfer("nrt", 1)).GetOutcome())
	ord.must(transfer("hkg", 4))
	require.Equal(t, bound, ord.do(add("", -7)).GetOutcome())
	hkg.pull(ord)
	require.EqualValues(t, 4, hkg.get("").GetCounters()[0].GetRights())
	require.EqualValues(t, 6, hkg.must(add("", -4)).GetValue())
	require.Equal(t, bound, hkg.do(add("", -1)).GetOutcome())
	require.Equal(t, bound, ord.do(reset("")).GetOutcome())
}

func TestSettings(t *testing.T) {
	w := newWorld(t, 1000, "")
	w.configure(&counterpb.Settings{NoAutoCreate: true, MaxKeys: 1})
	require.Equal(t, counterpb.Outcome_OUTCOME_NOT_FOUND, w.do(add("", 1)).GetOutcome())
	w.must(create(""))
	w.must(add("", 1))
	require.Equal(t, counterpb.Outcome_OUTCOME_FULL, w.do(create("a")).GetOutcome())
	w.configure(&counterpb.Settings{MaxKeys: 1})
	require.Equal(t, counterpb.Outcome_OUTCOME_FULL, w.do(add("a", 1)).GetOutcome())
	for _, bad := range []*counterpb.Settings{
		{Bounded: true, OnlyUp: true},
		{Remember: 1 << 40},
		{RememberMs: 1 << 40},
		{Keep: []*counterpb.Keep{{Resolution: 6}}},
		{Keep: []*counterpb.Keep{{Windows: 10_001}}},
		{Keep: []*counterpb.Keep{{Resolution: 0}, {Resolution: 1}}},
	} {
		require.Error(t, counter.CheckSettings(bad))
	}
}

func TestAGroupFollowsItsConfiguration(t *testing.T) {
	f := counter.App().Follow
	w := newWorld(t, 1000, "")
	options, err := proto.Marshal(&counterpb.Settings{OnlyUp: true})
	require.NoError(t, err)
	for _, step := range []struct{ revision, want uint64 }{{3, 3}, {3, 3}, {2, 3}, {4, 4}} {
		cmd, err := f.Command(step.revision, options)
		require.NoError(t, err)
		require.Equal(t, okay, w.raw(cmd).GetOutcome())
		answer, err := w.m.Query(f.Query)
		require.NoError(t, err)
		got, err := f.Revision(answer)
		require.NoError(t, err)
		require.Equal(t, step.want, got)
	}
	_, err = f.Command(5, []byte("\xff"))
	require.Error(t, err)
	_, err = f.Command(5, encode(&counterpb.Settings{Remember: 1 << 40}))
	require.Error(t, err)
	_, err = f.Revision([]byte("\xff"))
	require.Error(t, err)
}

func FuzzCommand(f *testing.F) {
	for _, c := range []*counterpb.Command{add("", 3), addOnce(-1, &counterpb.Key{Low: 1, MadeMs: start}), reset("a"), remove("b"), create("c"), transfer("hkg", 3), retire("hkg"), merge(&counterpb.Merge{
		From: &counterpb.Origin{Region: "hkg", Incarnation: 4}, Upto: 3, WallMs: start,
		Entries: []*counterpb.Entry{{Key: "a", Slots: []*counterpb.Slot{{Origin: &counterpb.Origin{Region: "hkg", Incarnation: 4}, Added: 7, Windows: []*counterpb.Bucket{{Resolution: 1, Number: 1_700_000_000, Added: 7}}}}}},
	})} {
		f.Add(encode(c))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWorld(t, 1000, "ord")
		w.must(add("a", 5))
		w.must(add("", 1))
		r := w.raw(data)
		require.NotEqual(t, counterpb.Outcome_OUTCOME_UNSPECIFIED, r.GetOutcome())
		require.Equal(t, r.GetOutcome() != okay, r.GetDetail() != "")
		w.reload()
	})
}

func FuzzQuery(f *testing.F) {
	f.Add(encode(&counterpb.Query{Op: &counterpb.Query_Status{Status: &counterpb.Status{}}}))
	f.Add(encode(&counterpb.Query{Op: &counterpb.Query_Export{Export: &counterpb.Export{After: 1, Limit: 2, Relayed: true}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWorld(t, 1000, "ord")
		w.must(add("a", 5))
		if _, err := w.m.Query(data); err != nil {
			require.ErrorIs(t, err, statemachines.ErrInvalidQuery)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	w := newWorld(f, 1000, "ord")
	w.must(addOnce(5, &counterpb.Key{Low: 1, MadeMs: start}))
	f.Add(snapshotOf(f, w.m))
	other := newWorld(f, 1001, "hkg")
	other.must(add("a", 2))
	w.pull(other)
	w.must(retire("hkg"))
	f.Add(snapshotOf(f, w.m))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := counter.New(statemachines.Group{ID: 1000})
		if m.Restore(bytes.NewReader(data)) == nil {
			require.Equal(t, data, snapshotOf(t, m), "what is accepted is canonical")
		}
	})
}
