package sequence_test

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence"
)

func TestANameBeginsAtOne(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, []int64{1}, numbers(t, w.do(take(0))), "no count means one")
	require.Equal(t, []int64{2, 3, 4}, numbers(t, w.do(take(3))))
	r := w.do(next(&sequencepb.Next{Key: "other"}))
	require.Equal(t, []int64{1}, numbers(t, r), "keys have nothing in common")
	require.EqualValues(t, group, r.GetGrant().GetGroup())
	require.Equal(t, sequencepb.Mode_MODE_DENSE, r.GetGrant().GetMode())
}

func TestDefinitions(t *testing.T) {
	whole := func(lo, hi int64) *sequencepb.Definition { return &sequencepb.Definition{Min: &lo, Max: &hi} }
	tests := []struct {
		name   string
		d      *sequencepb.Definition
		counts []uint64
		want   [][]int64 // nil: exhausted
	}{
		{"step", &sequencepb.Definition{Step: 5}, []uint64{2, 1}, [][]int64{{1, 6}, {11}}},
		{"descending", &sequencepb.Definition{Step: -1}, []uint64{2}, [][]int64{{-1, -2}}},
		{"descending in between", &sequencepb.Definition{Step: -4, Min: proto.Int64(0), Max: proto.Int64(9)}, []uint64{9, 1}, [][]int64{{9, 5, 1}, nil}},
		{"start", &sequencepb.Definition{Start: proto.Int64(100)}, []uint64{1}, [][]int64{{100}}},
		{"the end gives fewer", whole(1, 3), []uint64{2, 2, 2}, [][]int64{{1, 2}, {3}, nil}},
		{"cycle", &sequencepb.Definition{Min: proto.Int64(-1), Max: proto.Int64(1), Start: proto.Int64(0), Cycle: true}, []uint64{9, 9}, [][]int64{{0, 1}, {-1, 0, 1}}},
		{"cycle down", &sequencepb.Definition{Step: -2, Min: proto.Int64(1), Max: proto.Int64(4), Cycle: true}, []uint64{9, 9}, [][]int64{{4, 2}, {4, 2}}},
		{"the highest", whole(math.MaxInt64-1, math.MaxInt64), []uint64{9, 1}, [][]int64{{math.MaxInt64 - 1, math.MaxInt64}, nil}},
		{"the lowest", &sequencepb.Definition{Step: math.MinInt64, Min: proto.Int64(math.MinInt64), Max: proto.Int64(-1)}, []uint64{9}, [][]int64{{-1}}},
		{"max range", &sequencepb.Definition{MaxRange: 2}, []uint64{9, 1}, [][]int64{{1, 2}, {3}}},
		{"scatter", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_SCATTER, ScatterBits: 8, Start: proto.Int64(254)}, []uint64{9, 9}, [][]int64{{254, 255}, nil}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			require.Equal(t, okay, w.do(create("", tt.d)).GetOutcome())
			for i, count := range tt.counts {
				r := w.do(take(count))
				if tt.want[i] == nil {
					require.Equal(t, exhausted, r.GetOutcome())
					continue
				}
				require.Equal(t, tt.want[i], numbers(t, r))
			}
			w.reload()
		})
	}
}

