package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/config"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

func TestOpenRefusesWhatIsNoAddress(t *testing.T) {
	for _, bad := range [][]string{nil, {""}, {"host"}, {"host:"}, {"127.0.0.1:1", "x"}} {
		_, err := client.Open(within(t, ample), bad)
		requireError(t, err, hostpb.Reason_REASON_INVALID, client.NotApplied)
	}
	_, err := client.Open(within(t, ample), []string{"127.0.0.1:1"}, client.WithTLS(config.TLS{CA: "/none", Cert: "/none", Key: "/none"}))
	requireError(t, err, hostpb.Reason_REASON_INVALID, client.NotApplied)
}

func TestOpenNeedsOneAnswer(t *testing.T) {
	start := time.Now()
	attempts := 0
	for d := 300 * time.Millisecond; attempts < 2 && d < time.Minute; d *= 2 { // a busy machine may have time for one only
		_, err := client.Open(within(t, d), []string{deadAddress(t), deadAddress(t)})
		e := requireError(t, err, hostpb.Reason_REASON_UNAVAILABLE, client.NotApplied)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		attempts = e.Attempts
	}
	require.Less(t, time.Since(start), time.Minute)
	require.Greater(t, attempts, 1)

	c := newCluster(t)
	h := c.add("nodehost")
	cl := c.open(deadAddress(t), h.addr)
	list, err := cl.Servers(within(t, ample))
	require.NoError(t, err)
	require.Len(t, list, 1)
}

func TestHealthyClusterSeesOneTryACall(t *testing.T) {
	for range 10 { // a machine that stood still had a connection take too long: then others are asked
		if oneTryACall(t) {
			return
		}
	}
	t.Fatal("the leader is not learned from the first answer, or the client calls more than it needs to")
}

func oneTryACall(t *testing.T) bool {
	t.Helper()
	c := newCluster(t)
	d := c.add("drummer")
	hosts := []*server{c.add("nodehost"), c.add("nodehost"), c.add("nodehost")}
	leader := hosts[1]
	for _, h := range hosts {
		h.propose = func(_ context.Context, _ int, _ *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
			return &hostpb.ProposeResponse{Leader: led(leader)}, nil
		}
	}
	cl := c.open(d.addr)
	g := cl.Group("kv/x")
	const calls = 500
	for range calls {
		_, err := g.Propose(within(t, ample), []byte("v"))
		require.NoError(t, err)
	}
	return float64(c.total()) <= 1.3*calls && // all RPCs of the client, also those that learn
		leader.came("propose") >= calls-1
}

// A client that calls without streams asks who leads only when it does not know, or goes
// elsewhere: an answer without a leader is the leader's.
func TestAsksWhoLeadsOnlyWhileItDoesNotKnow(t *testing.T) {
	c := newCluster(t)
	a, b := c.add("nodehost"), c.add("nodehost")
	leader := b
	var asked []bool
	for _, h := range []*server{a, b} {
		h.propose = func(_ context.Context, _ int, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
			asked = append(asked, req.GetLocate())
			switch {
			case h != leader:
				return nil, saying("NOT_LEADER", leader.addr)
			case req.GetLocate():
				return &hostpb.ProposeResponse{Leader: led(h)}, nil
			}
			return &hostpb.ProposeResponse{}, nil
		}
	}
	cl, err := client.Open(within(t, ample), []string{b.addr}, client.WithUnary())
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	call := func() {
		_, err := cl.Group("kv/x").Propose(within(t, ample), nil)
		require.NoError(t, err)
	}
	call()
	call()
	require.True(t, asked[0])
	require.False(t, asked[len(asked)-1])
	asked, leader = nil, a
	call()
	require.Equal(t, []bool{false, true}, asked, "the old leader names another, which is asked")
	asked = nil
	call()
	require.Equal(t, []bool{false}, asked)
}

func TestRetriesWhatWasNotApplied(t *testing.T) {
	for _, reason := range []string{"NOT_LEADER", "NO_QUORUM", "NOT_OPEN", "BUSY", "UNAVAILABLE"} {
		t.Run(reason, func(t *testing.T) {
			c := newCluster(t)
			h := c.add("nodehost")
			h.propose = func(_ context.Context, n int, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
				if n < 4 {
					return nil, saying(reason, "")
				}
				return &hostpb.ProposeResponse{Value: 9, Data: req.GetCommand(), Leader: led(h)}, nil
			}
			res, err := c.open(h.addr).Group("kv/x").Propose(within(t, ample), []byte("v"))
			require.NoError(t, err)
			require.Equal(t, client.Result{Value: 9, Data: []byte("v")}, res)
			require.Equal(t, 4, h.came("propose"))
		})
	}
}

