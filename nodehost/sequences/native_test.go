package sequences_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
)

const okay = sequencepb.Outcome_OUTCOME_OK

func TestEachCallReachesTheMachine(t *testing.T) {
	c := sequencepb.NewSequenceClient(served(t, newCluster("sequence/a"), nil))
	ctx, g := within(t), "sequence/a"
	did := func(r *sequencepb.Result, err error) *sequencepb.Result {
		require.NoError(t, err)
		require.Equal(t, okay, r.GetOutcome(), r.GetDetail())
		return r
	}
	client := did(c.Open(ctx, &sequencepb.OpenRequest{Group: g})).GetClient()
	caller := func(serial uint64) *sequencepb.Caller { return &sequencepb.Caller{Client: client, Serial: serial} }
	require.EqualValues(t, 1, did(c.Next(ctx, &sequencepb.NextRequest{Group: g})).GetGrant().GetFirst())
	grant := did(c.Next(ctx, &sequencepb.NextRequest{Group: g, Caller: caller(1), Next: &sequencepb.Next{Count: 10}})).GetGrant()
	require.EqualValues(t, 10, grant.GetCount())
	back := did(c.GiveBack(ctx, &sequencepb.GiveBackRequest{Group: g, Caller: caller(2), GiveBack: &sequencepb.GiveBack{Serial: 1, Unused: 4}}))
	require.EqualValues(t, 4, back.GetReturned())

	did(c.Create(ctx, &sequencepb.CreateRequest{Group: g, Create: &sequencepb.Create{Key: "gapfree", Definition: &sequencepb.Definition{Mode: sequencepb.Mode_MODE_GAPFREE}}}))
	reserve := func() *sequencepb.Reservation {
		return did(c.Reserve(ctx, &sequencepb.ReserveRequest{Group: g, Reserve: &sequencepb.Reserve{Key: "gapfree"}})).GetReservation()
	}
	r := reserve()
	did(c.Commit(ctx, &sequencepb.CommitRequest{Group: g, Commit: &sequencepb.Commit{Key: "gapfree", Number: r.GetNumber(), Token: r.GetToken()}}))
	r = reserve()
	did(c.Cancel(ctx, &sequencepb.CancelRequest{Group: g, Cancel: &sequencepb.Cancel{Key: "gapfree", Number: r.GetNumber(), Token: r.GetToken()}}))

	did(c.Create(ctx, &sequencepb.CreateRequest{Group: g, Create: &sequencepb.Create{Key: "time", Definition: &sequencepb.Definition{Mode: sequencepb.Mode_MODE_TIME}}}))
	w := did(c.LeaseWorker(ctx, &sequencepb.LeaseWorkerRequest{Group: g, LeaseWorker: &sequencepb.LeaseWorker{Key: "time", NowMs: uint64(clock().UnixMilli())}})).GetWorker()
	did(c.ReleaseWorker(ctx, &sequencepb.ReleaseWorkerRequest{Group: g, ReleaseWorker: &sequencepb.ReleaseWorker{Key: "time", Worker: w.GetWorker(), Token: w.GetToken()}}))

	did(c.Set(ctx, &sequencepb.SetRequest{Group: g, Set: &sequencepb.Set{Next: proto.Int64(100)}}))
	info, err := c.Describe(ctx, &sequencepb.DescribeRequest{Group: g})
	require.NoError(t, err)
	require.EqualValues(t, 100, info.GetInfo().GetNext())
	did(c.Restart(ctx, &sequencepb.RestartRequest{Group: g, Restart: &sequencepb.Restart{}}))
	list, err := c.List(ctx, &sequencepb.ListRequest{Group: g})
	require.NoError(t, err)
	require.Len(t, list.GetSequences(), 3)
	did(c.Drop(ctx, &sequencepb.DropRequest{Group: g, Drop: &sequencepb.Drop{Key: "time"}}))
	gone, err := c.Describe(ctx, &sequencepb.DescribeRequest{Group: g, Describe: &sequencepb.Describe{Key: "time"}})
	require.NoError(t, err)
	require.False(t, gone.GetFound())
	resumed, err := c.Resume(ctx, &sequencepb.ResumeRequest{Group: g, Resume: &sequencepb.Resume{Margin: 1}})
	require.NoError(t, err)
	require.Equal(t, sequencepb.Outcome_OUTCOME_CONFLICT, resumed.GetOutcome(), "an outcome is an answer, not an error")
	did(c.Close(ctx, &sequencepb.CloseRequest{Group: g, Caller: caller(3)}))
	st, err := c.Status(ctx, &sequencepb.StatusRequest{Group: g})
	require.NoError(t, err)
	require.EqualValues(t, 1000, st.GetInfo().GetGroup())
	require.Zero(t, st.GetInfo().GetClients())
}

