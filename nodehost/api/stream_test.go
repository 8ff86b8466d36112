package api_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve"
	"github.com/drumline/drumline/internal/serve/servetest"
	"github.com/drumline/drumline/nodehost/api"
	"github.com/drumline/drumline/nodehost/route"
)

// funcRouter does with items what a test says.
type funcRouter struct {
	*fakeRouter
	propose func(ctx context.Context, m route.Many) []route.Outcome
	read    func(ctx context.Context, m route.Many) []route.Outcome
}

func (f *funcRouter) ProposeMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location) {
	return f.propose(ctx, m), &hostpb.Location{Id: 1000, LeaderHost: "self"}
}

func (f *funcRouter) ReadMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location) {
	return f.read(ctx, m), &hostpb.Location{Id: 1000, LeaderHost: "another"}
}

// echoItems answers items with themselves, those that fit in the room.
func echoItems(_ context.Context, m route.Many) []route.Outcome {
	var out []route.Outcome
	size := 0
	for i, item := range m.Items {
		if size += len(item); i > 0 && m.Room > 0 && size > m.Room {
			break
		}
		o := route.Outcome{}
		if o.Result.Data = item; string(item) == "bad" {
			o = route.Outcome{Err: fault.New(fault.Invalid, "refused").InGroup("kv/x")}
		}
		out = append(out, o)
	}
	return out
}

// talk opens a stream.
func talk(t *testing.T, r api.Router, stopping <-chan struct{}) (hostpb.Groups_StreamClient, *servetest.Server) {
	t.Helper()
	var server *servetest.Server
	conn := servetest.Dial(t, func(s *servetest.Server) {
		server = s
		api.Register(s, api.Options{Router: r, Stopping: stopping})
	})
	s, err := hostpb.NewGroupsClient(conn).Stream(within(t, 20*time.Second))
	require.NoError(t, err)
	return s, server
}

func lotOf(id uint64, commands ...string) *hostpb.Lot {
	x := &hostpb.Lot{Id: id, Group: &hostpb.GroupRef{Name: "kv/x"}}
	for _, c := range commands {
		x.Commands = append(x.Commands, []byte(c))
	}
	return x
}

func frame(t *testing.T, s hostpb.Groups_StreamClient, lots ...*hostpb.Lot) {
	t.Helper()
	require.NoError(t, s.Send(&hostpb.StreamRequest{Lots: lots}))
}

func recv(t *testing.T, s hostpb.Groups_StreamClient) *hostpb.StreamResponse {
	t.Helper()
	resp, err := s.Recv()
	require.NoError(t, err)
	return resp
}

