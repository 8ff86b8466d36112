package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

func TestDrummerCallsGoToTheLeader(t *testing.T) {
	c := newCluster(t)
	ds := []*server{c.add("drummer"), c.add("drummer"), c.add("drummer")}
	h := c.add("nodehost")
	ds[2].leads = true
	cl := c.open(h.addr) // drummers are learned from a nodehost
	for range 10 {
		resp, err := cl.Drummer().Status(within(t, ample), &drummerpb.StatusRequest{})
		require.NoError(t, err)
		require.Equal(t, ds[2].addr, resp.GetLeader())
	}
	require.Equal(t, 10, ds[2].came("status"))
}

func TestDrummerHintIsFollowed(t *testing.T) {
	c := newCluster(t)
	a, b := c.add("drummer"), c.add("drummer")
	a.leads = true // was the leader when the list was made
	a.create = func(context.Context, int) (*drummerpb.CreateGroupsResponse, error) {
		return nil, saying("NOT_SUPERVISOR", b.addr)
	}
	cl := c.open(a.addr)
	for range 5 {
		_, err := cl.Drummer().CreateGroups(within(t, ample), &drummerpb.CreateGroupsRequest{})
		require.NoError(t, err)
	}
	require.Equal(t, 5, b.came("create"))
	require.Equal(t, 1, a.came("create"), "the hint is remembered")
}

func TestDrummerFailsOver(t *testing.T) {
	c := newCluster(t)
	a, b := c.add("drummer"), c.add("drummer")
	a.leads = true
	a.status = func(ctx context.Context, _ int) (*drummerpb.StatusResponse, error) { return nil, a.die(ctx) }
	cl := c.open(a.addr, b.addr)
	resp, err := cl.Drummer().Status(within(t, ample), &drummerpb.StatusRequest{})
	require.NoError(t, err)
	require.Equal(t, b.addr, resp.GetLeader())
	// The dead one is known as such by now: a change goes to the other at once.
	_, err = cl.Drummer().CreateGroups(within(t, ample), &drummerpb.CreateGroupsRequest{})
	require.NoError(t, err)
}

// What only reads is asked of another drummer when nobody knows what became of it.
func TestWhatOnlyReadsIsAskedAgain(t *testing.T) {
	for name, look := range map[string]func(ctx context.Context, d drummerpb.DrummerClient) error{
		"operations": func(ctx context.Context, d drummerpb.DrummerClient) error {
			_, err := d.ListOperations(ctx, &drummerpb.ListOperationsRequest{})
			return err
		},
		"drummers": func(ctx context.Context, d drummerpb.DrummerClient) error {
			_, err := d.ListDrummers(ctx, &drummerpb.ListDrummersRequest{})
			return err
		},
		"configuration": func(ctx context.Context, d drummerpb.DrummerClient) error {
			_, err := d.ShowConfiguration(ctx, &drummerpb.ShowConfigurationRequest{})
			return err
		},
		"configurations": func(ctx context.Context, d drummerpb.DrummerClient) error {
			_, err := d.ListConfigurations(ctx, &drummerpb.ListConfigurationsRequest{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			a, b := c.add("drummer"), c.add("drummer")
			a.leads = true
			a.look = a.die
			require.NoError(t, look(within(t, ample), c.open(a.addr, b.addr).Drummer()))
			require.Positive(t, a.came("look"))
			require.Positive(t, b.came("look"))
		})
	}
}

func TestDrummerChangeLostInFlightIsNotRepeated(t *testing.T) {
	c := newCluster(t)
	a, b := c.add("drummer"), c.add("drummer")
	a.leads = true
	a.create = func(ctx context.Context, _ int) (*drummerpb.CreateGroupsResponse, error) { return nil, a.die(ctx) }
	_, err := c.open(a.addr).Drummer().CreateGroups(within(t, ample), &drummerpb.CreateGroupsRequest{})
	requireError(t, err, hostpb.Reason_REASON_UNKNOWN_OUTCOME, client.Unknown)
	require.Equal(t, 1, a.came("create")+b.came("create"))
}

func TestClusterWithoutDrummers(t *testing.T) {
	c := newCluster(t)
	h := c.add("nodehost")
	start := time.Now()
	_, err := c.open(h.addr).Drummer().Status(within(t, 500*time.Millisecond), &drummerpb.StatusRequest{})
	require.Error(t, err)
	require.Less(t, time.Since(start), 10*time.Second)
}

func TestAddressOfTheOtherKindIsPassedOver(t *testing.T) {
	c := newCluster(t)
	d, h := c.add("drummer"), c.add("nodehost")
	cl := c.open(d.addr, h.addr)
	for range 5 {
		_, err := cl.Group("kv/x").Propose(within(t, ample), nil)
		require.NoError(t, err)
		_, err = cl.Drummer().Status(within(t, ample), &drummerpb.StatusRequest{})
		require.NoError(t, err)
	}
	require.Equal(t, 5, h.came("propose"))
	require.Equal(t, 5, d.came("status"))
}
