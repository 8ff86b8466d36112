package chaos

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
)

// scripted is a connection whose server grants what the test says, a second later.
type scripted struct {
	grpc.ClientConnInterface
	grant *capacitypb.Grant
}

func (s *scripted) Invoke(_ context.Context, _ string, args, reply any, _ ...grpc.CallOption) error {
	time.Sleep(time.Second)
	q, ok := args.(*capacitypb.RefreshRequest)
	if !ok {
		return nil
	}
	if s.grant == nil {
		return errors.New("lost")
	}
	resp, ok := reply.(*capacitypb.RefreshResponse)
	if ok {
		resp.Grants = []*capacitypb.Granted{{Resource: q.GetAsks()[0].GetResource(), Grant: s.grant}}
	}
	return nil
}

// told is a world in which clients are told things.
type told struct {
	t    *testing.T
	conn *scripted
	caps capacitypb.CapacityClient
	n    uint64
}

// lease has a client ask; its answer has that capacity, for ten seconds. A negative one is lost.
func (w *told) lease(client string, wants, capacity float64) {
	w.n++
	w.leaseAs(client, wants, capacity, w.n)
}

func (w *told) leaseAs(client string, wants, capacity float64, token uint64) {
	w.leaseOf("x", client, &capacitypb.Grant{
		Outcome: capacitypb.Outcome_OUTCOME_OK, Capacity: capacity, LeaseMs: 10000, Token: &capacitypb.Token{Generation: 1, N: token},
	}, wants)
}

// leaseOf has a client ask for a resource, and be granted that.
func (w *told) leaseOf(resource, client string, g *capacitypb.Grant, wants float64) {
	if w.conn.grant = g; g.GetCapacity() < 0 {
		w.conn.grant = nil
	}
	_, err := w.caps.Refresh(w.t.Context(), &capacitypb.RefreshRequest{ClientId: client, Asks: []*capacitypb.Ask{
		{Resource: resource, Bands: []*capacitypb.Band{{Clients: 1, Wants: wants}}},
	}})
	require.Equal(w.t, g.GetCapacity() < 0, err != nil)
}

func (w *told) release(client string) {
	_, err := w.caps.Release(w.t.Context(), &capacitypb.ReleaseRequest{ClientId: client, Resources: []string{"x"}})
	require.NoError(w.t, err)
}

func TestLeasesAreJudged(t *testing.T) {
	tests := []struct {
		name string
		do   func(w *told)
		most float64 // of a capacity of 100
	}{
		{"side by side", func(w *told) { w.lease("a", 50, 50); w.lease("b", 50, 50) }, 1},
		{"too much", func(w *told) { w.lease("a", 50, 50); w.lease("b", 60, 51) }, 1.01},
		{"the newest answer counts", func(w *told) { w.lease("a", 90, 90); w.lease("a", 90, 40); w.lease("b", 60, 60) }, 1},
		{"a lease that ended", func(w *told) { w.lease("a", 90, 90); time.Sleep(9 * time.Second); w.lease("b", 90, 90) }, 0.9},
		{"it counts from the request", func(w *told) { w.lease("a", 90, 90); time.Sleep(7900 * time.Millisecond); w.lease("b", 90, 90) }, 1.8},
		{"lower wants, whose answer is lost", func(w *told) { w.lease("a", 90, 90); w.lease("a", 10, -1); w.lease("b", 90, 90) }, 1},
		{"higher wants, whose answer is lost", func(w *told) { w.lease("a", 90, 90); w.lease("a", 99, -1); w.lease("b", 20, 20) }, 1.1},
		{"a release", func(w *told) { w.lease("a", 90, 90); w.release("a"); w.lease("b", 90, 90) }, 0.9},
		{"an older answer is dropped", func(w *told) { w.lease("a", 90, 40); w.leaseAs("a", 90, 10, 0); w.lease("b", 70, 70) }, 1.1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Leases
				conn := &scripted{}
				tt.do(&told{t: t, conn: conn, caps: capacitypb.NewCapacityClient(l.Through(conn))})
				report, err := l.Judge("x", 100)
				require.InDelta(t, tt.most, report.Most, 1e-12)
				require.Equal(t, tt.most > 1, err != nil, "%v", err)
				report, err = l.Judge("y", 100)
				require.NoError(t, err)
				require.Equal(t, LeaseReport{}, report)
			})
		})
	}
}

func TestALeaseReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Leases
		conn := &scripted{}
		w := &told{t: t, conn: conn, caps: capacitypb.NewCapacityClient(l.Through(conn))}
		w.lease("a", 90, 80) // asked at 0 s, told at 1, ends at 10
		time.Sleep(4 * time.Second)
		w.lease("b", 20, 20) // asked at 5 s, told at 6, ends at 15
		report, err := l.Judge("x", 100)
		require.NoError(t, err)
		require.Equal(t, 2, report.Answers)
		require.Equal(t, 5*time.Second, report.Gap)
		require.InDelta(t, (9*0.8+9*0.2)/14, report.Mean, 1e-9)
	})
}

// The leaves of a tree are judged together, and one client's leases of two of them add up.
func TestTheLeavesOfATreeAreJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Leases
		conn := &scripted{}
		w := &told{t: t, conn: conn, caps: capacitypb.NewCapacityClient(l.Through(conn))}
		g := &capacitypb.Grant{Outcome: capacitypb.Outcome_OUTCOME_OK, Capacity: 40, LeaseMs: 10000, Token: &capacitypb.Token{N: 1}}
		w.leaseOf("ord", "a", g, 40)
		w.leaseOf("hkg", "a", g, 40)
		report, err := l.JudgeAll(100, "ord", "hkg")
		require.NoError(t, err)
		require.InDelta(t, 0.8, report.Most, 1e-12)
		w.leaseOf("hkg", "b", g, 40)
		_, err = l.JudgeAll(100, "ord", "hkg")
		require.ErrorContains(t, err, "120 of 100 are in use")
		_, err = l.Judge("hkg", 100)
		require.NoError(t, err)
	})
}
