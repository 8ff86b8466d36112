package counters_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// TestABatchAnswersAsOneByOne: what is folded answers each addition as if it had come alone.
func TestABatchAnswersAsOneByOne(t *testing.T) {
	together, alone := newCluster(), newCluster()
	at, one, ctx := together.dial(t, nil), alone.dial(t, nil), within(t)
	serial := uint64(0)
	rapid.Check(t, func(t *rapid.T) {
		for _, c := range []*cluster{together, alone} {
			c.change(func() { c.groups = newCluster(group).groups })
		}
		req := &counterpb.AddBatchRequest{Group: group}
		for range rapid.IntRange(1, 40).Draw(t, "adds") {
			a := &counterpb.Add{Key: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "key"), Amount: rapid.Int64Range(-3, 3).Draw(t, "amount")}
			if rapid.IntRange(0, 4).Draw(t, "once") == 0 {
				serial++
				a.Once = &counterpb.Key{High: 7, Low: serial}
			}
			req.Adds = append(req.Adds, a)
		}
		batch, err := at.AddBatch(ctx, req)
		require.NoError(t, err)
		require.Len(t, batch.GetResults(), len(req.GetAdds()))
		for i, a := range req.GetAdds() {
			r, err := one.Add(ctx, &counterpb.AddRequest{Group: group, Add: a})
			require.NoError(t, err)
			require.Equal(t, r.GetOutcome(), batch.GetResults()[i].GetOutcome())
			require.Equal(t, r.GetValue(), batch.GetResults()[i].GetValue(), "addition %d: %v", i, a)
		}
	})
}

// TestOfASumThatIsRefusedSomeAreTaken: what does not fit together may fit alone.
func TestOfASumThatIsRefusedSomeAreTaken(t *testing.T) {
	c := newCluster(group)
	s, ctx := c.dial(t, nil), within(t)
	_, err := s.Add(ctx, &counterpb.AddRequest{Group: group, Add: &counterpb.Add{Amount: math.MaxInt64 - 3}})
	require.NoError(t, err)
	batch, err := s.AddBatch(ctx, &counterpb.AddBatchRequest{Group: group, Adds: []*counterpb.Add{{Amount: 1}, {Amount: 5}, {Amount: 2}, {Amount: 1}, {Key: "b", Amount: 4}}})
	require.NoError(t, err)
	var outcomes []counterpb.Outcome
	for _, r := range batch.GetResults() {
		outcomes = append(outcomes, r.GetOutcome())
	}
	ok, over := counterpb.Outcome_OUTCOME_OK, counterpb.Outcome_OUTCOME_OVERFLOW
	require.Equal(t, []counterpb.Outcome{ok, over, ok, over, ok}, outcomes)
	got, err := s.Get(ctx, &counterpb.GetRequest{Group: group})
	require.NoError(t, err)
	require.EqualValues(t, math.MaxInt64, got.GetInfo().GetValue())
	// Amounts whose sum has no place in 64 bits travel apart.
	batch, err = s.AddBatch(ctx, &counterpb.AddBatchRequest{Group: group, Adds: []*counterpb.Add{{Key: "c", Amount: math.MaxInt64}, {Key: "c", Amount: math.MaxInt64}}})
	require.NoError(t, err)
	require.Equal(t, ok, batch.GetResults()[0].GetOutcome())
	require.Equal(t, over, batch.GetResults()[1].GetOutcome())
}