// Every third answer is lost after the command was applied. A client that was opened
// never notices; one that was not is told.
func TestLostAnswersCostClientsNothing(t *testing.T) {
	cl := newCluster("sequence/a")
	c := sequencepb.NewSequenceClient(served(t, cl, nil))
	ctx := within(t)
	opened, err := c.Open(ctx, &sequencepb.OpenRequest{Group: "sequence/a"})
	require.NoError(t, err)
	cl.lost = 3
	for i := range int64(20) {
		r, err := c.Next(ctx, &sequencepb.NextRequest{Group: "sequence/a", Caller: &sequencepb.Caller{Client: opened.GetClient(), Serial: uint64(i + 1)}})
		require.NoError(t, err)
		require.Equal(t, i+1, r.GetGrant().GetFirst(), "no gap")
	}
	errs := 0
	for range 3 {
		if _, err := c.Next(ctx, &sequencepb.NextRequest{Group: "sequence/a"}); err != nil {
			require.ErrorContains(t, err, "leader went away")
			errs++
		}
	}
	require.Equal(t, 1, errs)
}

func TestIncarnationsAreOfTheHostsTime(t *testing.T) {
	c := sequencepb.NewSequenceClient(served(t, newCluster("sequence/a"), nil))
	r, err := c.Create(within(t), &sequencepb.CreateRequest{Group: "sequence/a"})
	require.NoError(t, err)
	require.EqualValues(t, clock().UnixMilli()<<20, r.GetIncarnation())
}

func TestWhatIsWrongDoesNotTravel(t *testing.T) {
	cl := newCluster("sequence/a")
	c := sequencepb.NewSequenceClient(served(t, cl, nil))
	ctx, g := within(t), "sequence/a"
	next := func(group string, n *sequencepb.Next) error {
		_, err := c.Next(ctx, &sequencepb.NextRequest{Group: group, Next: n})
		return err
	}
	call := func(f func(context.Context) error) error { return f(ctx) }
	tests := map[string]error{
		"no group":    next("", nil),
		"other app":   next("kv/a", nil),
		"hash sign":   next("sequence/a#k", nil),
		"long name":   next("sequence/"+strings.Repeat("n", 1<<20), nil),
		"unprintable": next("sequence/\x01", nil),
		"long key":    next(g, &sequencepb.Next{Key: strings.Repeat("k", 257)}),
		"huge count":  next(g, &sequencepb.Next{Count: 1<<62 + 1}),
		"no serial": call(func(ctx context.Context) error {
			_, err := c.Next(ctx, &sequencepb.NextRequest{Group: g, Caller: &sequencepb.Caller{}})
			return err
		}),
		"no caller": call(func(ctx context.Context) error {
			_, err := c.Close(ctx, &sequencepb.CloseRequest{Group: g})
			return err
		}),
		"no give back": call(func(ctx context.Context) error {
			_, err := c.GiveBack(ctx, &sequencepb.GiveBackRequest{Group: g})
			return err
		}),
		"no commit": call(func(ctx context.Context) error {
			_, err := c.Commit(ctx, &sequencepb.CommitRequest{Group: g})
			return err
		}),
		"no cancel": call(func(ctx context.Context) error {
			_, err := c.Cancel(ctx, &sequencepb.CancelRequest{Group: g})
			return err
		}),
		"no lease": call(func(ctx context.Context) error {
			_, err := c.LeaseWorker(ctx, &sequencepb.LeaseWorkerRequest{Group: g})
			return err
		}),
		"no release": call(func(ctx context.Context) error {
			_, err := c.ReleaseWorker(ctx, &sequencepb.ReleaseWorkerRequest{Group: g})
			return err
		}),
		"no restart": call(func(ctx context.Context) error {
			_, err := c.Restart(ctx, &sequencepb.RestartRequest{Group: g})
			return err
		}),
		"no set":  call(func(ctx context.Context) error { _, err := c.Set(ctx, &sequencepb.SetRequest{Group: g}); return err }),
		"no drop": call(func(ctx context.Context) error { _, err := c.Drop(ctx, &sequencepb.DropRequest{Group: g}); return err }),
		"no resume": call(func(ctx context.Context) error {
			_, err := c.Resume(ctx, &sequencepb.ResumeRequest{Group: g})
			return err
		}),
		"no margin": call(func(ctx context.Context) error {
			_, err := c.Resume(ctx, &sequencepb.ResumeRequest{Group: g, Resume: &sequencepb.Resume{}})
			return err
		}),
		"greedy list": call(func(ctx context.Context) error {
			_, err := c.List(ctx, &sequencepb.ListRequest{Group: g, List: &sequencepb.List{Limit: 1001}})
			return err
		}),
		"list of kv": call(func(ctx context.Context) error {
			_, err := c.Status(ctx, &sequencepb.StatusRequest{Group: "kv/a"})
			return err
		}),
		"no definition": call(func(ctx context.Context) error {
			_, err := c.Create(ctx, &sequencepb.CreateRequest{Group: g, Create: &sequencepb.Create{Definition: &sequencepb.Definition{Mode: 77}}})
			return err
		}),
	}
	for name, err := range tests {
		require.Equal(t, codes.InvalidArgument, status.Code(err), name)
	}
	require.Zero(t, cl.arrived())
	require.Equal(t, codes.NotFound, status.Code(next("sequence/none", nil)))
}

