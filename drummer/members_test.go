package drummer

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/drummer/members"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// ask calls the drummers until one answers f without an error that says to try again.
func (c *cluster) ask(f func(ctx context.Context, d drummerpb.DrummerClient) error) error {
	c.t.Helper()
	var last error
	answered := eventually(func() bool {
		for _, m := range c.masters {
			if m.cancel == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
			last = f(ctx, m.drummer())
			cancel()
			if !passes(last) {
				return true
			}
		}
		return false
	}, 30*time.Second)
	require.True(c.t, answered, "%v", last)
	return last
}

// ask calls this drummer until it answers f: an election may come in between.
func (m *master) ask(f func() error) error {
	m.c.t.Helper()
	var last error
	require.True(m.c.t, eventually(func() bool { last = f(); return !passes(last) }, 30*time.Second), "%v", last)
	return last
}

// passes tells whether an error says to try again.
func passes(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Unknown, codes.Aborted, codes.Unimplemented:
		return true
	}
	return false
}

// drummers lists them, by any that answers.
func (c *cluster) drummers() *drummerpb.ListDrummersResponse {
	c.t.Helper()
	var resp *drummerpb.ListDrummersResponse
	require.NoError(c.t, c.ask(func(ctx context.Context, d drummerpb.DrummerClient) (err error) {
		resp, err = d.ListDrummers(ctx, &drummerpb.ListDrummersRequest{})
		return err
	}))
	return resp
}

// join adds a drummer that waits, or is about to, and returns its number.
func (c *cluster) join(m *master, replaces string) uint64 {
	c.t.Helper()
	var number uint64
	var last error
	require.True(c.t, eventually(func() bool {
		last = c.ask(func(ctx context.Context, d drummerpb.DrummerClient) error {
			resp, err := d.AddDrummer(ctx, &drummerpb.AddDrummerRequest{Address: c.addresses[m.index-1], Replaces: replaces})
			number = resp.GetDrummer().GetNumber()
			return err
		})
		return last == nil || !strings.Contains(last.Error(), "no drummer answers")
	}, 30*time.Second))
	require.NoError(c.t, last)
	return number
}

// voters waits until exactly these drummers vote, and all of them answer.
func (c *cluster) voters(want ...uint64) {
	c.t.Helper()
	var last *drummerpb.ListDrummersResponse
	ok := eventually(func() bool {
		last = c.drummers()
		if len(last.GetDrummers()) != len(want) {
			return false
		}
		for i, d := range last.GetDrummers() {
			if d.GetDrummer().GetNumber() != want[i] || d.GetRole() != "leader" && d.GetRole() != "follower" || d.GetDetail() != "" {
				return false
			}
		}
		return last.GetStep() == ""
	}, 40*time.Second)
	require.True(c.t, ok, "want drummers %v: %v", want, last)
}

func (c *cluster) remove(ref string) error {
	return c.ask(func(ctx context.Context, d drummerpb.DrummerClient) error {
		_, err := d.RemoveDrummer(ctx, &drummerpb.RemoveDrummerRequest{Drummer: ref})
		return err
	})
}

// leaves waits until a drummer that was removed ends by itself; it never runs again.
func (m *master) leaves() {
	m.c.t.Helper()
	for range 2 {
		var gone *members.RemovedError
		require.ErrorAs(m.c.t, m.refuses(), &gone)
		m.start()
	}
	require.Error(m.c.t, m.refuses())
}

func TestDrummersComeAndGo(t *testing.T) {
	c := newCluster(t, 3)
	c.start()
	w := newWorld()
	c.settled(w, 3, 3)
	c.voters(1, 2, 3)
	for range 2 {
		m := c.add()
		m.joins = true
		m.start()
		require.Equal(t, uint64(m.index), c.join(m, ""))
		require.Equal(t, uint64(m.index), c.join(m, ""), "safe to repeat")
		c.voters([]uint64{1, 2, 3, 4, 5}[:m.index]...)
	}
	require.Equal(t, codes.NotFound, status.Code(c.remove("nobody")))

	// The first three go, the leader when it leads; what the hosts were configured with is gone.
	for _, m := range c.masters[:3] {
		require.NoError(t, c.remove(m.config().Name))
		// Whoever is asked, the one that goes as well: it is under way, or done.
		if err := c.remove(m.config().Name); err != nil {
			require.Equal(t, codes.NotFound, status.Code(err), "%v", err)
			require.ErrorContains(t, err, "no drummer has the name or number")
		}
		m.leaves()
	}
	c.voters(4, 5)
	c.awaitOK(3, nil)
	require.True(t, eventually(func() bool {
		resp, err := c.masters[3].directory().Servers(t.Context(), &hostpb.ServersRequest{})
		return err == nil && len(resp.GetServers()) == 5
	}, 30*time.Second))

	// They find each other again with nothing but what is on their disks.
	for range 2 {
		for _, m := range c.masters[3:] {
			m.stop()
		}
		for _, m := range c.masters[3:] {
			m.start()
		}
		c.voters(4, 5)
	}
	require.NoError(t, c.remove("4"))
	c.masters[3].leaves()
	c.voters(5)
	require.Equal(t, codes.FailedPrecondition, status.Code(c.remove("5")), "the last one stays")
}

func TestALostDiskIsReplaced(t *testing.T) {
	c := newCluster(t, 3)
	c.start()
	c.leader()
	c.voters(1, 2, 3)
	m := c.masters[1]
	m.stop()
	m.disk = "an empty one"
	m.start()
	require.ErrorContains(t, m.refuses(), "servers replace 2")
	require.ErrorContains(t, c.remove("1"), "no majority", "one of the two that would be left is away")

	m.joins = true // the same address, the same configuration
	m.start()
	require.Equal(t, uint64(4), c.join(m, "drummer-2"))
	c.voters(1, 3, 4)
	m.stop()
	m.start()
	c.voters(1, 3, 4)

	// The old disk turns up again: its identity is spent.
	m.stop()
	m.disk, m.joins = "drummer-2", false
	m.start()
	var gone *members.RemovedError
	require.ErrorAs(t, m.refuses(), &gone)
}
