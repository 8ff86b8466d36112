package capacity

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/serve/servetest"
	"github.com/drumline/drumline/nodehost/route"
	"github.com/drumline/drumline/statemachines"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// router is groups that grant what is wanted, counting.
type router struct {
	t testing.TB

	mu       sync.Mutex
	known    map[string]bool // guarded by mu: groups that exist; others are not found
	found    []string        // guarded by mu: groups that Find was asked for
	proposed map[string]int  // guarded by mu: commands by group
	answer   func(group string, cmd *capacitypb.Command) (*capacitypb.Result, error)
	summary  *capacitypb.Summary
	n        uint64 // guarded by mu: answers given
}

func newRouter(t testing.TB, known ...string) *router {
	r := &router{t: t, known: map[string]bool{}, proposed: map[string]int{}}
	for _, name := range known {
		r.known[groupOf(name)] = true
	}
	r.answer = r.grantAll
	return r
}

// grantAll grants everybody what it wants; the answers are numbered.
func (r *router) grantAll(_ string, cmd *capacitypb.Command) (*capacitypb.Result, error) {
	res := &capacitypb.Result{Outcome: capacitypb.Outcome_OUTCOME_OK}
	for _, q := range cmd.GetDecide().GetRequests() {
		r.n++
		g := &capacitypb.Grant{Outcome: capacitypb.Outcome_OUTCOME_OK, LeaseMs: 15_999, RefreshMs: 5_000, SafeCapacity: 10, Token: &capacitypb.Token{N: r.n}}
		for _, b := range q.GetBands() {
			g.Capacity += b.GetWants()
		}
		res.Grants = append(res.Grants, g)
	}
	return res, nil
}

func (r *router) ProposeMany(_ context.Context, m route.Many) ([]route.Outcome, *hostpb.Location) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]route.Outcome, len(m.Items))
	for i, item := range m.Items {
		group := statemachines.NameOf(m.Group)
		if !r.known[group] {
			out[i].Err = fault.New(fault.GroupNotFound, "there is no group %s", group)
			continue
		}
		r.proposed[group]++
		cmd := &capacitypb.Command{}
		require.NoError(r.t, proto.Unmarshal(item, cmd))
		res, err := r.answer(group, cmd)
		data, failed := proto.Marshal(res)
		require.NoError(r.t, failed)
		out[i] = route.Outcome{Result: statemachines.Result{Data: data}, Err: err}
	}
	return out, nil
}

func (r *router) Read(_ context.Context, req *hostpb.ReadRequest) (*hostpb.ReadResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known[statemachines.NameOf(req.GetGroup())] {
		return nil, fault.New(fault.GroupNotFound, "there is no group %s", req.GetGroup().GetName())
	}
	data, err := proto.Marshal(&capacitypb.Answer{Summary: r.summary})
	return &hostpb.ReadResponse{Data: data}, err
}

func (r *router) Knows(string) bool { return false }

func (r *router) Find(_ context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found = append(r.found, statemachines.NameOf(ref))
	if !r.known[statemachines.NameOf(ref)] {
		return nil, fault.New(fault.GroupNotFound, "there is no group %s", ref.GetName())
	}
	return &hostpb.Location{Name: ref.GetName(), Region: ref.GetRegion(), Id: 1}, nil
}

// Locate is Find that makes nothing.
func (r *router) Locate(ctx context.Context, ref *hostpb.GroupRef) (*hostpb.Location, error) {
	where, err := r.Find(ctx, ref)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found = r.found[:len(r.found)-1]
	return where, err
}

// commands is how many were proposed in all.
func (r *router) commands() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, k := range r.proposed {
		n += k
	}
	return n
}

// served serves a Service over real gRPC and returns a connection to it.
func served(t testing.TB, s *Service) *grpc.ClientConn {
	t.Helper()
	return servetest.Dial(t, func(on *servetest.Server) { s.Register(on) })
}

// within gives a test a deadline.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