func TestDefinitionsThatAreRefused(t *testing.T) {
	p := proto.Int64
	tests := map[string]*sequencepb.Definition{
		"is above max":        {Min: p(3), Max: p(2)},
		"is not between":      {Start: p(0)},
		"too far apart":       {Min: p(math.MinInt64), Max: p(math.MaxInt64)},
		"no start, step, min": {Mode: sequencepb.Mode_MODE_TSO, Start: p(1)},
		"more than 63":        {Mode: sequencepb.Mode_MODE_TIME, Time: &sequencepb.TimeLayout{TimeBits: 50}},
		"at most 16":          {Mode: sequencepb.Mode_MODE_TIME, Time: &sequencepb.TimeLayout{TimeBits: 30, WorkerBits: 17}},
		"a second to a day":   {Mode: sequencepb.Mode_MODE_TIME, Time: &sequencepb.TimeLayout{LeaseMs: 999}},
		"cannot cycle":        {Mode: sequencepb.Mode_MODE_GAPFREE, Cycle: true},
		"scatter_bits is 64":  {Mode: sequencepb.Mode_MODE_SCATTER, ScatterBits: 64},
		"from 0 to 2^8-1":     {Mode: sequencepb.Mode_MODE_SCATTER, ScatterBits: 8, Max: p(256)},
		"logical_bits is 23":  {Mode: sequencepb.Mode_MODE_TSO, LogicalBits: 23},
		"none that this":      {Mode: 99},
		"the owner has":       {Owner: strings.Repeat("o", 257)},
		"quota's numbers":     {Quota: &sequencepb.Quota{PeriodMs: 1}},
		"period_ms is 0":      {Quota: &sequencepb.Quota{Numbers: 1}},
		"hand out ranges":     {Mode: sequencepb.Mode_MODE_GAPFREE, Quota: &sequencepb.Quota{Numbers: 1, PeriodMs: 1}},
		"at most a day":       {Mode: sequencepb.Mode_MODE_GAPFREE, ReservationMs: 1 << 40},
	}
	for text, d := range tests {
		w := newWorld(t)
		r := w.do(create("", d))
		require.Equal(t, invalid, r.GetOutcome())
		require.Contains(t, r.GetDetail(), text)
		require.Contains(t, w.do(set(&sequencepb.Set{Definition: d})).GetDetail(), text)
		require.Contains(t, w.do(configure(1, &sequencepb.Settings{Defaults: d})).GetDetail(), text)
		require.Zero(t, w.status().GetKeys())
	}
}

func TestHugeRangesExhaustAndHurtNobodyElse(t *testing.T) {
	w := newWorld(t)
	got := uint64(0)
	for range 5 {
		r := w.do(next(&sequencepb.Next{Key: "victim", Count: 1 << 62}))
		got += r.GetGrant().GetCount()
		require.Equal(t, got < math.MaxInt64 || r.GetGrant() != nil, r.GetOutcome() == okay)
	}
	require.EqualValues(t, math.MaxInt64, got, "every number is handed out once, and then no more")
	r := w.do(next(&sequencepb.Next{Key: "victim"}))
	require.Equal(t, exhausted, r.GetOutcome())
	require.Contains(t, r.GetDetail(), "0 numbers left")
	require.Nil(t, w.describe("victim").Next)
	require.Equal(t, []int64{1}, numbers(t, w.do(take(1))))
	require.Equal(t, invalid, w.do(take(1<<62+1)).GetOutcome())
}

func TestWholeOrNothing(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Max: proto.Int64(5)})).GetOutcome())
	require.Equal(t, exhausted, w.do(next(&sequencepb.Next{Count: 6, Whole: true})).GetOutcome())
	require.Equal(t, []int64{1, 2, 3, 4, 5}, numbers(t, w.do(next(&sequencepb.Next{Count: 5, Whole: true}))))
}

func TestFloors(t *testing.T) {
	w := newWorld(t)
	floor := func(n int64) *sequencepb.Result { return w.do(next(&sequencepb.Next{Count: 2, Floor: &n})) }
	require.Equal(t, []int64{100, 101}, numbers(t, floor(100)))
	require.Equal(t, []int64{102, 103}, numbers(t, floor(-5)), "a floor below changes nothing")
	require.EqualValues(t, 99, w.describe("").GetSkipped())
	require.Equal(t, sequencepb.Outcome_OUTCOME_FLOOR, floor(1<<50).GetOutcome(), "nobody ends a sequence with one request")
	require.Equal(t, []int64{104, 105}, numbers(t, floor(0)))

	require.Equal(t, okay, w.do(create("down", &sequencepb.Definition{Step: -10, Min: proto.Int64(0), Max: proto.Int64(100)})).GetOutcome())
	require.Equal(t, []int64{70, 60}, numbers(t, w.do(next(&sequencepb.Next{Key: "down", Count: 2, Floor: proto.Int64(75)}))))
	require.Equal(t, sequencepb.Outcome_OUTCOME_FLOOR, w.do(next(&sequencepb.Next{Key: "down", Floor: proto.Int64(-1)})).GetOutcome())
}

