package api_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	multiraftpb "github.com/drumline/drumline/drummerpb/multiraft"
	"github.com/drumline/drumline/internal/fault"
)

func v2(t *testing.T, r *fakeRouter) multiraftpb.NodehostAPIClient {
	t.Helper()
	return multiraftpb.NewNodehostAPIClient(serveRouter(t, r))
}

// session makes a v2 session.
func session(cluster, client, series, responded uint64) *multiraftpb.Session {
	return &multiraftpb.Session{ClusterID: &cluster, ClientID: &client, SeriesID: &series, RespondedTo: &responded}
}

func TestEveryFieldOfAnAnswerIsSet(t *testing.T) {
	r := &fakeRouter{propose: &hostpb.ProposeResponse{}, read: &hostpb.ReadResponse{}}
	c, ctx := v2(t, r), within(t, 20*time.Second)

	s, err := c.GetSession(ctx, &multiraftpb.SessionRequest{ClusterId: new(uint64(1000))})
	require.NoError(t, err)
	require.NotNil(t, s.ClusterID)
	require.NotNil(t, s.ClientID)
	require.NotNil(t, s.SeriesID)
	require.NotNil(t, s.RespondedTo)
	require.Equal(t, uint64(1000), s.GetClusterID())

	resp, err := c.Propose(ctx, &multiraftpb.RaftProposal{Session: s, Data: []byte("x")})
	require.NoError(t, err)
	require.NotNil(t, resp.Result, "zero, and there")
	require.NotNil(t, resp.Data, "empty, and there")

	resp, err = c.Read(ctx, &multiraftpb.RaftReadIndex{ClusterId: new(uint64(1000))})
	require.NoError(t, err)
	require.NotNil(t, resp.Result)
	require.NotNil(t, resp.Data)

	closed, err := c.CloseSession(ctx, s)
	require.NoError(t, err)
	require.NotNil(t, closed.Completed)
	require.True(t, closed.GetCompleted())
}

func TestProposeReturnsValueAndBytes(t *testing.T) {
	r := &fakeRouter{propose: &hostpb.ProposeResponse{Value: 42, Data: []byte("answer")}, read: &hostpb.ReadResponse{Data: []byte("seen")}}
	c, ctx := v2(t, r), within(t, 20*time.Second)
	resp, err := c.Propose(ctx, &multiraftpb.RaftProposal{Session: session(1000, 7, 3, 2), Data: []byte("cmd")})
	require.NoError(t, err)
	require.Equal(t, uint64(42), resp.GetResult())
	require.Equal(t, "answer", string(resp.GetData()))
	req, ok := r.last().(*hostpb.ProposeRequest)
	require.True(t, ok)
	require.Equal(t, uint64(1000), req.GetGroup().GetId())
	require.Empty(t, req.GetGroup().GetName())
	require.Equal(t, "cmd", string(req.GetCommand()))
	require.Equal(t, uint64(3), req.GetSession().GetSeries())
	require.Equal(t, uint64(2), req.GetSession().GetRespondedTo())

	resp, err = c.Read(ctx, &multiraftpb.RaftReadIndex{ClusterId: new(uint64(1000)), Data: []byte("q")})
	require.NoError(t, err)
	require.Equal(t, "seen", string(resp.GetData()))
}

func TestNoOpSessionIsAnOrdinaryProposal(t *testing.T) {
	r := &fakeRouter{propose: &hostpb.ProposeResponse{}}
	_, err := v2(t, r).Propose(within(t, 20*time.Second), &multiraftpb.RaftProposal{Session: session(1000, 7, 0, 0)})
	require.NoError(t, err)
	req, ok := r.last().(*hostpb.ProposeRequest)
	require.True(t, ok)
	require.Nil(t, req.GetSession())
	require.Equal(t, uint64(1000), req.GetGroup().GetId())
}

