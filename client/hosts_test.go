package client_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client"
	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
)

func (s *server) Refresh(ctx context.Context, req *capacitypb.RefreshRequest) (*capacitypb.RefreshResponse, error) {
	s.nth("refresh")
	if s.lease != nil {
		return nil, s.lease(ctx)
	}
	if s.grants != nil {
		return s.grants(req), nil
	}
	return &capacitypb.RefreshResponse{}, nil
}

func (s *server) Release(ctx context.Context, _ *capacitypb.ReleaseRequest) (*capacitypb.ReleaseResponse, error) {
	s.nth("release")
	if s.lease != nil {
		return nil, s.lease(ctx)
	}
	return &capacitypb.ReleaseResponse{}, nil
}

// What every host serves alike goes to any host, and again to another one if it was lost
// on the way and a repetition does no harm.
func TestHostsAreAllAlike(t *testing.T) {
	c := newCluster(t)
	d, dead, well := c.add("drummer"), c.add("nodehost"), c.add("nodehost")
	dead.lease = dead.die
	cl := c.open(d.addr)
	caps := capacitypb.NewCapacityClient(cl.Hosts())
	for range 20 {
		_, err := caps.Refresh(within(t, ample), &capacitypb.RefreshRequest{})
		require.NoError(t, err)
	}
	require.Equal(t, 20, well.came("refresh"))
	require.LessOrEqual(t, dead.came("refresh"), 1, "one that does not answer is asked last")
}

// A release that was lost on the way may have been obeyed: it is not sent again.
func TestALostReleaseIsNotRepeated(t *testing.T) {
	c := newCluster(t)
	a, b := c.add("nodehost"), c.add("nodehost")
	a.lease, b.lease = a.die, b.die
	cl := c.open(a.addr)
	_, err := capacitypb.NewCapacityClient(cl.Hosts()).Release(within(t, ample), &capacitypb.ReleaseRequest{})
	require.Equal(t, client.Unknown, client.OutcomeOf(err), "%v", err)
	require.Equal(t, 1, a.came("release")+b.came("release"))
}