func TestStreamAnswersEachItem(t *testing.T) {
	s, _ := talk(t, &funcRouter{propose: echoItems, read: echoItems}, nil)
	frame(t, s, lotOf(1, "a", "bad", "c"))
	a := recv(t, s).GetAnswers()[0]
	require.Equal(t, uint64(1), a.GetLot())
	require.Equal(t, [][]byte{[]byte("a"), {}, []byte("c")}, a.GetData())
	require.Len(t, a.GetFaults(), 1)
	require.Equal(t, uint32(1), a.GetFaults()[0].GetItem())
	err := serve.FromItem(a.GetFaults()[0].GetFault())
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	require.Equal(t, "kv/x", fault.Of(err).Group)
	require.Nil(t, a.GetLeader(), "it is led where the stream goes, which is no news")

	located := lotOf(2, "a")
	located.Locate = true
	frame(t, s, located)
	require.Equal(t, "self", recv(t, s).GetAnswers()[0].GetLeader().GetLeaderHost())
	frame(t, s, &hostpb.Lot{Id: 3, Group: &hostpb.GroupRef{Name: "kv/x"}, Queries: [][]byte{[]byte("q")}})
	require.Equal(t, "another", recv(t, s).GetAnswers()[0].GetLeader().GetLeaderHost(), "led elsewhere: told unasked")

	require.NoError(t, s.CloseSend())
	require.Equal(t, uint64(3), recv(t, s).GetEnd().GetLast())
	_, err = s.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestStreamSplitsLargeAnswers(t *testing.T) {
	large := make([]byte, 200<<10)
	s, _ := talk(t, &funcRouter{propose: echoItems, read: echoItems}, nil)
	queries := &hostpb.Lot{Id: 1, Group: &hostpb.GroupRef{Name: "kv/x"}}
	for range 10 {
		queries.Queries = append(queries.Queries, large)
	}
	frame(t, s, queries)
	for seen := 0; seen < 10; {
		for _, a := range recv(t, s).GetAnswers() {
			require.Equal(t, seen, int(a.GetFirst()))
			require.False(t, a.GetFull())
			seen += len(a.GetData())
		}
	}
	bounded := &hostpb.Lot{Id: 2, Group: queries.GetGroup(), Queries: queries.GetQueries(), Room: 500 << 10}
	frame(t, s, bounded)
	seen, full := 0, false
	for !full {
		for _, a := range recv(t, s).GetAnswers() {
			seen += len(a.GetData())
			full = full || a.GetFull()
		}
	}
	require.Equal(t, 2, seen)
	tooLarge := func(context.Context, route.Many) []route.Outcome {
		return []route.Outcome{{Result: echoItems(t.Context(), route.Many{Items: [][]byte{make([]byte, serve.MaxMessage)}})[0].Result}}
	}
	s, _ = talk(t, &funcRouter{propose: tooLarge, read: tooLarge}, nil)
	frame(t, s, lotOf(1, "a"))
	require.True(t, recv(t, s).GetAnswers()[0].GetFaults()[0].GetFault().GetUnknown(), "it was applied")
}

func TestStreamRefusesWhatIsNoLot(t *testing.T) {
	both := lotOf(1, "a")
	both.Queries = [][]byte{[]byte("q")}
	for name, lots := range map[string][]*hostpb.Lot{
		"empty": {lotOf(1)}, "both": {both}, "order": {lotOf(2, "a"), lotOf(2, "b")}, "zero": {lotOf(0, "a")},
		"many": {lotOf(1, make([]string, route.MaxItems+1)...)},
	} {
		s, _ := talk(t, &funcRouter{propose: echoItems, read: echoItems}, nil)
		frame(t, s, lots...)
		var err error
		for err == nil {
			_, err = s.Recv()
		}
		require.Equal(t, codes.InvalidArgument, status.Code(err), "%s: %v", name, err)
	}
}

func TestStreamTakesNoMoreThanItMay(t *testing.T) {
	var mu sync.Mutex
	taken, goOn := 0, make(chan struct{})
	s, _ := talk(t, &funcRouter{propose: func(ctx context.Context, m route.Many) []route.Outcome {
		mu.Lock()
		taken += len(m.Items)
		mu.Unlock()
		<-goOn
		return echoItems(ctx, m)
	}}, nil)
	items := make([]string, 4000)
	for id := range uint64(8) {
		frame(t, s, lotOf(id+1, items...))
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return taken }
	require.Eventually(t, func() bool { return count() == 16000 }, 20*time.Second, time.Millisecond)
	require.Never(t, func() bool { return count() > 16000 }, 50*time.Millisecond, 5*time.Millisecond)
	close(goOn)
	for seen := 0; seen < 32000; {
		for _, a := range recv(t, s).GetAnswers() {
			seen += len(a.GetData())
		}
	}
}

func TestStreamStopsWithEverythingTakenAnswered(t *testing.T) {
	came, goOn, stopping := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s, server := talk(t, &funcRouter{propose: func(ctx context.Context, m route.Many) []route.Outcome {
		came <- struct{}{}
		<-goOn
		return echoItems(ctx, m)
	}}, stopping)
	frame(t, s, lotOf(1, "a"))
	<-came
	close(stopping)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		server.GracefulStop()
	}()
	close(goOn)
	require.Equal(t, "a", string(recv(t, s).GetAnswers()[0].GetData()[0]))
	require.Equal(t, uint64(1), recv(t, s).GetEnd().GetLast())
	_, err := s.Recv()
	require.ErrorIs(t, err, io.EOF)
	<-stopped
}

