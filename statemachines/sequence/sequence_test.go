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
