package client_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/client"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Stream answers each item as Propose or Read would. An error that is none of the
// project's ends the stream, as a cut connection does.
func (s *server) Stream(stream hostpb.Groups_StreamServer) error {
	if s.alone {
		return s.UnimplementedGroupsServer.Stream(stream)
	}
	s.nth("stream")
	var sending sync.Mutex
	var lots sync.WaitGroup
	defer lots.Wait()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	frames := make(chan *hostpb.StreamRequest)
	go func() {
		defer close(frames)
		for {
			req, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case frames <- req:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case req := <-frames:
			if req == nil {
				return nil
			}
			for _, lot := range req.GetLots() {
				lots.Go(func() {
					a, err := s.answer(ctx, lot)
					if err != nil {
						cancel(err)
						return
					}
					sending.Lock()
					defer sending.Unlock()
					_ = stream.Send(&hostpb.StreamResponse{Answers: []*hostpb.Answers{a}})
				})
			}
		}
	}
}

// answer does a lot.
func (s *server) answer(ctx context.Context, lot *hostpb.Lot) (*hostpb.Answers, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(lot.GetTimeoutUs())*time.Microsecond)
	defer cancel()
	items := append(lot.GetCommands(), lot.GetQueries()...)
	a := &hostpb.Answers{Lot: lot.GetId(), Data: make([][]byte, len(items)), Values: make([]uint64, len(items))}
	var mu sync.Mutex
	var broken error
	var all sync.WaitGroup
	for i, item := range items {
		all.Go(func() {
			var resp *hostpb.ProposeResponse
			var err error
			if len(lot.GetCommands()) > 0 {
				resp, err = s.Propose(ctx, &hostpb.ProposeRequest{Group: lot.GetGroup(), Command: item})
			} else {
				var read *hostpb.ReadResponse
				read, err = s.Read(ctx, &hostpb.ReadRequest{Group: lot.GetGroup(), Query: item})
				resp = &hostpb.ProposeResponse{Data: read.GetData(), Leader: read.GetLeader()}
			}
			mu.Lock()
			defer mu.Unlock()
			a.Data[i], a.Values[i] = resp.GetData(), resp.GetValue()
			if resp.GetLeader() != nil {
				a.Leader = resp.GetLeader()
			}
			if f := faultOf(err); f != nil {
				a.Faults = append(a.Faults, &hostpb.ItemFault{Item: uint32(i), Fault: f})
			} else if err != nil {
				broken = err
			}
		})
	}
	all.Wait()
	return a, broken
}

// faultOf makes an item's fault of the error that a server of the project sends.
func faultOf(err error) *hostpb.Fault {
	st := status.Convert(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			md := info.GetMetadata()
			return &hostpb.Fault{
				Reason: hostpb.Reason(hostpb.Reason_value["REASON_"+info.GetReason()]), Unknown: md["outcome"] == "unknown",
				Text: st.Message(), Group: md["group"], Leader: md["leader"], Code: uint32(st.Code()),
			}
		}
	}
	return nil
}

