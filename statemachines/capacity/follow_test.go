package capacity_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity"
)

func TestAGroupFollowsItsConfiguration(t *testing.T) {
	f := capacity.App().Follow
	m := capacity.New()
	revision := func() uint64 {
		answer, err := m.Query(f.Query)
		require.NoError(t, err)
		n, err := f.Revision(answer)
		require.NoError(t, err)
		return n
	}
	require.Zero(t, revision())
	options := func(c float64) []byte {
		raw, err := proto.Marshal(&capacitypb.Definition{Capacity: &c, Algorithm: capacitypb.Algorithm_ALGORITHM_FAIR_SHARE, LeaseLengthMs: 2000, RefreshIntervalMs: 1000})
		require.NoError(t, err)
		return raw
	}
	for _, step := range []struct{ revision, want uint64 }{{3, 3}, {3, 3}, {2, 3}, {4, 4}} {
		cmd, err := f.Command(step.revision, options(float64(step.revision)))
		require.NoError(t, err)
		m.Apply([]statemachines.Command{{Data: cmd}}, make([]statemachines.Result, 1))
		require.Equal(t, step.want, revision())
	}
	_, err := f.Command(5, []byte("\xff"))
	require.Error(t, err)
	_, err = f.Command(5, nil)
	require.ErrorContains(t, err, "no capacity")
	_, err = f.Revision([]byte("\xff"))
	require.Error(t, err)
}

// A client that proposed these could keep a group from ever following its template, or have
// it give away what its parent did not lease.
func TestWhatOnlyHostsPropose(t *testing.T) {
	owns := capacity.App().Owns
	for _, c := range []*capacitypb.Command{
		{Op: &capacitypb.Command_Configure{Configure: &capacitypb.Configure{Revision: 1 << 63}}},
		{Op: &capacitypb.Command_ParentLease{ParentLease: &capacitypb.ParentLease{Capacity: 1}}},
	} {
		data, err := proto.Marshal(c)
		require.NoError(t, err)
		require.True(t, owns(data))
	}
	for _, c := range []*capacitypb.Command{
		{Op: &capacitypb.Command_Decide{Decide: &capacitypb.Decide{Requests: []*capacitypb.Request{{ClientId: "a"}}}}},
		{Op: &capacitypb.Command_Release{Release: &capacitypb.Release{ClientIds: []string{"a"}}}},
		{Op: &capacitypb.Command_Confirm{Confirm: &capacitypb.Confirm{}}},
	} {
		data, err := proto.Marshal(c)
		require.NoError(t, err)
		require.False(t, owns(data))
	}
}
