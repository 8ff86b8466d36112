package agent

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	"github.com/drumline/drumline/internal/fault"
)

// TestNeighboursThatAreNotHeardAreTold: at once, in order, again when they change, and anew
// to the next drummer.
func TestNeighboursThatAreNotHeardAreTold(t *testing.T) {
	d := newDrummer(t)
	a := newDesk(t, deadAddr(t))
	a.stop()
	var unheard atomic.Value
	unheard.Store([]string{})
	a.tweak = func(o *Options) { o.Unheard = func() []string { return unheard.Load().([]string) } }
	a.open(d.addr)
	told := func(c *stand) []string {
		return expect(t, c, "opinion", (*drummerpb.HostMessage).GetNeighbours).GetUnheard()
	}
	c := d.admit()
	require.Empty(t, told(c), "all are heard")
	unheard.Store([]string{"nh-b", "nh-a"})
	require.Equal(t, []string{"nh-a", "nh-b"}, told(c))
	unheard.Store([]string{"nh-a", "nh-b"}) // the same, in another order: nothing to tell
	unheard.Store([]string{})
	require.Empty(t, told(c))
	unheard.Store([]string{"nh-c"})
	require.Equal(t, []string{"nh-c"}, told(c))

	c.fail <- fault.New(fault.Unavailable, "try another one")
	require.Equal(t, []string{"nh-c"}, told(d.admit()), "another drummer knows nothing yet")
}

// TestWhoDoesNotGossipHasNoOpinion: it tells nothing, not even that all are heard.
func TestWhoDoesNotGossipHasNoOpinion(t *testing.T) {
	d := newDrummer(t)
	newDesk(t, d.addr)
	c := d.admit()
	for range 3 {
		expect(t, c, "heartbeat", func(m *drummerpb.HostMessage) *drummerpb.Heartbeat {
			require.Nil(t, m.GetNeighbours())
			return m.GetHeartbeat()
		})
	}
}
