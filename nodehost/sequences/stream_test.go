package sequences_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

func open(ctx context.Context, t testing.TB, c *cluster, stopping <-chan struct{}) sequencepb.Sequence_StreamClient {
	stream, err := sequencepb.NewSequenceClient(served(t, c, stopping)).Stream(ctx)
	require.NoError(t, err)
	return stream
}

// frame has wants from first on, in turn of the groups.
func frame(first, n int, caller func(id int) *sequencepb.Caller, groups ...string) *sequencepb.StreamRequest {
	f := &sequencepb.StreamRequest{}
	for id := first; id < first+n; id++ {
		r := &sequencepb.NextRequest{Group: groups[id%len(groups)], Caller: caller(id)}
		f.Wants = append(f.Wants, &sequencepb.Want{Id: uint64(id), Request: r})
	}
	return f
}

func nobody(int) *sequencepb.Caller { return nil }

// collect reads the answers to n wants.
func collect(t testing.TB, stream sequencepb.Sequence_StreamClient, n int) map[uint64]*sequencepb.Got {
	got := map[uint64]*sequencepb.Got{}
	for len(got) < n {
		resp, err := stream.Recv()
		require.NoError(t, err)
		for _, g := range resp.GetGot() {
			require.NotContains(t, got, g.GetId(), "answered twice")
			got[g.GetId()] = g
		}
	}
	return got
}

func TestAStreamAnswersEachWant(t *testing.T) {
	stream := open(within(t), t, newCluster("sequence/a", "sequence/b"), nil)
	const n = 3000
	go func() {
		for first := 0; first < n; first += 500 {
			_ = stream.Send(frame(first, 500, nobody, "sequence/a", "sequence/b", "sequence/none", "kv/a"))
		}
		_ = stream.CloseSend()
	}()
	got := collect(t, stream, n)
	seen := map[string]bool{}
	for id, g := range got {
		switch id % 4 {
		case 2:
			require.Equal(t, hostpb.Reason_REASON_GROUP_NOT_FOUND, g.GetFault().GetReason())
		case 3:
			require.Equal(t, hostpb.Reason_REASON_INVALID, g.GetFault().GetReason())
		default:
			require.Equal(t, okay, g.GetResult().GetOutcome())
			key := fmt.Sprint(id%4, g.GetResult().GetGrant().GetFirst())
			require.False(t, seen[key])
			seen[key] = true
			require.LessOrEqual(t, g.GetResult().GetGrant().GetFirst(), int64(n/4), "dense")
		}
	}
	_, err := stream.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestLostAnswersOnAStreamCostClientsNothing(t *testing.T) {
	cl := newCluster("sequence/a")
	ctx := within(t)
	conn := served(t, cl, nil)
	c := sequencepb.NewSequenceClient(conn)
	opened, err := c.Open(ctx, &sequencepb.OpenRequest{Group: "sequence/a"})
	require.NoError(t, err)
	cl.lost = 7
	stream, err := c.Stream(ctx)
	require.NoError(t, err)
	caller := func(id int) *sequencepb.Caller {
		return &sequencepb.Caller{Client: opened.GetClient(), Serial: uint64(id)}
	}
	const n = 300
	require.NoError(t, stream.Send(frame(1, n, caller, "sequence/a")))
	numbers := map[int64]bool{}
	for _, g := range collect(t, stream, n) {
		require.Nil(t, g.GetFault())
		numbers[g.GetResult().GetGrant().GetFirst()] = true
	}
	for i := range int64(n) {
		require.True(t, numbers[i+1], "%d is missing: a retry took another number", i+1)
	}
	require.NoError(t, stream.CloseSend())
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF)
}

// The host reads no further than it has room: the rest waits at the other side.
func TestAStreamTakesNoMoreThanItHasRoom(t *testing.T) {
	cl := newCluster("sequence/a")
	cl.gate = make(chan struct{})
	stream := open(within(t), t, cl, nil)
	for i := range 3 {
		require.NoError(t, stream.Send(frame(i*600, 600, nobody, "sequence/a")))
	}
	require.Eventually(t, func() bool { return cl.arrived() == 600 }, 20*time.Second, time.Millisecond)
	require.Never(t, func() bool { return cl.arrived() > 600 }, 50*time.Millisecond, 5*time.Millisecond)
	close(cl.gate)
	collect(t, stream, 1800)
}

func TestAHostThatStopsAnswersWhatItTook(t *testing.T) {
	cl, stopping := newCluster("sequence/a"), make(chan struct{})
	cl.gate = make(chan struct{})
	stream := open(within(t), t, cl, stopping)
	require.NoError(t, stream.Send(frame(0, 100, nobody, "sequence/a")))
	require.Eventually(t, func() bool { return cl.arrived() == 100 }, 20*time.Second, time.Millisecond)
	close(stopping)
	close(cl.gate)
	collect(t, stream, 100)
	_, err := stream.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "go on at another one")
}

func TestFramesAreBounded(t *testing.T) {
	stream := open(within(t), t, newCluster("sequence/a"), nil)
	require.NoError(t, stream.Send(frame(0, 4097, nobody, "sequence/a")))
	_, err := stream.Recv()
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

// A caller that goes away leaves nothing behind: goleak looks at the end.
func TestAStreamThatIsCutOff(t *testing.T) {
	cl := newCluster("sequence/a")
	cl.gate = make(chan struct{})
	ctx, cancel := context.WithCancel(within(t))
	stream := open(ctx, t, cl, nil)
	require.NoError(t, stream.Send(frame(0, 2000, nobody, "sequence/a")))
	require.NoError(t, stream.Send(frame(2000, 2000, nobody, "sequence/a")))
	require.Eventually(t, func() bool { return cl.arrived() == 2000 }, 20*time.Second, time.Millisecond)
	cancel()
	_, err := stream.Recv()
	require.False(t, err == nil || errors.Is(err, io.EOF))
}