func TestDoesNotRetryWhatNoRetryHelps(t *testing.T) {
	for _, reason := range []string{"GROUP_NOT_FOUND", "SEALED", "TOO_LARGE", "INVALID", "SESSION_GONE", "CONFLICT", "INTERNAL", "UNKNOWN_OUTCOME", "A_REASON_OF_TOMORROW"} {
		t.Run(reason, func(t *testing.T) {
			c := newCluster(t)
			h := c.add("nodehost")
			h.propose = func(context.Context, int, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
				return nil, saying(reason, "")
			}
			_, err := c.open(h.addr).Group("kv/x").Propose(within(t, ample), []byte("v"))
			var e *client.Error
			require.ErrorAs(t, err, &e)
			want := client.NotApplied
			if reason == "INTERNAL" || reason == "UNKNOWN_OUTCOME" {
				want = client.Unknown
			}
			require.Equal(t, want, client.OutcomeOf(err))
			require.Equal(t, "kv/x", e.Group)
			require.Equal(t, h.addr, e.Server)
			require.Equal(t, 1, e.Attempts)
			require.Equal(t, codes.Unavailable, status.Code(err), "the code of the wire stays visible")
			require.Equal(t, 1, h.came("propose"))
		})
	}
}

func TestLastWordOfAServerIsTheError(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	h := c.add("nodehost")
	h.propose = func(context.Context, int, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		return nil, saying("NO_QUORUM", "")
	}
	err := endsWith(t, hostpb.Reason_REASON_NO_QUORUM, func(ctx context.Context) error {
		_, err := c.open(h.addr).Group("kv/x").Propose(ctx, nil)
		return err
	})
	requireError(t, err, hostpb.Reason_REASON_NO_QUORUM, client.NotApplied)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "said NO_QUORUM")
}

func TestFollowsHintsButNotInCircles(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := c.add("nodehost"), c.add("nodehost")
	a.propose = func(context.Context, int, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		return nil, saying("NOT_LEADER", b.addr)
	}
	cl := c.open(a.addr)
	b.propose = func(_ context.Context, _ int, _ *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		return nil, saying("NOT_LEADER", a.addr)
	}
	err := endsWith(t, hostpb.Reason_REASON_NOT_LEADER, func(ctx context.Context) error {
		_, err := cl.Group("kv/x").Propose(ctx, nil)
		return err
	})
	e := requireError(t, err, hostpb.Reason_REASON_NOT_LEADER, client.NotApplied)
	require.NotEmpty(t, e.Leader)
	require.Less(t, e.Attempts, 65)

	b.propose = func(context.Context, int, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		return &hostpb.ProposeResponse{Leader: led(b)}, nil
	}
	_, err = cl.Group("kv/x").Propose(within(t, ample), nil)
	require.NoError(t, err)
}

func TestCommandLostInFlightIsUnknown(t *testing.T) {
	c := newCluster(t)
	a, b := c.add("nodehost"), c.add("nodehost")
	both := func(s *server) {
		s.propose = func(ctx context.Context, _ int, _ *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
			return nil, s.die(ctx)
		}
	}
	both(a)
	both(b)
	_, err := c.open(a.addr).Group("kv/x").Propose(within(t, ample), nil)
	requireError(t, err, hostpb.Reason_REASON_UNKNOWN_OUTCOME, client.Unknown)
	require.Equal(t, 1, a.came("propose")+b.came("propose"), "never sent again")
}

func TestCommandThatRunsIntoTheDeadlineIsUnknown(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	h := c.add("nodehost")
	h.propose = func(ctx context.Context, _ int, _ *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	cl := c.open(h.addr)
	_, err := cl.Group("kv/x").Propose(within(t, 2*time.Second), nil)
	requireError(t, err, hostpb.Reason_REASON_UNKNOWN_OUTCOME, client.Unknown)
	ctx, cancel := context.WithCancel(within(t, ample))
	timer := time.AfterFunc(50*time.Millisecond, cancel)
	defer timer.Stop()
	_, err = cl.Group("kv/x").Propose(ctx, nil)
	requireError(t, err, hostpb.Reason_REASON_UNKNOWN_OUTCOME, client.Unknown)
}

func TestNeverSentIsNotApplied(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	cl := c.open(h.addr)
	h.grpc.Stop()
	require.Eventually(t, func() bool { // until the connection is known to be gone
		_, err := cl.Group("kv/x").Propose(within(t, 100*time.Millisecond), nil)
		return client.OutcomeOf(err) == client.NotApplied
	}, 20*time.Second, 10*time.Millisecond)
	err := endsWith(t, hostpb.Reason_REASON_UNAVAILABLE, func(ctx context.Context) error {
		_, err := cl.Group("kv/x").Propose(ctx, nil)
		return err
	})
	requireError(t, err, hostpb.Reason_REASON_UNAVAILABLE, client.NotApplied)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = cl.Group("kv/x").Propose(ctx, nil)
	requireError(t, err, hostpb.Reason_REASON_DEADLINE, client.NotApplied)
	require.ErrorIs(t, err, context.Canceled)
}

func TestFailsOverToAnotherHost(t *testing.T) {
	c := newCluster(t)
	a, b := c.add("nodehost"), c.add("nodehost")
	cl := c.open(a.addr)
	g := cl.Group("kv/x")
	_, err := g.Propose(within(t, ample), nil)
	require.NoError(t, err)
	dead, alive := a, b
	if b.came("propose") > 0 {
		dead, alive = b, a
	}
	dead.grpc.Stop()
	require.Eventually(t, func() bool {
		_, err := g.Propose(within(t, time.Second), nil)
		return err == nil
	}, ample, time.Millisecond, "at most one call may have met the dying connection")
	require.Positive(t, alive.came("propose"))
}

func TestReadIsRepeated(t *testing.T) {
	c := newCluster(t)
	a, b := c.add("nodehost"), c.add("nodehost")
	a.read = func(ctx context.Context, _ int, _ *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
		return nil, a.die(ctx)
	}
	data, err := c.open(b.addr).Group("kv/x").Read(within(t, ample), []byte("q"))
	require.NoError(t, err)
	require.Equal(t, "q", string(data))
}

func TestHostThatHangsDoesNotTakeTheWholeDeadline(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := c.add("nodehost"), c.add("nodehost")
	for _, h := range []*server{a, b} {
		h.read = func(ctx context.Context, _ int, _ *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
			if a.came("read")+b.came("read") == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &hostpb.ReadResponse{}, nil
		}
	}
	_, err := c.open(a.addr).Group("kv/x").Read(within(t, 9*time.Second), nil)
	require.NoError(t, err)
}

func TestReadsHaveNoOutcome(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	h.read = func(context.Context, int, *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
		return nil, saying("INTERNAL", "")
	}
	_, err := c.open(h.addr).Group("kv/x").Read(within(t, ample), nil)
	requireError(t, err, hostpb.Reason_REASON_INTERNAL, client.NotApplied)
}

func TestNumberOfTriesIsBounded(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	h.propose = func(context.Context, int, *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		return nil, saying("BUSY", "")
	}
	cl := c.open(h.addr)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { _, _ = cl.Group("kv/x").Propose(within(t, 700*time.Millisecond), nil) })
	}
	wg.Wait()
	require.Less(t, h.came("propose"), 20*10)
}