func TestConcurrentCallsShareAStream(t *testing.T) {
	c := newCluster(t)
	s := c.add("nodehost")
	g := c.open(s.addr).Group("kv/x")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			res, err := g.Propose(within(t, 10*time.Second), []byte(strconv.Itoa(i)))
			if err != nil || string(res.Data) != strconv.Itoa(i) {
				t.Errorf("%d: %q %v", i, res.Data, err)
			}
			data, err := g.Read(t.Context(), []byte(strconv.Itoa(i)))
			if err != nil || string(data) != strconv.Itoa(i) {
				t.Errorf("%d: %q %v", i, data, err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, s.came("stream"))
	require.Equal(t, 50, s.came("propose"))
	_, err := g.Propose(within(t, 10*time.Second), make([]byte, 1<<20))
	require.NoError(t, err, "a large one travels alone")
}

func TestWithoutStreams(t *testing.T) {
	c := newCluster(t)
	old := c.add("nodehost")
	old.alone = true
	g := c.open(old.addr).Group("kv/x")
	for range 3 {
		_, err := g.Propose(within(t, 10*time.Second), []byte("a"))
		require.NoError(t, err)
	}
	require.Equal(t, 3, old.came("propose"), "each was sent once")

	able := c.add("nodehost")
	cl, err := client.Open(within(t, 10*time.Second), []string{able.addr}, client.WithUnary())
	require.NoError(t, err)
	defer cl.Close()
	_, err = cl.Group("kv/x").Read(within(t, 10*time.Second), nil)
	require.NoError(t, err)
	require.Zero(t, able.came("stream"))
}

// TestUnaryAtAKnownLeader: the first try goes straight there, and what it comes to is judged as
// that of any other try.
func TestUnaryAtAKnownLeader(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	next := ""
	h.propose = func(_ context.Context, _ int, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		if reason := next; reason != "" {
			next = ""
			return nil, saying(reason, "")
		}
		return &hostpb.ProposeResponse{Data: req.GetCommand(), Leader: led(h)}, nil
	}
	cl, err := client.Open(within(t, ample), []string{h.addr}, client.WithUnary())
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	for _, step := range []struct {
		reason string
		came   int
	}{{"", 1}, {"", 2}, {"BUSY", 4}, {"NOT_LEADER", 6}} {
		next = step.reason
		res, err := cl.Group("kv/x").Propose(within(t, ample), []byte("v"))
		require.NoError(t, err, step.reason)
		require.Equal(t, "v", string(res.Data))
		require.Equal(t, step.came, h.came("propose"), step.reason)
	}
	next = "UNKNOWN_OUTCOME"
	_, err = cl.Group("kv/x").Propose(within(t, ample), []byte("v"))
	requireError(t, err, hostpb.Reason_REASON_UNKNOWN_OUTCOME, client.Unknown)
	require.Equal(t, 7, h.came("propose"), "it may have been applied, so it is not sent again")
}

// ProposeBatch applies every command but "again", which is refused until the second
// call, and "bad".
func (s *server) ProposeBatch(_ context.Context, req *hostpb.ProposeBatchRequest) (*hostpb.ProposeBatchResponse, error) {
	n := s.nth("batch")
	if s.batch != nil {
		return s.batch(req)
	}
	resp := &hostpb.ProposeBatchResponse{Leader: led(s)}
	for _, cmd := range req.GetCommands() {
		o := &hostpb.ProposeOutcome{Value: uint64(len(req.GetCommands())), Data: cmd}
		switch {
		case string(cmd) == "bad":
			o = &hostpb.ProposeOutcome{Fault: &hostpb.Fault{Reason: hostpb.Reason_REASON_UNKNOWN_OUTCOME, Unknown: true, Code: uint32(codes.Unknown)}}
		case string(cmd) == "again" && n == 1:
			o = &hostpb.ProposeOutcome{Fault: &hostpb.Fault{Reason: hostpb.Reason_REASON_NOT_LEADER, Code: uint32(codes.Unavailable)}}
		}
		resp.Outcomes = append(resp.Outcomes, o)
	}
	return resp, nil
}

func (s *server) ReadBatch(_ context.Context, req *hostpb.ReadBatchRequest) (*hostpb.ReadBatchResponse, error) {
	return &hostpb.ReadBatchResponse{Data: req.GetQueries(), Leader: led(s)}, nil
}

func TestBatchRepeatsOnlyWhatWasSurelyNotApplied(t *testing.T) {
	c := newCluster(t)
	s := c.add("nodehost")
	g := c.open(s.addr).Group("kv/x")
	answers, err := g.ProposeBatch(within(t, 10*time.Second), [][]byte{[]byte("a"), []byte("again"), []byte("bad")})
	require.NoError(t, err)
	require.Equal(t, uint64(3), answers[0].Value)
	require.Equal(t, uint64(1), answers[1].Value, "it alone was sent again")
	requireError(t, answers[2].Err, hostpb.Reason_REASON_UNKNOWN_OUTCOME, client.Unknown)
	require.Equal(t, 2, s.came("batch"))

	data, err := g.ReadBatch(within(t, 10*time.Second), [][]byte{[]byte("a"), []byte("b")})
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("a"), []byte("b")}, data)
	answers, err = g.ProposeBatch(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, answers)
}

func TestBatchAsAWhole(t *testing.T) {
	c := newCluster(t)
	s := c.add("nodehost")
	g := c.open(s.addr).Group("kv/x")
	s.batch = func(*hostpb.ProposeBatchRequest) (*hostpb.ProposeBatchResponse, error) {
		return nil, fmt.Errorf("cut: %w", status.Error(codes.Unavailable, "gone"))
	}
	_, err := g.ProposeBatch(within(t, 10*time.Second), [][]byte{[]byte("a")})
	requireError(t, err, hostpb.Reason_REASON_UNKNOWN_OUTCOME, client.Unknown)
	s.batch = func(*hostpb.ProposeBatchRequest) (*hostpb.ProposeBatchResponse, error) {
		return &hostpb.ProposeBatchResponse{}, nil
	}
	_, err = g.ProposeBatch(within(t, 10*time.Second), [][]byte{[]byte("a")})
	requireError(t, err, hostpb.Reason_REASON_INTERNAL, client.Unknown)
}