func TestQuota(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Quota: &sequencepb.Quota{Numbers: 10, PeriodMs: 1000}})).GetOutcome())
	u := w.open()
	require.Len(t, numbers(t, u.do(take(7))), 7)
	require.Len(t, numbers(t, w.do(take(7))), 3, "what the quota has left")
	r := w.do(take(1))
	require.Equal(t, sequencepb.Outcome_OUTCOME_QUOTA, r.GetOutcome())
	require.EqualValues(t, 100, r.GetRetryMs())
	w.pass(99)
	require.EqualValues(t, 1, w.do(take(1)).GetRetryMs())
	w.pass(1)
	require.Equal(t, []int64{11}, numbers(t, w.do(take(5))), "refused requests used nothing up")
	require.EqualValues(t, 500, w.do(next(&sequencepb.Next{Count: 5, Whole: true})).GetRetryMs())
	w.pass(1 << 40)
	require.Len(t, numbers(t, w.do(take(100))), 10, "a long rest saves one period's worth")
	require.Contains(t, w.do(next(&sequencepb.Next{Count: 11, Whole: true})).GetDetail(), "never fits")
}

func TestQuotaLosesNoTimeToRounding(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Quota: &sequencepb.Quota{Numbers: 7, PeriodMs: 1000}})).GetOutcome())
	require.Len(t, numbers(t, w.do(take(7))), 7)
	got := 0
	for range 10_000 { // in steps of 1 ms, a seventh of what one number takes
		w.pass(1)
		if r := w.do(take(1)); r.GetOutcome() == okay {
			got++
		}
	}
	require.Equal(t, 70, got)
}

func TestRetriesGetTheSameAnswer(t *testing.T) {
	w := newWorld(t)
	u := w.open()
	c := take(5)
	first := u.do(c)
	require.Equal(t, []int64{6, 7, 8, 9, 10}, numbers(t, u.do(take(5))))
	w.reload()
	require.True(t, proto.Equal(first, w.do(c)), "also after a restart")
	c.GetNext().Count = 6
	require.Equal(t, sequencepb.Outcome_OUTCOME_CONFLICT, w.do(c).GetOutcome())
	require.Equal(t, []int64{11}, numbers(t, u.do(take(1))), "nothing was handed out by any of that")
}

func TestRefusalsAreRememberedToo(t *testing.T) {
	w := newWorld(t)
	u := w.open()
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Quota: &sequencepb.Quota{Numbers: 1, PeriodMs: 1000}})).GetOutcome())
	require.Len(t, numbers(t, w.do(take(1))), 1)
	c := take(1)
	require.Equal(t, sequencepb.Outcome_OUTCOME_QUOTA, u.do(c).GetOutcome())
	w.pass(5000)
	require.Equal(t, sequencepb.Outcome_OUTCOME_QUOTA, w.do(c).GetOutcome(), "a late copy must not take what nobody waits for")
}

func TestSettledAnswersAreForgotten(t *testing.T) {
	w := newWorld(t)
	u := w.open()
	first := take(1)
	u.do(first)
	u.do(take(1))
	require.EqualValues(t, 2, w.status().GetRecords())
	third := take(1)
	third.Caller = u.caller()
	third.Caller.Settled = 2
	require.Equal(t, []int64{3}, numbers(t, w.do(third)))
	require.EqualValues(t, 1, w.status().GetRecords())
	require.Equal(t, sequencepb.Outcome_OUTCOME_TOO_OLD, w.do(first).GetOutcome())
	require.EqualValues(t, 1, w.describe("").GetOutstandingRanges())
	require.Zero(t, w.describe("").GetLost(), "what is settled was used")
}

func TestAClientsWindowIsBounded(t *testing.T) {
	w := newWorld(t)
	u := w.open()
	oldest := take(1)
	u.do(oldest)
	second := take(2)
	again := u.do(second)
	for range sequence.MaxAnswers - 1 {
		u.do(take(1))
	}
	require.EqualValues(t, sequence.MaxAnswers, w.status().GetRecords())
	require.Equal(t, sequencepb.Outcome_OUTCOME_TOO_OLD, w.do(oldest).GetOutcome())
	require.True(t, proto.Equal(again, w.do(second)))
	require.EqualValues(t, 1, w.describe("").GetLost(), "whether it was used, nobody knows")
	w.reload()
}

