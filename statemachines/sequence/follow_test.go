package sequence_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence"
)

func TestAGroupFollowsItsConfiguration(t *testing.T) {
	f := sequence.App().Follow
	m := sequence.New(statemachines.Group{ID: 1000, Name: "sequence/a"})
	revision := func() uint64 {
		answer, err := m.Query(f.Query)
		require.NoError(t, err)
		n, err := f.Revision(answer)
		require.NoError(t, err)
		return n
	}
	require.Zero(t, revision())
	options, err := proto.Marshal(&sequencepb.Settings{MaxKeys: 3, Defaults: &sequencepb.Definition{Step: 2}})
	require.NoError(t, err)
	for _, step := range []struct{ revision, want uint64 }{{3, 3}, {3, 3}, {2, 3}, {4, 4}} {
		cmd, err := f.Command(step.revision, options)
		require.NoError(t, err)
		m.Apply([]statemachines.Command{{Data: cmd}}, make([]statemachines.Result, 1))
		require.Equal(t, step.want, revision())
	}
	_, err = f.Command(5, []byte("\xff"))
	require.Error(t, err)
	bad, err := proto.Marshal(&sequencepb.Settings{Defaults: &sequencepb.Definition{ScatterBits: 3, Mode: sequencepb.Mode_MODE_SCATTER}})
	require.NoError(t, err)
	_, err = f.Command(5, bad)
	require.Error(t, err)
	_, err = f.Revision([]byte("\xff"))
	require.Error(t, err)
}
