package sequence_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

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

// A template says whether a group is one sequence or a family; those that are there stay.
func TestFamilies(t *testing.T) {
	w := newWorld(t)
	use := func(key string) sequencepb.Outcome { return w.do(next(&sequencepb.Next{Key: key})).GetOutcome() }
	missing := sequencepb.Outcome_OUTCOME_NOT_FOUND
	require.Equal(t, []sequencepb.Outcome{okay, okay}, []sequencepb.Outcome{use(""), use("a")})
	require.Equal(t, okay, w.do(configure(1, &sequencepb.Settings{Family: sequencepb.Family_FAMILY_NO})).GetOutcome())
	w.reload()
	require.Equal(t, []sequencepb.Outcome{okay, okay, missing}, []sequencepb.Outcome{use(""), use("a"), use("b")})
	require.Equal(t, missing, w.do(create("b", nil)).GetOutcome())
	require.Equal(t, okay, w.do(configure(2, &sequencepb.Settings{Family: sequencepb.Family_FAMILY_YES, NoAutoCreate: false})).GetOutcome())
	require.Equal(t, okay, w.do(drop("")).GetOutcome())
	w.reload()
	require.Equal(t, []sequencepb.Outcome{missing, okay, okay}, []sequencepb.Outcome{use(""), use("a"), use("b")})
	require.Equal(t, sequencepb.Family_FAMILY_YES, w.status().GetSettings().GetFamily())
	require.Equal(t, invalid, w.do(configure(3, &sequencepb.Settings{Family: 3})).GetOutcome())
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