func TestSerialsMayArriveOutOfOrder(t *testing.T) {
	w := newWorld(t)
	u := w.open()
	late := take(1)
	late.Caller = u.caller()
	require.Equal(t, []int64{1}, numbers(t, u.do(take(1))))
	require.Equal(t, []int64{2}, numbers(t, w.do(late)))
	require.Equal(t, []int64{2}, numbers(t, w.do(late)))
	require.Equal(t, []int64{3}, numbers(t, u.do(take(1))))
}

// More clients than dragonboat has sessions, each of which asks twice.
func TestThousandsOfClients(t *testing.T) {
	w := newWorld(t)
	users, commands := make([]*user, 6000), make([]*sequencepb.Command, 6000)
	answers := make([]*sequencepb.Result, len(users))
	for i := range users {
		users[i], commands[i] = w.open(), take(uint64(1+i%3))
		answers[i] = users[i].do(commands[i])
	}
	w.reload()
	for i := range users {
		require.True(t, proto.Equal(answers[i], w.do(commands[i])))
	}
	i := w.describe("")
	require.Equal(t, i.GetNext()-1, int64(i.GetIssued()))
	require.Equal(t, i.GetIssued(), i.GetOutstanding())
}

func TestTheLongestSilentClientMakesRoom(t *testing.T) {
	w := newWorld(t)
	first, second := w.open(), w.open()
	lost, kept := take(1), take(1)
	first.do(lost)
	second.do(kept)
	for range sequence.MaxClients - 2 {
		w.open()
	}
	require.EqualValues(t, sequence.MaxClients, w.status().GetClients())
	require.Equal(t, []int64{2}, numbers(t, w.do(kept)), "it is known, and has spoken again")
	first.do(take(1))
	w.reload()
	second2 := w.do(kept)
	require.Equal(t, []int64{2}, numbers(t, second2))
	w.open() // the third one opened is the longest silent by now
	require.Equal(t, []int64{1}, numbers(t, w.do(lost)))
	third := &user{w: w, client: &sequencepb.Client{Group: group, Number: 3, Nonce: 77}}
	require.Equal(t, sequencepb.Outcome_OUTCOME_UNKNOWN_CLIENT, third.do(take(1)).GetOutcome())
	require.Equal(t, []int64{4}, numbers(t, w.do(take(1))), "what is refused hands nothing out")
}

func TestClientsOfOtherGroupsAndLivesAreUnknown(t *testing.T) {
	w := newWorld(t)
	u := w.open()
	u.do(take(4))
	u.client.Group++
	require.Contains(t, u.do(take(1)).GetDetail(), "was opened by group 1001")
	u.client.Group--
	w.m.Recovered(7)
	require.Contains(t, u.do(take(1)).GetDetail(), "generation 0")
	require.EqualValues(t, 4, w.describe("").GetLost())
	require.Zero(t, w.describe("").GetOutstanding())
	v := w.open()
	v.client.Nonce++
	require.Equal(t, sequencepb.Outcome_OUTCOME_UNKNOWN_CLIENT, v.do(take(1)).GetOutcome(), "one of a cluster that is no more")
	require.EqualValues(t, 7, w.open().client.GetGeneration())
}

func TestClose(t *testing.T) {
	w := newWorld(t)
	u := w.open()
	u.do(take(9))
	c := &sequencepb.Command{Op: &sequencepb.Command_Close{Close: &sequencepb.Close{}}}
	require.Equal(t, okay, u.do(c).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_UNKNOWN_CLIENT, w.do(c).GetOutcome())
	require.Zero(t, w.status().GetClients()+w.status().GetRecords())
	require.EqualValues(t, 9, w.describe("").GetLost())
	u = w.open()
	u.do(take(9))
	c.Caller = u.caller()
	c.Caller.Settled = 1
	require.Equal(t, okay, w.do(c).GetOutcome())
	require.EqualValues(t, 9, w.describe("").GetLost(), "what is settled was used")
}