func TestTakesTheDefaultDeadline(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	h.propose = func(ctx context.Context, _ int, _ *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		end, ok := ctx.Deadline()
		if !ok || time.Until(end) > 10*time.Second || time.Until(end) < 5*time.Second {
			return nil, saying("INVALID", "")
		}
		return &hostpb.ProposeResponse{}, nil
	}
	_, err := c.open(h.addr).Group("kv/x").Propose(context.Background(), nil)
	require.NoError(t, err)
}

func TestRequestTheServerFindsTooLarge(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	_, err := c.open(h.addr).Group("kv/x").Propose(within(t, ample), make([]byte, 5<<20))
	requireError(t, err, hostpb.Reason_REASON_TOO_LARGE, client.NotApplied)
}

func TestLocate(t *testing.T) {
	c := newCluster(t)
	d, h := c.add("drummer"), c.add("nodehost")
	for _, s := range []*server{d, h} {
		s.locate = func(_ context.Context, _ int, req *hostpb.LocateRequest) (*hostpb.LocateResponse, error) {
			return &hostpb.LocateResponse{Location: &hostpb.Location{Name: req.GetGroup().GetName(), Id: 1000}}, nil
		}
	}
	where, err := c.open(d.addr).Group("kv/x").Locate(within(t, ample))
	require.NoError(t, err)
	require.Equal(t, "kv/x", where.GetName())
}

func TestCloseEndsAndAwaitsCalls(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	arrived := make(chan struct{}, 10)
	h.propose = func(ctx context.Context, _ int, _ *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		arrived <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	cl := c.open(h.addr)
	errs := make(chan error, 10)
	for range cap(errs) {
		go func() {
			_, err := cl.Group("kv/x").Propose(within(t, 30*time.Second), nil)
			errs <- err
		}()
	}
	for range cap(errs) {
		<-arrived
	}
	cl.Close()
	for range cap(errs) {
		require.Equal(t, client.Unknown, client.OutcomeOf(<-errs))
	}
	cl.Close()
	_, err := cl.Group("kv/x").Propose(within(t, ample), nil)
	requireError(t, err, hostpb.Reason_REASON_UNAVAILABLE, client.NotApplied)
	_, err = cl.Servers(within(t, ample))
	require.Error(t, err)
}

func TestManyGoroutines(t *testing.T) {
	c := newCluster(t)
	d := c.add("drummer")
	for range 3 {
		c.add("nodehost")
	}
	cl := c.open(d.addr)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			g := cl.Group(fmt.Sprintf("kv/%d", i%5))
			for range 20 {
				if _, err := g.Propose(within(t, ample), []byte("v")); err != nil {
					t.Errorf("propose: %v", err)
				}
				if _, err := g.Read(within(t, ample), nil); err != nil {
					t.Errorf("read: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func TestOutcomeOfForeignErrors(t *testing.T) {
	require.Equal(t, client.NotApplied, client.OutcomeOf(nil))
	require.Equal(t, client.Unknown, client.OutcomeOf(errors.New("x")))
	require.Equal(t, hostpb.Reason_REASON_UNSPECIFIED, client.ReasonOf(nil))
	require.Equal(t, hostpb.Reason_REASON_INTERNAL, client.ReasonOf(errors.New("x")))
}
