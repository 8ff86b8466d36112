package counters_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/internal/fault"
)

const group = "counter/hits"

func TestCounting(t *testing.T) {
	c := newCluster(group)
	s, ctx := c.dial(t, nil), within(t)
	none, err := s.Get(ctx, &counterpb.GetRequest{Group: group, Key: "a"})
	require.NoError(t, err)
	require.False(t, none.GetFound())
	r, err := s.Add(ctx, &counterpb.AddRequest{Group: group, Add: &counterpb.Add{Key: "a", Amount: 4}})
	require.NoError(t, err)
	require.EqualValues(t, 4, r.GetValue())
	got, err := s.Get(ctx, &counterpb.GetRequest{Group: group, Key: "a", Token: r.GetToken()})
	require.NoError(t, err)
	require.EqualValues(t, 4, got.GetInfo().GetValue())
	require.Len(t, got.GetRegions(), 1)
	r.Token.Version++
	_, err = s.Get(ctx, &counterpb.GetRequest{Group: group, Key: "a", Token: r.GetToken()})
	require.Equal(t, codes.Unavailable, status.Code(err), "nobody knows of a later version")

	batch, err := s.AddBatch(ctx, &counterpb.AddBatchRequest{Group: group, Adds: []*counterpb.Add{{Key: "a", Amount: 1}, {Key: "b", Amount: 2}, {Key: "bad\n"}}})
	require.NoError(t, err)
	require.Equal(t, []int64{5, 2, 0}, []int64{batch.GetResults()[0].GetValue(), batch.GetResults()[1].GetValue(), batch.GetResults()[2].GetValue()})
	require.Equal(t, counterpb.Outcome_OUTCOME_INVALID, batch.GetResults()[2].GetOutcome())
	page, err := s.List(ctx, &counterpb.ListRequest{Group: group})
	require.NoError(t, err)
	require.Len(t, page.GetCounters(), 2)
	st, err := s.Status(ctx, &counterpb.StatusRequest{Group: group})
	require.NoError(t, err)
	require.EqualValues(t, 2, st.GetInfo().GetKeys())

	_, err = s.Create(ctx, &counterpb.CreateRequest{Group: group, Create: &counterpb.Create{Key: "c"}})
	require.NoError(t, err)
	r, err = s.Reset(ctx, &counterpb.ResetRequest{Group: group, Reset_: &counterpb.Reset{Key: "a"}})
	require.NoError(t, err)
	require.Zero(t, r.GetValue())
	_, err = s.Delete(ctx, &counterpb.DeleteRequest{Group: group, Delete: &counterpb.Delete{Key: "a"}})
	require.NoError(t, err)
	r, err = s.Transfer(ctx, &counterpb.TransferRequest{Group: group, Transfer: &counterpb.Transfer{To: "hkg", Amount: 1}})
	require.NoError(t, err)
	require.Equal(t, counterpb.Outcome_OUTCOME_BOUND, r.GetOutcome())
	r, err = s.Retire(ctx, &counterpb.RetireRequest{Group: group, Retire: &counterpb.Retire{Region: "hkg"}})
	require.NoError(t, err)
	require.Equal(t, counterpb.Outcome_OUTCOME_NOT_FOUND, r.GetOutcome())
}

// TestARequestWithAKeyCountsOnce: an answer that was lost is asked for again by the host.
func TestARequestWithAKeyCountsOnce(t *testing.T) {
	c := newCluster(group)
	s, ctx := c.dial(t, nil), within(t)
	req := &counterpb.AddRequest{Group: group, Add: &counterpb.Add{Amount: 5, Once: &counterpb.Key{High: 1, Low: 2}}}
	c.change(func() { c.lost = true })
	r, err := s.Add(ctx, req)
	require.NoError(t, err)
	require.True(t, r.GetRepeated())
	require.EqualValues(t, 5, r.GetValue())
	c.change(func() { c.lost = true })
	_, err = s.Add(ctx, &counterpb.AddRequest{Group: group, Add: &counterpb.Add{Amount: 1}})
	require.Error(t, err, "without one the caller has to decide")
	got, err := s.Get(ctx, &counterpb.GetRequest{Group: group})
	require.NoError(t, err)
	require.EqualValues(t, 6, got.GetInfo().GetValue())
}