func TestTailsComeBack(t *testing.T) {
	w := newWorld(t)
	a, b := w.open(), w.open()
	a.do(take(10)) // 1 to 10
	a.do(take(10)) // 11 to 20
	require.EqualValues(t, 10, a.do(giveBack(2, 10)).GetReturned())
	r := giveBack(1, 4)
	require.EqualValues(t, 4, a.do(r).GetReturned(), "the range before is the last again")
	require.Equal(t, []int64{7, 8}, numbers(t, b.do(take(2))))
	require.EqualValues(t, 4, w.do(r).GetReturned(), "a retry, which takes nothing more")
	require.EqualValues(t, 0, a.do(giveBack(1, 4)).GetReturned(), "nor does saying it anew")
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_LAST, a.do(giveBack(1, 6)).GetOutcome())
	require.Equal(t, []int64{9}, numbers(t, b.do(take(1))))
	i := w.describe("")
	require.EqualValues(t, 14, i.GetReturned())
	require.EqualValues(t, 2, i.GetUnused(), "a gap, and known to be one")
	require.EqualValues(t, 9, i.GetIssued())
	require.EqualValues(t, 4+0+2+1, i.GetOutstanding())

	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, b.do(giveBack(99, 1)).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, a.do(giveBack(3, 1)).GetOutcome(), "a return is no range")
	require.Equal(t, invalid, a.do(giveBack(1, 11)).GetOutcome())
	require.Equal(t, invalid, w.do(giveBack(1, 1)).GetOutcome(), "only clients give back")
}

func TestTailsOfAnotherEraDoNotComeBack(t *testing.T) {
	change := map[string]func(w *world){
		"restart": func(w *world) { w.do(restart(&sequencepb.Restart{With: proto.Int64(11)})) },
		"set":     func(w *world) { w.do(set(&sequencepb.Set{Next: proto.Int64(11)})) },
		"drop":    func(w *world) { w.do(drop("")); w.do(take(10)) },
	}
	for name, f := range change {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			u := w.open()
			u.do(take(10))
			f(w)
			require.NotEqual(t, okay, u.do(giveBack(1, 5)).GetOutcome())
			require.Equal(t, []int64{11}, numbers(t, w.do(take(1))))
		})
	}
	t.Run("cycle", func(t *testing.T) {
		w := newWorld(t)
		u := w.open()
		w.do(create("", &sequencepb.Definition{Max: proto.Int64(5), Cycle: true}))
		u.do(take(5))
		require.Equal(t, []int64{1, 2, 3, 4, 5}, numbers(t, w.do(take(5))), "the second lap")
		require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_LAST, u.do(giveBack(1, 2)).GetOutcome())
	})
}

func TestAdministration(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, okay, w.do(create("k", &sequencepb.Definition{Max: proto.Int64(10)})).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_EXISTS, w.do(create("k", nil)).GetOutcome())
	n := func(count uint64) *sequencepb.Result { return w.do(next(&sequencepb.Next{Key: "k", Count: count})) }
	change := func(s *sequencepb.Set) *sequencepb.Result { s.Key = "k"; return w.do(set(s)) }
	require.Len(t, numbers(t, n(10)), 10)
	require.Equal(t, okay, change(&sequencepb.Set{Definition: &sequencepb.Definition{Max: proto.Int64(12), Mode: sequencepb.Mode_MODE_CACHED}}).GetOutcome())
	require.Equal(t, []int64{11, 12}, numbers(t, n(5)), "an end that moves on")
	require.Equal(t, okay, change(&sequencepb.Set{Definition: &sequencepb.Definition{Max: proto.Int64(12)}}).GetOutcome())
	require.Equal(t, exhausted, n(1).GetOutcome())
	require.Equal(t, okay, w.do(restart(&sequencepb.Restart{Key: "k"})).GetOutcome())
	require.Equal(t, []int64{1}, numbers(t, n(1)))
	require.Equal(t, okay, change(&sequencepb.Set{Definition: &sequencepb.Definition{Step: 3}}).GetOutcome())
	require.Equal(t, []int64{2, 5}, numbers(t, n(2)), "another step goes on from the next number")
	require.Equal(t, invalid, change(&sequencepb.Set{Definition: &sequencepb.Definition{Max: proto.Int64(7)}}).GetOutcome())
	require.Equal(t, okay, change(&sequencepb.Set{Definition: &sequencepb.Definition{Max: proto.Int64(7)}, Next: proto.Int64(6)}).GetOutcome())
	require.Equal(t, []int64{6, 7}, numbers(t, n(9)))
	require.Equal(t, invalid, change(&sequencepb.Set{Next: proto.Int64(8)}).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_WRONG_MODE, change(&sequencepb.Set{Definition: &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO}}).GetOutcome())
	for _, c := range []*sequencepb.Command{restart(&sequencepb.Restart{Key: "no"}), set(&sequencepb.Set{Key: "no"}), drop("no")} {
		require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_FOUND, w.do(c).GetOutcome())
	}
	w.reload()
}