func TestSessionsThatDragonboatWouldPanicOn(t *testing.T) {
	r := &fakeRouter{propose: &hostpb.ProposeResponse{}}
	c, ctx := v2(t, r), within(t, 20*time.Second)
	for name, s := range map[string]*multiraftpb.Session{
		"none":                 nil,
		"empty":                {},
		"no client":            session(1000, 0, 1, 0),
		"no client, no series": session(1000, 0, 0, 0),
		"no group":             session(0, 7, 1, 0),
		"no-op, no group":      session(0, 7, 0, 0),
		"register":             session(1000, 7, math.MaxUint64-1, 0),
		"unregister":           session(1000, 7, math.MaxUint64, 0),
		"answered":             session(1000, 7, 5, 5),
		"answered beyond":      session(1000, 7, 5, math.MaxUint64),
	} {
		_, err := c.Propose(ctx, &multiraftpb.RaftProposal{Session: s})
		require.Equal(t, codes.InvalidArgument, status.Code(err), "%s: %v", name, err)
		require.Nil(t, r.last(), name)
	}
	for name, s := range map[string]*multiraftpb.Session{
		"empty": {}, "no-op": session(1000, 7, 0, 0), "no client": session(1000, 0, 1, 0), "no group": session(0, 7, 1, 0),
	} {
		_, err := c.CloseSession(ctx, s)
		require.Equal(t, codes.InvalidArgument, status.Code(err), "%s: %v", name, err)
		require.Nil(t, r.last(), name)
	}
	_, err := c.GetSession(ctx, &multiraftpb.SessionRequest{ClusterId: new(uint64(0))})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	_, err = c.Read(ctx, &multiraftpb.RaftReadIndex{})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.Nil(t, r.last())
}

func TestSessionIsClosedAsProgramsPrepareIt(t *testing.T) {
	r := &fakeRouter{}
	c := v2(t, r)
	for _, s := range []*multiraftpb.Session{session(1000, 7, 1, 0), session(1000, 7, math.MaxUint64, 0), session(1000, 7, 9, 8)} {
		resp, err := c.CloseSession(within(t, 20*time.Second), s)
		require.NoError(t, err)
		require.True(t, resp.GetCompleted())
		req, ok := r.last().(*hostpb.CloseSessionRequest)
		require.True(t, ok)
		require.Equal(t, uint64(7), req.GetSession().GetClient())
		require.Equal(t, uint64(1), req.GetSession().GetSeries())
	}
}

func TestCodesAreTheOriginals(t *testing.T) {
	for err, want := range map[error]codes.Code{
		said(fault.Invalid):        codes.InvalidArgument,
		said(fault.TooLarge):       codes.InvalidArgument,
		said(fault.SessionGone):    codes.InvalidArgument,
		said(fault.Busy):           codes.Unavailable,
		said(fault.Unavailable):    codes.Unavailable,
		said(fault.NotLeader):      codes.Unavailable,
		said(fault.NoQuorum):       codes.Unavailable,
		said(fault.NotOpen):        codes.Unavailable,
		said(fault.GroupNotFound):  codes.NotFound,
		said(fault.Sealed):         codes.NotFound,
		said(fault.Deadline):       codes.DeadlineExceeded,
		said(fault.UnknownOutcome): codes.DeadlineExceeded,
		said(fault.Internal):       codes.Unknown,
		fault.Wrap(context.Canceled, fault.Deadline, "gave up"):       codes.Canceled,
		fault.Wrap(context.Canceled, fault.UnknownOutcome, "gave up"): codes.Canceled,
	} {
		r := &fakeRouter{err: err}
		_, got := v2(t, r).Propose(within(t, 20*time.Second), &multiraftpb.RaftProposal{Session: session(1000, 7, 1, 0)})
		require.Equal(t, want, status.Code(got), "%v", err)
		st := status.Convert(got)
		require.Contains(t, st.Message(), fault.Of(err).Text)
		require.Len(t, st.Details(), 1, "new programs still find the reason")
		_, ok := st.Details()[0].(*errdetails.ErrorInfo)
		require.True(t, ok)
	}
}
