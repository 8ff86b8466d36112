package client_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// ledger is the exactly-once window of a group: what was applied, by series.
type ledger struct {
	mu      sync.Mutex
	applied map[uint64]string
	order   []string
}

func (l *ledger) apply(req *hostpb.ProposeRequest) *hostpb.ProposeResponse {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := req.GetSession().GetSeries()
	if _, done := l.applied[s]; !done {
		l.applied[s] = string(req.GetCommand())
		l.order = append(l.order, string(req.GetCommand()))
	}
	return &hostpb.ProposeResponse{Value: s, Data: []byte(l.applied[s])}
}

func openSession(t *testing.T, g *client.Group) *client.Session {
	t.Helper()
	s, err := g.Session(within(t, ample))
	require.NoError(t, err)
	return s
}

func TestSessionAppliesOnceThroughLostAnswers(t *testing.T) {
	c := newCluster(t)
	l := &ledger{applied: map[uint64]string{}}
	hosts := []*server{c.add("nodehost"), c.add("nodehost"), c.add("nodehost")}
	var mu sync.Mutex
	deaths := 0
	for _, h := range hosts {
		h.propose = func(ctx context.Context, _ int, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
			resp := l.apply(req)
			mu.Lock()
			die := deaths < 2
			deaths++
			mu.Unlock()
			if die { // applied, but nobody hears of it
				return nil, h.die(ctx)
			}
			return resp, nil
		}
	}
	s := openSession(t, c.open(hosts[0].addr, hosts[1].addr).Group("kv/x"))
	for i, cmd := range []string{"one", "two", "two"} {
		res, err := s.Propose(within(t, 10*time.Second), []byte(cmd))
		require.NoError(t, err)
		require.Equal(t, uint64(i+1), res.Value, "the series advances with each answer")
	}
	require.Equal(t, []string{"one", "two", "two"}, l.order)
	require.NoError(t, s.Close(within(t, ample)))
	require.NoError(t, s.Close(within(t, ample)))
	_, err := s.Propose(within(t, ample), nil)
	requireError(t, err, hostpb.Reason_REASON_SESSION_GONE, client.NotApplied)
}

func TestSessionRemembersWhatIsUnknown(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	h := c.add("nodehost")
	l := &ledger{applied: map[uint64]string{}}
	answer := false
	var mu sync.Mutex
	var last *hostpb.Session
	h.propose = func(_ context.Context, _ int, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		mu.Lock()
		defer mu.Unlock()
		last = req.GetSession()
		resp := l.apply(req)
		if !answer {
			return nil, saying("UNKNOWN_OUTCOME", "")
		}
		return resp, nil
	}
	s := openSession(t, c.open(h.addr).Group("kv/x"))
	var err error
	for d := 2 * time.Second; h.came("propose") < 2 && d < ample; d *= 2 { // a busy machine may have time for one only
		_, err = s.Propose(within(t, d), []byte("one"))
	}
	requireError(t, err, hostpb.Reason_REASON_UNKNOWN_OUTCOME, client.Unknown)
	require.Greater(t, h.came("propose"), 1, "sent again within the deadline")
	_, err = s.Propose(within(t, ample), []byte("two"))
	requireError(t, err, hostpb.Reason_REASON_CONFLICT, client.NotApplied)

	mu.Lock()
	answer = true
	mu.Unlock()
	res, err := s.Propose(within(t, 10*time.Second), []byte("one"))
	require.NoError(t, err)
	require.Equal(t, uint64(1), res.Value, "the same series")
	res, err = s.Propose(within(t, ample), []byte("two"))
	require.NoError(t, err)
	require.Equal(t, uint64(2), res.Value)
	require.Equal(t, uint64(1), last.GetRespondedTo())
	require.Equal(t, []string{"one", "two"}, l.order)

	mu.Lock()
	answer = false
	mu.Unlock()
	for d := time.Second; d < ample; d *= 2 { // a busy machine may not have sent it at all
		if _, err = s.Propose(within(t, d), []byte("three")); client.OutcomeOf(err) == client.Unknown {
			break
		}
	}
	require.Equal(t, client.Unknown, client.OutcomeOf(err))
	require.NoError(t, s.Abandon(within(t, ample)))
	mu.Lock()
	answer = true
	mu.Unlock()
	res, err = s.Propose(within(t, 10*time.Second), []byte("four"))
	require.NoError(t, err)
	require.Equal(t, uint64(4), res.Value)
	require.Equal(t, uint64(3), last.GetRespondedTo())
}

func TestSessionGoneAfterAnUnknownTryIsUnknown(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	h.propose = func(_ context.Context, n int, _ *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		if n == 1 {
			return nil, saying("UNKNOWN_OUTCOME", "")
		}
		return nil, saying("SESSION_GONE", "")
	}
	s := openSession(t, c.open(h.addr).Group("kv/x"))
	_, err := s.Propose(within(t, 10*time.Second), []byte("one"))
	e := requireError(t, err, hostpb.Reason_REASON_SESSION_GONE, client.Unknown)
	require.Equal(t, 2, e.Attempts)
	require.ErrorContains(t, err, "may have been applied")
}

func TestSessionTakesOneCommandAtATime(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	l := &ledger{applied: map[uint64]string{}}
	h.propose = func(_ context.Context, _ int, req *hostpb.ProposeRequest) (*hostpb.ProposeResponse, error) {
		return l.apply(req), nil
	}
	s := openSession(t, c.open(h.addr).Group("kv/x"))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := s.Propose(within(t, ample), []byte("v")); err != nil {
				t.Errorf("propose: %v", err)
			}
		})
	}
	wg.Wait()
	require.Len(t, l.order, 20)
}

func TestClosingASessionThatIsGone(t *testing.T) {
	for _, reason := range []string{"SESSION_GONE", "SEALED", "GROUP_NOT_FOUND"} {
		c := newCluster(t)
		h := c.add("nodehost")
		h.closeSession = func(context.Context, int, *hostpb.CloseSessionRequest) (*hostpb.CloseSessionResponse, error) {
			return nil, saying(reason, "")
		}
		require.NoError(t, openSession(t, c.open(h.addr).Group("kv/x")).Close(within(t, ample)))
	}
}