func TestDropAndCreateIsAnotherIncarnation(t *testing.T) {
	w := newWorld(t)
	old := w.do(take(3)).GetGrant().GetIncarnation()
	require.Equal(t, okay, w.do(drop("")).GetOutcome())
	r := w.do(create("", nil))
	require.Greater(t, r.GetIncarnation(), old)
	require.Equal(t, sequencepb.Outcome_OUTCOME_INCARNATION, w.do(next(&sequencepb.Next{Incarnation: old})).GetOutcome())
	require.Equal(t, []int64{1}, numbers(t, w.do(next(&sequencepb.Next{Incarnation: r.GetIncarnation()}))))
}

// Clusters that have nothing in common give a sequence different incarnations, so a
// client that comes from another cluster is refused.
func TestIncarnationsAreTimes(t *testing.T) {
	at := func(ms uint64) uint64 {
		c := take(1)
		c.NowMs = ms
		return newWorld(t).do(c).GetGrant().GetIncarnation()
	}
	require.EqualValues(t, 1_700_000_000_000<<20, at(1_700_000_000_000))
	require.NotEqual(t, at(1_700_000_000_000), at(1_700_000_000_001))
	require.EqualValues(t, 1, at(0))
	require.EqualValues(t, (1<<43-1)<<20, at(1<<63), "no stamp makes the next one overflow")
}

