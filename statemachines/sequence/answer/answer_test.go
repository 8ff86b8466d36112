package answer_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence/answer"
)

// TestEncode: the bytes are those of the messages.
func TestEncode(t *testing.T) {
	for _, r := range []*sequencepb.Result{
		{},
		{Outcome: sequencepb.Outcome_OUTCOME_OK, Detail: "why", RetryMs: 5, Returned: 6, Incarnation: 7},
		{Grant: &sequencepb.Grant{First: -4, Count: 2, Step: -1, Mode: sequencepb.Mode_MODE_CACHED, Cache: 9, ScatterBits: 8, Incarnation: 3, Group: 1000, Generation: 2, LogicalBits: 18}},
		{Grant: &sequencepb.Grant{ // the longest there is
			First: math.MinInt64, Count: math.MaxUint64, Step: math.MinInt64, Mode: sequencepb.Mode_MODE_TSO, Cache: math.MaxUint64, ScatterBits: math.MaxUint32,
			Incarnation: math.MaxUint64, Group: math.MaxUint64, Generation: math.MaxUint64, LogicalBits: math.MaxUint32,
		}},
		{Client: &sequencepb.Client{Group: 1000, Generation: 1, Number: 2, Nonce: 3}},
		{Reservation: &sequencepb.Reservation{Number: 77, Token: 5, ForMs: 30000, Incarnation: 9}},
		{Window: &sequencepb.Window{Window: 1, Incarnation: 2, First: 3, Last: 4, LogicalBits: 5, MaxRange: 6, Group: 1000, Generation: 8}},
		{Worker: &sequencepb.Worker{Worker: 3, Token: 4, LeaseMs: 5, FloorMs: 6, CeilingMs: 7, Layout: &sequencepb.TimeLayout{TimeBits: 41, WorkerBits: 10, CounterBits: 12, EpochMs: 1, LeaseMs: 2}, Incarnation: 9}},
	} {
		result := answer.Encode(r)
		back := &sequencepb.Result{}
		require.NoError(t, proto.Unmarshal(result.Data, back))
		require.True(t, proto.Equal(r, back), "%v is not %v", back, r)
		want := uint64(r.GetGrant().GetFirst()) + uint64(r.GetReservation().GetNumber())
		require.Equal(t, want, result.Value)
	}
}