func TestStreamCancelEndsALotThatNobodyWaitsFor(t *testing.T) {
	came := make(chan struct{})
	s, _ := talk(t, &funcRouter{propose: func(ctx context.Context, m route.Many) []route.Outcome {
		close(came)
		<-ctx.Done()
		return make([]route.Outcome, len(m.Items))
	}}, nil)
	frame(t, s, lotOf(1, "a", "b"))
	<-came
	require.NoError(t, s.Send(&hostpb.StreamRequest{Cancels: []*hostpb.Cancel{{Lot: 1, Items: 1}, {Lot: 99, Items: 1}, {Lot: 1, Items: 1}}}))
	require.Len(t, recv(t, s).GetAnswers()[0].GetData(), 2)
}

func TestStreamSurvivesADefect(t *testing.T) {
	s, _ := talk(t, &funcRouter{propose: func(context.Context, route.Many) []route.Outcome { panic("defect") }}, nil)
	frame(t, s, lotOf(1, "a", "b"))
	a := recv(t, s).GetAnswers()[0]
	require.Len(t, a.GetFaults(), 2)
	require.Equal(t, hostpb.Reason_REASON_INTERNAL, a.GetFaults()[0].GetFault().GetReason())
	require.True(t, a.GetFaults()[0].GetFault().GetUnknown())
}

func TestStreamEndsWithItsAsker(t *testing.T) {
	came, over := make(chan struct{}), make(chan struct{})
	s, _ := talk(t, &funcRouter{propose: func(ctx context.Context, m route.Many) []route.Outcome {
		close(came)
		<-ctx.Done()
		close(over)
		return make([]route.Outcome, len(m.Items))
	}}, nil)
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	again, err := hostpb.NewGroupsClient(serveRouter(t, &funcRouter{propose: echoItems})).Stream(ctx)
	require.NoError(t, err)
	frame(t, again, lotOf(1, "a"))
	recv(t, again)
	cancel()
	_, err = again.Recv()
	require.Equal(t, codes.Canceled, status.Code(err))
	expiring := lotOf(1, "a")
	expiring.TimeoutUs = 1000
	frame(t, s, expiring)
	<-came
	<-over
	recv(t, s)
}

func TestBatches(t *testing.T) {
	g, ctx := hostpb.NewGroupsClient(serveRouter(t, &funcRouter{propose: echoItems, read: echoItems})), within(t, 20*time.Second)
	ref := &hostpb.GroupRef{Name: "kv/x"}
	p, err := g.ProposeBatch(ctx, &hostpb.ProposeBatchRequest{Group: ref, Commands: [][]byte{[]byte("a"), []byte("bad")}})
	require.NoError(t, err)
	require.Equal(t, "a", string(p.GetOutcomes()[0].GetData()))
	require.Equal(t, hostpb.Reason_REASON_INVALID, p.GetOutcomes()[1].GetFault().GetReason())
	r, err := g.ReadBatch(ctx, &hostpb.ReadBatchRequest{Group: ref, Queries: [][]byte{[]byte("a"), []byte("b")}})
	require.NoError(t, err)
	require.Len(t, r.GetData(), 2)
	_, err = g.ReadBatch(ctx, &hostpb.ReadBatchRequest{Group: ref, Queries: [][]byte{[]byte("a"), []byte("bad")}})
	require.True(t, fault.Is(serve.ReadFault(err), fault.Invalid), "%v", err)
	_, err = g.ReadBatch(ctx, &hostpb.ReadBatchRequest{Group: ref})
	require.True(t, fault.Is(serve.ReadFault(err), fault.Invalid), "%v", err)
	_, err = g.ProposeBatch(ctx, &hostpb.ProposeBatchRequest{Group: ref})
	require.True(t, fault.Is(serve.Fault(err), fault.Invalid), "%v", err)
}