func TestSettings(t *testing.T) {
	w := newWorld(t)
	s := &sequencepb.Settings{Defaults: &sequencepb.Definition{Step: 2}, MaxKeys: 2}
	require.Equal(t, okay, w.do(configure(5, s)).GetOutcome())
	require.Equal(t, []int64{1, 3}, numbers(t, w.do(take(2))))
	require.Equal(t, okay, w.do(configure(4, nil)).GetOutcome(), "an older one changes nothing")
	require.EqualValues(t, 5, w.status().GetRevision())
	require.Equal(t, []int64{1, 3}, numbers(t, w.do(next(&sequencepb.Next{Key: "b", Count: 2}))))
	require.Equal(t, sequencepb.Outcome_OUTCOME_FULL, w.do(next(&sequencepb.Next{Key: "c"})).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_FULL, w.do(create("c", nil)).GetOutcome())
	require.Equal(t, okay, w.do(configure(6, &sequencepb.Settings{NoAutoCreate: true})).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_FOUND, w.do(next(&sequencepb.Next{Key: "c"})).GetOutcome())
	require.Equal(t, []int64{5}, numbers(t, w.do(take(1))), "those that exist stay as they are")
	w.reload()
	require.True(t, w.status().GetSettings().GetNoAutoCreate())
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

func TestClosedUntilResumed(t *testing.T) {
	w := newWorld(t)
	numbers(t, w.do(take(10)))
	numbers(t, w.do(next(&sequencepb.Next{Key: "b", Count: 3})))
	require.Equal(t, sequencepb.Outcome_OUTCOME_CONFLICT, w.do(resume(&sequencepb.Resume{Margin: 1})).GetOutcome(), "nothing is closed")
	w.m.Recovered(1)
	closed := sequencepb.Outcome_OUTCOME_CLOSED
	for _, c := range []*sequencepb.Command{take(1), next(&sequencepb.Next{Key: "new"}), create("new", nil), restart(&sequencepb.Restart{}), set(&sequencepb.Set{Next: proto.Int64(5)})} {
		require.Equal(t, closed, w.do(c).GetOutcome())
	}
	require.True(t, w.describe("").GetClosed())
	require.Equal(t, okay, w.do(resume(&sequencepb.Resume{Key: proto.String("b"), Margin: 5, Floor: proto.Int64(50)})).GetOutcome())
	require.Equal(t, []int64{50}, numbers(t, w.do(next(&sequencepb.Next{Key: "b"}))))
	require.Equal(t, okay, w.do(resume(&sequencepb.Resume{Margin: 100})).GetOutcome())
	require.EqualValues(t, 111, w.describe("").GetNext(), "as it will be when it is touched")
	w.reload()
	require.Equal(t, []int64{111}, numbers(t, w.do(take(1))))
	require.Equal(t, []int64{51}, numbers(t, w.do(next(&sequencepb.Next{Key: "b"}))), "it was resumed by itself")
	require.Equal(t, []int64{101}, numbers(t, w.do(next(&sequencepb.Next{Key: "new"}))), "it may be one that is forgotten")
	require.Equal(t, invalid, w.do(resume(&sequencepb.Resume{})).GetOutcome(), "no margin, no resumption")
	require.Equal(t, invalid, w.do(resume(&sequencepb.Resume{Margin: 1, Floor: proto.Int64(1)})).GetOutcome())
}

func TestRecoveryGivesReservationsUp(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE})).GetOutcome())
	done, open := w.do(reserve(0)).GetReservation(), w.do(reserve(0)).GetReservation()
	require.Equal(t, okay, w.do(commit(done)).GetOutcome())
	w.m.Recovered(1)
	require.Equal(t, sequencepb.Outcome_OUTCOME_CLOSED, w.do(commit(open)).GetOutcome())
	require.Equal(t, okay, w.do(resume(&sequencepb.Resume{Margin: 10})).GetOutcome())
	require.Equal(t, sequencepb.Outcome_OUTCOME_NOT_HELD, w.do(commit(open)).GetOutcome(), "it may have been committed in what is lost")
	require.EqualValues(t, 13, w.do(reserve(0)).GetReservation().GetNumber())
	require.EqualValues(t, 11, w.describe("").GetSkipped())
}

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

func TestTimestamps(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO, LogicalBits: 8})).GetOutcome())
	at := func(ms, count uint64) *sequencepb.Result {
		c := next(&sequencepb.Next{Count: count, Plain: true})
		c.NowMs = ms
		return w.do(c)
	}
	require.Equal(t, []int64{1000 << 8, 1000<<8 + 1}, numbers(t, at(1000, 2)))
	require.Equal(t, []int64{1000<<8 + 2}, numbers(t, at(900, 1)), "a clock that is behind waits for nobody")
	require.EqualValues(t, 256, at(1000, 1000).GetGrant().GetCount())
	require.EqualValues(t, 2000<<8, at(2000, 1).GetGrant().GetFirst())
	require.Equal(t, invalid, at(0, 1).GetOutcome())
	require.Equal(t, invalid, at(1<<55, 1).GetOutcome())
	require.Zero(t, w.describe("").GetSkipped(), "time that passed is no gap")
}

func TestRecentNumbers(t *testing.T) {
	w := newWorld(t)
	w.pass(10_000)
	numbers(t, w.do(take(70)))
	require.Zero(t, w.describe("").GetRecent(), "the period is not over")
	w.pass(10_000)
	w.do(next(&sequencepb.Next{Key: "tick"}))
	require.EqualValues(t, 70, w.describe("").GetRecent())
	w.pass(10_000)
	w.do(next(&sequencepb.Next{Key: "tick"}))
	require.Zero(t, w.describe("").GetRecent())
}

