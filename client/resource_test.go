package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client"
	"github.com/drumline/drumline/client/capacity"
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// leaseAll is what a fake host answers to every ask.
func leaseAll(req *capacitypb.RefreshRequest, amount float64) *capacitypb.RefreshResponse {
	resp := &capacitypb.RefreshResponse{}
	for _, a := range req.GetAsks() {
		resp.Grants = append(resp.Grants, &capacitypb.Granted{Resource: a.GetResource(), Grant: &capacitypb.Grant{
			Outcome: capacitypb.Outcome_OUTCOME_OK, Capacity: amount, LeaseMs: 60000, RefreshMs: 20000,
			Token: &capacitypb.Token{Generation: 1, N: a.GetSerial()},
		}})
	}
	return resp
}

func TestResource(t *testing.T) {
	c := newCluster(t)
	d, h := c.add("drummer"), c.add("nodehost")
	h.grants = func(req *capacitypb.RefreshRequest) *capacitypb.RefreshResponse { return leaseAll(req, 7) }
	cl, err := client.Open(within(t, 10*time.Second), []string{d.addr}, client.WithID("me"))
	require.NoError(t, err)
	r, err := cl.Resource("db/main", capacity.WithWants(10))
	require.NoError(t, err)
	require.NoError(t, r.Await(within(t, 10*time.Second)))
	require.InDelta(t, 7.0, r.State().Capacity, 0)
	_, err = cl.Resource("db/main")
	require.ErrorIs(t, err, capacity.ErrTaken)
	cl.Close()
	cl.Close()
	require.Equal(t, capacity.Released, r.State().Basis)
	require.Equal(t, 1, h.came("release"), "Close gives back")
	_, err = cl.Resource("db/other")
	requireError(t, err, hostpb.Reason_REASON_UNAVAILABLE, client.NotApplied)
}

// A host that dies while it leases costs a moment, and no lease.
func TestResourceFindsAnotherHost(t *testing.T) {
	c := newCluster(t)
	dead, well := c.add("nodehost"), c.add("nodehost")
	dead.lease = dead.die
	well.grants = func(req *capacitypb.RefreshRequest) *capacitypb.RefreshResponse { return leaseAll(req, 7) }
	cl := c.open(dead.addr, well.addr)
	for i := range 5 {
		r, err := cl.Resource(string(rune('a' + i)))
		require.NoError(t, err)
		require.NoError(t, r.Await(within(t, 10*time.Second)))
		r.Release()
	}
}

// A cluster that is gone does not keep Close.
func TestCloseWithoutACluster(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	hung := make(chan struct{}, 1)
	h.lease = func(ctx context.Context) error {
		select {
		case hung <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return ctx.Err()
	}
	cl := c.open(h.addr)
	_, err := cl.Resource("db")
	require.NoError(t, err)
	<-hung
	begin := time.Now()
	cl.Close()
	require.Less(t, time.Since(begin), 10*time.Second)
}
