package sequences_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve/servetest"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/nodehost/sequences"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is groups without Raft: real machines behind a Router that can fail.
type cluster struct {
	mu       sync.Mutex
	groups   map[string]*sequence.Machine // guarded by mu: by full name
	applied  int                          // guarded by mu
	lost     int                          // guarded by mu: every n-th answer is lost; 0: none
	proposed int                          // guarded by mu: items that arrived
	// gate, unless nil, holds what arrives until it is closed.
	gate chan struct{}
}

func newCluster(groups ...string) *cluster {
	c := &cluster{groups: map[string]*sequence.Machine{}}
	for i, name := range groups {
		c.groups[name] = sequence.New(statemachines.Group{ID: uint64(1000 + i), Name: name})
	}
	return c
}

// apply applies a command; an answer that is lost leaves the outcome unknown.
func (c *cluster) apply(group string, data []byte) (statemachines.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.groups[group]
	if m == nil {
		return statemachines.Result{}, fault.New(fault.GroupNotFound, "there is no group %s", group)
	}
	out := make([]statemachines.Result, 1)
	m.Apply([]statemachines.Command{{Version: 1, Data: data}}, out)
	if c.applied++; c.lost > 0 && c.applied%c.lost == 0 {
		return statemachines.Result{}, fault.New(fault.UnknownOutcome, "the leader went away")
	}
	return out[0], nil
}

func (c *cluster) arrive(ctx context.Context, n int) {
	c.mu.Lock()
	c.proposed += n
	gate := c.gate
	c.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
}

func (c *cluster) arrived() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proposed
}

func (c *cluster) ProposeMany(ctx context.Context, m route.Many) ([]route.Outcome, *hostpb.Location) {
	c.arrive(ctx, len(m.Items))
	out := make([]route.Outcome, len(m.Items))
	for i, item := range m.Items {
		r, err := c.apply(statemachines.NameOf(m.Group), item)
		for m.Repeatable && fault.Is(err, fault.UnknownOutcome) { // as the Router does
			r, err = c.apply(statemachines.NameOf(m.Group), item)
		}
		out[i].Result.Value, out[i].Result.Data, out[i].Err = r.Value, r.Data, err
	}
	return out, nil
}

func (c *cluster) Read(_ context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.groups[statemachines.NameOf(req.GetGroup())]
	if m == nil {
		return nil, fault.New(fault.GroupNotFound, "there is no group %s", req.GetGroup().GetName())
	}
	data, err := m.Query(req.GetQuery())
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "query")
	}
	return &hostpb.ReadResponse{Data: data}, nil
}

// clock is the time of the hosts under test.
func clock() time.Time { return time.UnixMilli(1_700_000_000_000) }

// served serves both services over a cluster and returns a connection to them.
func served(t testing.TB, c *cluster, stopping <-chan struct{}) *grpc.ClientConn {
	t.Helper()
	return servetest.Dial(t, func(s *servetest.Server) {
		sequences.Register(s, sequences.Options{Router: c, Stopping: stopping, Now: clock})
	})
}

// within gives a test a deadline.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
