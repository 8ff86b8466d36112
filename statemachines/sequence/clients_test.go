package sequence_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence"
)

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

// A host stamps each try with its own time; a retry is the same command all the same.
func TestARetryMayHaveAnotherStamp(t *testing.T) {
	w := newWorld(t)
	u := w.open()
	c := take(1)
	c.NowMs = 1000
	first := u.do(c)
	c.NowMs = 2000
	require.True(t, proto.Equal(first, w.do(c)))
	require.EqualValues(t, 1000<<20, first.GetGrant().GetIncarnation())
}