func TestAClockFarAheadLeasesNothing(t *testing.T) {
	cl := newCluster("sequence/a")
	c := sequencepb.NewSequenceClient(served(t, cl, nil))
	_, err := c.LeaseWorker(within(t), &sequencepb.LeaseWorkerRequest{Group: "sequence/a", LeaseWorker: &sequencepb.LeaseWorker{NowMs: uint64(clock().UnixMilli()) + 60_001}})
	require.Equal(t, codes.FailedPrecondition, status.Code(err))
	require.Zero(t, cl.arrived())
}

// Each region's group of one name counts for itself, by calls and in a stream.
func TestASequenceOfARegion(t *testing.T) {
	conn := served(t, newCluster(statemachines.NameIn("sequence/a", "east"), statemachines.NameIn("sequence/a", "west")), nil)
	c, ctx := sequencepb.NewSequenceClient(conn), within(t)
	for i, region := range []string{"east", "east", "west"} {
		r, err := c.Next(ctx, &sequencepb.NextRequest{Group: "sequence/a", Region: region})
		require.NoError(t, err)
		require.EqualValues(t, []int{1, 2, 1}[i], r.GetGrant().GetFirst())
	}
	stream, err := c.Stream(ctx)
	require.NoError(t, err)
	f := frame(0, 2, nobody, "sequence/a")
	f.Wants[0].Request.Region, f.Wants[1].Request.Region = "east", "west"
	require.NoError(t, stream.Send(f))
	got := collect(t, stream, 2)
	require.EqualValues(t, 3, got[0].GetResult().GetGrant().GetFirst())
	require.EqualValues(t, 2, got[1].GetResult().GetGrant().GetFirst())
	require.NoError(t, stream.CloseSend())
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF)
	for region, next := range map[string]int{"east": 4, "west": 3} {
		info, err := c.Describe(ctx, &sequencepb.DescribeRequest{Group: "sequence/a", Region: region})
		require.NoError(t, err)
		require.EqualValues(t, next, info.GetInfo().GetNext())
	}
	_, err = c.Next(ctx, &sequencepb.NextRequest{Group: "sequence/a"})
	require.Equal(t, codes.NotFound, status.Code(err))
}
