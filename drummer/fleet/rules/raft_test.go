package rules_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/drummer/fleet/rules"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

func options(snapshot uint64, election, heartbeat uint32) *fleetpb.RaftOptions {
	return &fleetpb.RaftOptions{SnapshotEntries: snapshot, ElectionTicks: election, HeartbeatTicks: heartbeat}
}

func TestRaftOptionsOfAGroup(t *testing.T) {
	for _, c := range []struct {
		raft *fleetpb.RaftOptions
		want string
	}{
		{nil, ""},
		{options(0, 0, 0), ""},
		{options(100, 0, 0), ""},
		{options(99, 0, 0), "snapshot_entries of 99: want 100 to 10000000"},
		{options(10_000_001, 0, 0), "snapshot_entries of 10000001: want 100 to 10000000"},
		{options(0, 10, 0), "set both, or none"},
		{options(0, 0, 1), "set both, or none"},
		{options(0, 6, 2), ""},
		{options(0, 5, 2), "want at least 3 times the heartbeat_ticks of 2"},
		{options(0, 1000, 100), ""},
		{options(0, 1001, 100), "want at most 1000 and 100"},
		{options(0, 1<<31, 1<<31), "want at most 1000 and 100"},
	} {
		err := rules.CheckSpec(&fleetpb.Spec{Name: "kv/a", App: "kv", Replicas: 3, Raft: c.raft})
		if c.want == "" {
			require.NoError(t, err, "%v", c.raft)
		} else {
			require.ErrorContains(t, err, c.want)
		}
	}
}

func TestTicksChangeInSteps(t *testing.T) {
	require.ErrorContains(t, rules.CheckTuning(nil, options(0, 40, 4)), "raise election_ticks first")
	require.NoError(t, rules.CheckTuning(nil, options(0, 40, 1)))
	require.NoError(t, rules.CheckTuning(options(0, 40, 1), options(0, 40, 4)))
	require.ErrorContains(t, rules.CheckTuning(options(0, 40, 4), nil), "lower heartbeat_ticks first")
	require.NoError(t, rules.CheckTuning(options(0, 40, 4), options(7, 40, 1)))
	require.NoError(t, rules.CheckTuning(options(0, 40, 1), options(7, 0, 0)))
}

// TestMixedTicksAgree: whatever change is allowed, no replica of either kind takes a leader of
// the other for dead between two of its heartbeats.
func TestMixedTicksAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := rapid.Custom(func(t *rapid.T) *fleetpb.RaftOptions {
			return options(0, rapid.Uint32Range(1, 50).Draw(t, "election"), rapid.Uint32Range(1, 12).Draw(t, "heartbeat"))
		}).Filter(func(o *fleetpb.RaftOptions) bool {
			return rules.CheckSpec(&fleetpb.Spec{Name: "kv/a", App: "kv", Replicas: 3, Raft: o}) == nil
		})
		from, to := groups.Draw(t, "from"), groups.Draw(t, "to")
		apart := min(from.GetElectionTicks(), to.GetElectionTicks()) < 3*max(from.GetHeartbeatTicks(), to.GetHeartbeatTicks())
		require.Equal(t, apart, rules.CheckTuning(from, to) != nil)
	})
}