func TestWhatIsRefused(t *testing.T) {
	c := newCluster(group)
	s, ctx := c.dial(t, nil), within(t)
	for name, call := range map[string]func() error{
		"another app": func() error {
			_, err := s.Add(ctx, &counterpb.AddRequest{Group: "kv/a", Add: &counterpb.Add{}})
			return err
		},
		"no command": func() error { _, err := s.Add(ctx, &counterpb.AddRequest{Group: group}); return err },
		"no reset":   func() error { _, err := s.Reset(ctx, &counterpb.ResetRequest{Group: group}); return err },
		"no name":    func() error { _, err := s.Get(ctx, &counterpb.GetRequest{}); return err },
		"no items":   func() error { _, err := s.AddBatch(ctx, &counterpb.AddBatchRequest{Group: group}); return err },
		"a bad page": func() error {
			_, err := s.List(ctx, &counterpb.ListRequest{Group: group, List: &counterpb.List{Limit: 5000}})
			return err
		},
	} {
		require.Equal(t, codes.InvalidArgument, status.Code(call()), name)
	}
	_, err := s.Get(ctx, &counterpb.GetRequest{Group: "counter/none"})
	require.Equal(t, codes.NotFound, status.Code(err))
}

func TestRateAndWindows(t *testing.T) {
	c := newCluster(group)
	s, ctx := c.dial(t, nil), within(t)
	for range 90 {
		_, err := s.Add(ctx, &counterpb.AddRequest{Group: group, Add: &counterpb.Add{Amount: 3}})
		require.NoError(t, err)
		c.change(func() { c.seconds++ })
	}
	for _, want := range []struct {
		overMS     uint64
		resolution counterpb.Resolution
		perSecond  float64
	}{{0, 1, 3}, {10_000, 1, 3}, {600_000, 2, 0.45}, {3_600_000, 3, 120.0 / 3600}} {
		r, err := s.Rate(ctx, &counterpb.RateRequest{Group: group, OverMs: want.overMS})
		require.NoError(t, err)
		require.Equal(t, want.resolution, r.GetResolution())
		require.InDelta(t, want.perSecond, r.GetPerSecond(), want.perSecond/4, "over %d ms", want.overMS)
	}
	w, err := s.Windows(ctx, &counterpb.WindowsRequest{Group: group, Windows: &counterpb.Windows{Limit: 5}})
	require.NoError(t, err)
	require.Len(t, w.GetWindows(), 5)
}

// TestARateOfWhatIsKept: windows that are gone are no zeros. A rate is of the finest windows
// that reach far enough, and none when no windows do.
func TestARateOfWhatIsKept(t *testing.T) {
	c := newCluster(group)
	s, ctx := c.dial(t, nil), within(t)
	keep := []*counterpb.Keep{{Resolution: counterpb.Resolution_RESOLUTION_SECOND, Windows: 0}, {Resolution: counterpb.Resolution_RESOLUTION_TEN_SECONDS, Windows: 3}}
	cmd, err := proto.Marshal(&counterpb.Command{Op: &counterpb.Command_Configure{Configure: &counterpb.Configure{Revision: 1, Settings: &counterpb.Settings{Keep: keep}}}})
	require.NoError(t, err)
	c.change(func() { _, err = c.apply(group, cmd) })
	require.NoError(t, err)
	for range 120 {
		_, err := s.Add(ctx, &counterpb.AddRequest{Group: group, Add: &counterpb.Add{Amount: 3}})
		require.NoError(t, err)
		c.change(func() { c.seconds++ })
	}
	for over, want := range map[uint64]counterpb.Resolution{1000: 2, 20_000: 2, 30_000: 3, 30 * 86_400_000: 5} {
		r, err := s.Rate(ctx, &counterpb.RateRequest{Group: group, OverMs: over})
		require.NoError(t, err)
		require.Equal(t, want, r.GetResolution(), "over %d ms", over)
	}
	r, err := s.Rate(ctx, &counterpb.RateRequest{Group: group, OverMs: 20_000})
	require.NoError(t, err)
	require.InDelta(t, 3, r.GetPerSecond(), 0.01)
	for _, over := range []uint64{31 * 86_400_000, math.MaxUint64} {
		_, err = s.Rate(ctx, &counterpb.RateRequest{Group: group, OverMs: over})
		require.Equal(t, codes.InvalidArgument, status.Code(err), "over %d ms", over)
	}
}

func TestWatch(t *testing.T) {
	c := newCluster(group)
	stopping := make(chan struct{})
	s, ctx := c.dial(t, stopping), within(t)
	stream, err := s.Watch(ctx, &counterpb.WatchRequest{Group: group, EveryMs: 1})
	require.NoError(t, err)
	first, err := stream.Recv()
	require.NoError(t, err)
	require.False(t, first.GetFound())
	_, err = s.Add(ctx, &counterpb.AddRequest{Group: group, Add: &counterpb.Add{Amount: 3}})
	require.NoError(t, err)
	next, err := stream.Recv()
	require.NoError(t, err)
	require.EqualValues(t, 3, next.GetInfo().GetValue())
	close(stopping)
	_, err = stream.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err))
	c.change(func() { c.down = fault.New(fault.NoQuorum, "nobody is there") })
	_, err = s.Get(ctx, &counterpb.GetRequest{Group: group})
	require.Equal(t, codes.Unavailable, status.Code(err))
}