func TestLists(t *testing.T) {
	w := newWorld(t)
	for _, k := range []string{"b/2", "a", "b/1", "b/3", "c"} {
		w.do(next(&sequencepb.Next{Key: k}))
	}
	list := func(l *sequencepb.List) (keys []string, more bool) {
		a := w.query(&sequencepb.Query{Op: &sequencepb.Query_List{List: l}})
		for _, i := range a.GetSequences() {
			keys = append(keys, i.GetKey())
		}
		return keys, a.GetMore()
	}
	keys, more := list(&sequencepb.List{Prefix: "b/", Limit: 2})
	require.Equal(t, []string{"b/1", "b/2"}, keys)
	require.True(t, more)
	keys, more = list(&sequencepb.List{Prefix: "b/", After: proto.String("b/2"), Limit: 2})
	require.Equal(t, []string{"b/3"}, keys)
	require.False(t, more)
	keys, _ = list(&sequencepb.List{})
	require.Equal(t, []string{"a", "b/1", "b/2", "b/3", "c"}, keys)
	_, err := w.m.Query(encode(&sequencepb.Query{Op: &sequencepb.Query_List{List: &sequencepb.List{Limit: 1001}}}))
	require.ErrorIs(t, err, statemachines.ErrInvalidQuery)
}

func TestWhatIsNoCommand(t *testing.T) {
	open := encode(&sequencepb.Command{Op: &sequencepb.Command_Open{Open: &sequencepb.Open{}}})
	client := &sequencepb.Client{Group: group, Number: 1}
	tests := map[string][]byte{
		"0 operations, 0 callers": nil,
		"2 operations":            append(open, open...),
		"cannot be read":          []byte("nonsense"),
		"at most 256":             encode(next(&sequencepb.Next{Key: strings.Repeat("k", 257)})),
		"is no text":              encode(next(&sequencepb.Next{Key: "a\nb"})),
		"has no client":           encode(&sequencepb.Command{Caller: &sequencepb.Caller{Serial: 1}, Op: take(1).GetOp()}),
		"serial is 0":             encode(&sequencepb.Command{Caller: &sequencepb.Caller{Client: client}, Op: take(1).GetOp()}),
		"settled 1":               encode(&sequencepb.Command{Caller: &sequencepb.Caller{Client: client, Serial: 1, Settled: 1}, Op: take(1).GetOp()}),
		"without a caller":        encode(&sequencepb.Command{Caller: &sequencepb.Caller{Client: client, Serial: 1}, Op: &sequencepb.Command_Open{Open: &sequencepb.Open{}}}),
		"say which":               encode(&sequencepb.Command{Op: &sequencepb.Command_Close{Close: &sequencepb.Close{}}}),
		"only a client":           encode(giveBack(1, 1)),
	}
	for text, data := range tests {
		w := newWorld(t)
		r := w.raw(data)
		require.Equal(t, invalid, r.GetOutcome(), text)
		require.Contains(t, r.GetDetail(), text)
		require.Zero(t, w.status().GetKeys())
	}
	// A field of a newer version, inside an operation.
	inner := append(encode(take(1)), 0x7a) // one more byte of the operation
	inner[1]++
	inner = append(inner, 0x00)
	inner[1]++
	require.Contains(t, newWorld(t).raw(inner).GetDetail(), "that this version does not know")
}

// A host stamps each try with its own time; a retry is the same command all the same.
func TestARetryMayHaveAnotherStamp(t *testing.T) {
	w := newWorld(t)
	u := w.open()
	require.Equal(t, okay, w.do(create("", &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TSO})).GetOutcome())
	c := take(1)
	c.NowMs = 1000
	first := u.do(c)
	c.NowMs = 2000
	require.True(t, proto.Equal(first, w.do(c)))
	require.EqualValues(t, 1000<<18, first.GetGrant().GetFirst())
}

// A key of a family costs a little memory, the same for the first and for the last.
func TestMemoryOfAKey(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	const n = 100_000
	w := newWorld(t)
	before := heap()
	out := make([]statemachines.Result, 1)
	for i := range n {
		w.m.Apply([]statemachines.Command{{Data: encode(next(&sequencepb.Next{Key: fmt.Sprintf("user/%07d", i)}))}}, out)
	}
	each := (heap() - before) / n
	t.Logf("%d bytes a key", each)
	require.Less(t, each, uint64(500))
	require.EqualValues(t, n, w.status().GetKeys())
}
