package lane_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/client/lane"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// other is the other side of a Lane: serve does what a test needs with each stream.
type other struct {
	hostpb.UnimplementedGroupsServer
	serve func(n int, s hostpb.Groups_StreamServer) error

	mu      sync.Mutex
	streams int // guarded by mu
}

func (o *other) Stream(s hostpb.Groups_StreamServer) error {
	o.mu.Lock()
	o.streams++
	n := o.streams
	o.mu.Unlock()
	return o.serve(n, s)
}

// open serves o and returns a Lane to it.
func open(t *testing.T, o hostpb.GroupsServer) *lane.Lane {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	hostpb.RegisterGroupsServer(server, o)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln)
	}()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	l := lane.New(conn)
	t.Cleanup(func() {
		l.Close()
		require.NoError(t, conn.Close())
		server.Stop()
		<-served
	})
	return l
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// echoed answers a lot with its own items, the length as the value; an item "bad" fails.
func echoed(x *hostpb.Lot) *hostpb.Answers {
	a := &hostpb.Answers{Lot: x.GetId(), Leader: &hostpb.Location{Id: 7}}
	for i, item := range append(x.GetCommands(), x.GetQueries()...) {
		a.Data, a.Values = append(a.Data, item), append(a.Values, uint64(len(item)))
		if string(item) == "bad" {
			a.Faults = append(a.Faults, &hostpb.ItemFault{Item: uint32(i), Fault: &hostpb.Fault{Reason: hostpb.Reason_REASON_INVALID}})
		}
	}
	return a
}

// echo answers all lots, several in a frame and each in several parts, the last lot first.
func echo(_ int, s hostpb.Groups_StreamServer) error {
	for {
		req, err := s.Recv()
		if err != nil {
			return nil //nolint:nilerr // the end
		}
		resp := &hostpb.StreamResponse{}
		for i := len(req.GetLots()) - 1; i >= 0; i-- {
			whole := echoed(req.GetLots()[i])
			for j := range whole.GetData() {
				part := &hostpb.Answers{Lot: whole.GetLot(), First: uint32(j), Data: whole.GetData()[j : j+1], Values: whole.GetValues()[j : j+1], Leader: whole.GetLeader()}
				for _, f := range whole.GetFaults() {
					if f.GetItem() == uint32(j) {
						part.Faults = append(part.Faults, &hostpb.ItemFault{Fault: f.GetFault()})
					}
				}
				resp.Answers = append(resp.Answers, part)
			}
		}
		if err := s.Send(resp); err != nil {
			return err
		}
	}
}

func head(group string) lane.Head { return lane.Head{Group: &hostpb.GroupRef{Name: group}} }

func TestEveryCallerGetsItsOwnAnswer(t *testing.T) {
	l, ctx := open(t, &other{serve: echo}), within(t, 20*time.Second)
	var wg sync.WaitGroup
	for caller := range 64 {
		wg.Go(func() {
			h := head("kv/" + strconv.Itoa(caller%5))
			h.Read = caller%2 == 0
			for n := range 50 {
				item := fmt.Sprintf("%d-%d", caller, n)
				a, where, err := l.One(ctx, h, []byte(item))
				if err != nil || string(a.Data) != item || a.Value != uint64(len(item)) || where.GetId() != 7 {
					t.Errorf("%s: %q %v %v", item, a.Data, where, err)
				}
			}
		})
	}
	wg.Wait()
	answers, _, err := l.Many(ctx, head("kv/a"), [][]byte{[]byte("x"), []byte("bad"), []byte("y")})
	require.NoError(t, err)
	require.Equal(t, "x", string(answers[0].Data))
	require.Equal(t, hostpb.Reason_REASON_INVALID, answers[1].Fault.GetReason())
	require.Equal(t, "y", string(answers[2].Data))
	_, _, err = l.Many(ctx, head("kv/a"), nil)
	requireLost(t, err, false)
	_, _, err = l.One(ctx, head("kv/\xff"), []byte("x")) // which cannot travel, and harms no other
	require.Equal(t, codes.InvalidArgument, status.Code(requireLost(t, err, false).Err))
}

// requireLost asserts that a call got no answer, and whether it may have arrived.
func requireLost(t *testing.T, err error, sent bool) *lane.Lost {
	t.Helper()
	var lost *lane.Lost
	require.ErrorAs(t, err, &lost)
	require.Equal(t, sent, lost.Sent, "%v", err)
	return lost
}

