package mail

import (
	"context"
	"errors"
	"testing"

	"github.com/lni/dragonboat/v3/raftio"
	"github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/park"
)

func TestCallsSurviveTheWay(t *testing.T) {
	for _, c := range []park.Call{
		{Group: 1000, From: 1, To: 2, Wake: true},
		{Group: 1000, From: 1, To: 2, Wake: true, Up: true},
		{Group: 1000, From: 2, To: 1, Up: true, Leader: 3},
	} {
		m := write(c)
		got, ok := Read(&m)
		require.True(t, ok)
		require.Equal(t, c, got)
	}
}

func TestWhatIsNoCall(t *testing.T) {
	for name, m := range map[string]raftpb.Message{
		"another type":      {Type: raftpb.Heartbeat, Hint: wake},
		"dragonboat's NoOP": {Type: raftpb.NoOP, Term: 3, Hint: wake},
		"an empty NoOP":     {Type: raftpb.NoOP},
	} {
		_, ok := Read(&m)
		require.False(t, ok, name)
	}
}

// wire is a transport that keeps what is sent.
type wire struct {
	raftio.ITransport
	open    int
	batches []raftpb.MessageBatch
	refuse  bool
}

func (w *wire) GetConnection(context.Context, string) (raftio.IConnection, error) {
	if w.refuse {
		return nil, errors.New("closed")
	}
	w.open++
	return wireConn{w}, nil
}

type wireConn struct{ w *wire }

func (c wireConn) Close() { c.w.open-- }

func (c wireConn) SendMessageBatch(b raftpb.MessageBatch) error {
	c.w.batches = append(c.w.batches, b)
	return nil
}

func TestSend(t *testing.T) {
	w := &wire{}
	o := Office{Deployment: 7, Self: "a", Transport: w}
	calls := make([]park.Call, sheet+1)
	for i := range calls {
		calls[i] = park.Call{Group: ids.Group(i + 1), From: 1, To: 2, Wake: true}
	}
	o.Send(t.Context(), "b", calls)
	o.Send(t.Context(), "b", calls[:1])
	require.Len(t, w.batches, 3)
	require.Len(t, w.batches[0].Requests, sheet)
	require.Len(t, w.batches[1].Requests, 1)
	require.Equal(t, uint64(7), w.batches[0].DeploymentId)
	require.Equal(t, "a", w.batches[0].SourceAddress)
	require.Equal(t, 1, w.open, "one connection per host")

	o.lines["b"].used = o.lines["b"].used.Add(-2 * forget)
	o.Send(t.Context(), "c", calls[:1])
	require.Equal(t, 1, w.open, "the connection to b was not used for long")
	o.Close()
	require.Zero(t, w.open)
}

func TestSendWithoutATransport(t *testing.T) {
	o := Office{Self: "a", Transport: &wire{refuse: true}}
	o.Send(t.Context(), "b", []park.Call{{Group: 1, From: 1, To: 2}})
	o.Close()
}
