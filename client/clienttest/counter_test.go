package clienttest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/client/clienttest"
	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// TestAClientsClockMovesNoWindows: a group's time never goes back, so it is that of the host
// that leads it, whatever a command says.
func TestAClientsClockMovesNoWindows(t *testing.T) {
	c := clienttest.Start(t)
	hits := c.Client().Counter("counter/hits")
	_, err := hits.Add(within(t), 1)
	require.NoError(t, err)
	group := c.Client().Group("counter/hits")
	wall := func() time.Time {
		query, err := proto.Marshal(&counterpb.Query{Op: &counterpb.Query_Status{Status: &counterpb.Status{}}})
		require.NoError(t, err)
		data, err := group.Read(within(t), query)
		require.NoError(t, err)
		a := &counterpb.Answer{}
		require.NoError(t, proto.Unmarshal(data, a))
		return time.UnixMilli(int64(a.GetGroup().GetWallMs()))
	}
	require.WithinDuration(t, time.Now(), wall(), time.Minute, "the client says no time at all")
	for _, ahead := range []time.Duration{0, 24 * time.Hour, -24 * time.Hour} {
		cmd, err := proto.Marshal(&counterpb.Command{
			Op:    &counterpb.Command_Add{Add: &counterpb.Add{Amount: 1}},
			NowMs: uint64(time.Now().Add(ahead).UnixMilli()),
		})
		require.NoError(t, err)
		_, err = group.Propose(within(t), cmd)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), wall(), time.Minute, "%v ahead", ahead)
	}
	value, err := hits.Value(within(t))
	require.NoError(t, err)
	require.EqualValues(t, 4, value)
	require.NoError(t, hits.Close(within(t)))
}