func TestOneThatLeavesDoesNotHarmTheOthers(t *testing.T) {
	came, goOn := make(chan *hostpb.StreamRequest), make(chan struct{})
	l := open(t, &other{serve: func(n int, s hostpb.Groups_StreamServer) error {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		came <- req
		req2, err := s.Recv() // the cancel
		if err != nil {
			return err
		}
		came <- req2
		<-goOn
		if err := s.Send(&hostpb.StreamResponse{Answers: []*hostpb.Answers{echoed(req.GetLots()[0])}}); err != nil {
			return err
		}
		return echo(n, s)
	}})
	ctx, cancel := context.WithCancel(within(t, 10*time.Second))
	left := make(chan error)
	go func() {
		_, _, err := l.One(ctx, head("kv/a"), []byte("x"))
		left <- err
	}()
	lot := (<-came).GetLots()[0]
	require.Equal(t, "kv/a", lot.GetGroup().GetName())
	cancel()
	require.ErrorIs(t, <-left, context.Canceled)
	require.Equal(t, lot.GetId(), (<-came).GetCancels()[0].GetLot())
	close(goOn) // the answer nobody waits for
	h := head("kv/a")
	h.Within = 10 * time.Second
	a, _, err := l.One(t.Context(), h, []byte("y"))
	require.NoError(t, err)
	require.Equal(t, "y", string(a.Data))
}

