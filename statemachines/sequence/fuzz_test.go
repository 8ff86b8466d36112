package sequence_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence"
)

// populated is a world with a sequence of each kind and a client.
func populated(t require.TestingT) (*world, *user) {
	w := newWorld(t)
	for _, k := range keys {
		require.Equal(t, okay, w.do(create(k, definitionOf(k))).GetOutcome())
	}
	u := w.open()
	require.Equal(t, okay, u.do(take(5)).GetOutcome())
	return w, u
}

func FuzzCommand(f *testing.F) {
	_, u := populated(f)
	f.Add(encode(take(3)))
	f.Add(encode(create("new", &sequencepb.Definition{Step: -1})))
	f.Add(encode(set(&sequencepb.Set{Key: "cached", Next: proto.Int64(7)})))
	back := giveBack(1, 2)
	back.Caller = u.caller()
	f.Add(encode(back))
	f.Add(encode(&sequencepb.Command{Op: &sequencepb.Command_Reserve{Reserve: &sequencepb.Reserve{Key: "gapfree"}}}))
	f.Add(encode(&sequencepb.Command{Op: &sequencepb.Command_LeaseWorker{LeaseWorker: &sequencepb.LeaseWorker{Key: "time", NowMs: 9}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, _ := populated(t)
		before := snapshotOf(t, w.m)
		r := w.raw(data)
		require.NotEqual(t, sequencepb.Outcome_OUTCOME_UNSPECIFIED, r.GetOutcome())
		require.Equal(t, r.GetOutcome() != okay, r.GetDetail() != "")
		if r.GetOutcome() == invalid && !bytes.Contains(data, []byte("small")) && w.status().GetKeys() == uint64(len(keys)) && w.status().GetRecords() == 1 {
			require.Len(t, snapshotOf(t, w.m), len(before), "what is invalid changes nothing but the clocks")
		}
		w.reload()
	})
}

func FuzzQuery(f *testing.F) {
	f.Add(encode(&sequencepb.Query{Op: &sequencepb.Query_Status{Status: &sequencepb.Status{}}}))
	f.Add(encode(&sequencepb.Query{Op: &sequencepb.Query_List{List: &sequencepb.List{Prefix: "t", Limit: 3}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, _ := populated(t)
		if _, err := w.m.Query(data); err != nil {
			require.ErrorIs(t, err, statemachines.ErrInvalidQuery)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	w, u := populated(f)
	f.Add(snapshotOf(f, w.m))
	u.do(giveBack(1, 1))
	w.do(lease(&sequencepb.LeaseWorker{Key: "time", NowMs: 9}))
	w.do(&sequencepb.Command{Op: &sequencepb.Command_Reserve{Reserve: &sequencepb.Reserve{Key: "gapfree"}}})
	f.Add(snapshotOf(f, w.m))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := sequence.New(statemachines.Group{ID: group})
		if m.Restore(bytes.NewReader(data)) == nil {
			require.Equal(t, data, snapshotOf(t, m), "what is accepted is canonical")
		}
	})
}