func TestTimeTravelsAndEnds(t *testing.T) {
	timeouts := make(chan uint64, 2)
	l := open(t, &other{serve: func(_ int, s hostpb.Groups_StreamServer) error {
		for {
			req, err := s.Recv()
			if err != nil {
				return err
			}
			for _, x := range req.GetLots() {
				timeouts <- x.GetTimeoutUs()
			}
		}
	}})
	for name, one := range map[string]func(d time.Duration) error{
		"its own": func(d time.Duration) error {
			h := head("kv/a")
			h.Within = d
			_, _, err := l.One(within(t, time.Minute), h, nil)
			return err
		},
		"the caller's": func(d time.Duration) error {
			_, _, err := l.One(within(t, d), head("kv/a"), nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := 30*time.Millisecond, one(30*time.Millisecond)
			for ; !sent(t, err) && d < 30*time.Second; err = one(d) { // on a busy machine it is over before it is sent
				d *= 2
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
			requireLost(t, err, true)
			require.LessOrEqual(t, <-timeouts, uint64(d.Microseconds()))
		})
	}
}

// sent tells whether the request had left when it failed.
func sent(t *testing.T, err error) bool {
	t.Helper()
	var lost *lane.Lost
	require.ErrorAs(t, err, &lost)
	return lost.Sent
}

// telling answers each item with something of its lot.
func telling(what func(x *hostpb.Lot) any) *other {
	return &other{serve: func(_ int, s hostpb.Groups_StreamServer) error {
		for {
			req, err := s.Recv()
			if err != nil {
				return err
			}
			resp := &hostpb.StreamResponse{}
			for _, x := range req.GetLots() {
				a := echoed(x)
				for i := range a.GetData() {
					a.Data[i] = fmt.Append(nil, what(x))
				}
				resp.Answers = append(resp.Answers, a)
			}
			if err := s.Send(resp); err != nil {
				return err
			}
		}
	}}
}

// The groups of one name in several regions are as different as any others.
func TestRegionsTravelApart(t *testing.T) {
	l := open(t, telling(func(x *hostpb.Lot) any { return x.GetGroup().GetRegion() }))
	ctx := within(t, 20*time.Second)
	var wg sync.WaitGroup
	for caller := range 32 {
		wg.Go(func() {
			h := head("kv/a")
			h.Group.Region = []string{"", "east", "west"}[caller%3]
			for range 20 {
				a, _, err := l.One(ctx, h, []byte("x"))
				if err != nil || string(a.Data) != h.Group.GetRegion() {
					t.Errorf("%s: %q %v", h.Group.GetRegion(), a.Data, err)
				}
			}
		})
	}
	wg.Wait()
	_, _, err := l.One(ctx, lane.Head{Group: &hostpb.GroupRef{Name: "kv/a", Region: "\xff"}}, []byte("x"))
	require.Equal(t, codes.InvalidArgument, status.Code(requireLost(t, err, false).Err))
}

// What may be applied twice travels in lots that say so, and nothing else does.
func TestWhatMayBeRepeatedTravelsApart(t *testing.T) {
	l := open(t, telling(func(x *hostpb.Lot) any { return x.GetRepeatable() }))
	ctx := within(t, 20*time.Second)
	var wg sync.WaitGroup
	for caller := range 32 {
		wg.Go(func() {
			h := head("kv/a")
			h.Repeatable = caller%2 == 0
			for range 20 {
				a, _, err := l.One(ctx, h, []byte("x"))
				if err != nil || string(a.Data) != fmt.Sprint(h.Repeatable) {
					t.Errorf("%v: %q %v", h.Repeatable, a.Data, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestAnEndSaysWhatWasNotTaken(t *testing.T) {
	l := open(t, &other{serve: func(n int, s hostpb.Groups_StreamServer) error {
		if n > 1 {
			return echo(n, s)
		}
		first, err := s.Recv()
		if err != nil {
			return err
		}
		if err := s.Send(&hostpb.StreamResponse{Answers: []*hostpb.Answers{echoed(first.GetLots()[0])}}); err != nil {
			return err
		}
		if _, err := s.Recv(); err != nil {
			return err
		}
		return s.Send(&hostpb.StreamResponse{End: &hostpb.End{Last: first.GetLots()[0].GetId()}})
	}})
	ctx := within(t, 10*time.Second)
	_, _, err := l.One(ctx, head("kv/a"), []byte("x"))
	require.NoError(t, err)
	_, _, err = l.One(ctx, head("kv/a"), []byte("y"))
	requireLost(t, err, false)
	a, _, err := l.One(ctx, head("kv/a"), []byte("z")) // a stream of its own
	require.NoError(t, err)
	require.Equal(t, "z", string(a.Data))
}

func TestWhatBreaksTheStream(t *testing.T) {
	answer := func(a *hostpb.Answers) func(int, hostpb.Groups_StreamServer) error {
		return func(_ int, s hostpb.Groups_StreamServer) error {
			if _, err := s.Recv(); err != nil {
				return err
			}
			if err := s.Send(&hostpb.StreamResponse{Answers: []*hostpb.Answers{a}}); err != nil {
				return err
			}
			<-s.Context().Done()
			return nil
		}
	}
	for name, serve := range map[string]func(int, hostpb.Groups_StreamServer) error{
		"cut":           func(_ int, s hostpb.Groups_StreamServer) error { _, _ = s.Recv(); return io.ErrUnexpectedEOF },
		"ended":         func(_ int, s hostpb.Groups_StreamServer) error { _, _ = s.Recv(); return nil },
		"unknown lot":   answer(&hostpb.Answers{Lot: 99}),
		"too many":      answer(&hostpb.Answers{Lot: 1, Data: make([][]byte, 2)}),
		"behind":        answer(&hostpb.Answers{Lot: 1, First: 4e9, Data: make([][]byte, 1)}),
		"values":        answer(&hostpb.Answers{Lot: 1, Data: make([][]byte, 1), Values: make([]uint64, 2)}),
		"fault of none": answer(&hostpb.Answers{Lot: 1, Data: make([][]byte, 1), Faults: []*hostpb.ItemFault{{Item: 1, Fault: &hostpb.Fault{}}}}),
		"empty fault":   answer(&hostpb.Answers{Lot: 1, Data: make([][]byte, 1), Faults: []*hostpb.ItemFault{{}}}),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := open(t, &other{serve: serve}).One(within(t, 10*time.Second), head("kv/a"), []byte("x"))
			requireLost(t, err, true)
		})
	}
	_, _, err := open(t, hostpb.UnimplementedGroupsServer{}).One(within(t, 10*time.Second), head("kv/a"), []byte("x"))
	require.True(t, requireLost(t, err, false).Unsupported)
	denied := func(int, hostpb.Groups_StreamServer) error { return status.Error(codes.PermissionDenied, "no") }
	_, _, err = open(t, &other{serve: denied}).One(within(t, 10*time.Second), head("kv/a"), []byte("x"))
	requireLost(t, err, false)
}

func TestNoRoomForMore(t *testing.T) {
	l := open(t, &other{serve: func(_ int, s hostpb.Groups_StreamServer) error {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		a := echoed(req.GetLots()[0])
		a.Data, a.Values, a.Full = a.GetData()[:1], a.GetValues()[:1], req.GetLots()[0].GetRoom() == 9
		if err := s.Send(&hostpb.StreamResponse{Answers: []*hostpb.Answers{a}}); err != nil {
			return err
		}
		<-s.Context().Done()
		return nil
	}})
	h := head("kv/a")
	h.Read, h.Room = true, 9
	answers, _, err := l.Many(within(t, 10*time.Second), h, [][]byte{[]byte("a"), []byte("b"), []byte("c")})
	require.NoError(t, err)
	require.Len(t, answers, 1)
}

func TestCloseEndsEverything(t *testing.T) {
	came := make(chan struct{})
	l := open(t, &other{serve: func(_ int, s hostpb.Groups_StreamServer) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		close(came)
		<-s.Context().Done()
		return nil
	}})
	over := make(chan error)
	go func() {
		_, _, err := l.One(within(t, 10*time.Second), head("kv/a"), []byte("x"))
		over <- err
	}()
	<-came
	l.Close()
	require.ErrorIs(t, <-over, lane.ErrClosed)
	_, _, err := l.One(within(t, 10*time.Second), head("kv/a"), []byte("x"))
	require.ErrorIs(t, err, lane.ErrClosed)
	requireLost(t, err, false)
	l.Close()
}

// TestLeavingAtAnyTime lets callers leave at random while answers come.
func TestLeavingAtAnyTime(t *testing.T) {
	l := open(t, &other{serve: echo})
	var wg sync.WaitGroup
	for caller := range 32 {
		wg.Go(func() {
			buf := make([]byte, 8)
			for n := range 100 {
				for i := range buf {
					buf[i] = byte(caller)
				}
				h := head("kv/a")
				h.Within = time.Duration(1+(caller*37+n*91)%400) * time.Microsecond
				a, _, err := l.One(t.Context(), h, buf)
				var lost *lane.Lost
				switch {
				case err != nil && !errors.As(err, &lost):
					t.Error(err)
				case err == nil && (len(a.Data) != 8 || a.Data[0] != byte(caller) || a.Data[7] != byte(caller)):
					t.Errorf("caller %d got %v", caller, a.Data)
				}
				clear(buf) // its own again
			}
		})
	}
	wg.Wait()
}
