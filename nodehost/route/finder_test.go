package route_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// others returns the addresses of the hosts but one, once all are there.
func (w *world) others(self ids.Host) func() []string {
	return func() []string {
		var out []string
		for id, h := range w.hosts {
			if id != self {
				out = append(out, h.addr)
			}
		}
		return out
	}
}

func TestHostsAreAskedWhileNoDrummerAnswers(t *testing.T) {
	w, g := abc(t)
	w.change(func() { w.drummers = false })
	// d has no replica, no hint, and no drummer to ask.
	_, err := w.propose("d", named("kv/x"), "v", ample)
	require.NoError(t, err)
	require.Equal(t, []string{"v"}, w.commands(g))
	_, err = w.read("d", numbered(1000), ample)
	require.NoError(t, err)
	// Now it is known; the leader's death leads to another member.
	w.change(func() { g.leader = "b" })
	_, err = w.propose("d", named("kv/x"), "w", ample)
	require.NoError(t, err)
}

func TestASlowDrummerIsNotWaitedFor(t *testing.T) {
	w, g := abc(t)
	release := make(chan struct{})
	w.change(func() { w.asking = func() { <-release } })
	_, err := w.propose("d", named("kv/x"), "v", ample)
	close(release) // which nobody has waited for
	require.NoError(t, err)
	require.Equal(t, []string{"v"}, w.commands(g))
}

func TestNobodyKnowsTheGroup(t *testing.T) {
	w, _ := abc(t)
	w.change(func() { w.drummers = false })
	_ = endsWith(t, fault.Unavailable, func() error { _, err := w.propose("d", named("kv/y"), "v", 500*time.Millisecond); return err })
	w.change(func() { w.drummers = true })
	require.Eventually(t, func() bool {
		_, err := w.propose("d", named("kv/y"), "v", time.Second)
		return fault.Is(err, fault.GroupNotFound)
	}, ample, 10*time.Millisecond)
}

func TestLocateHere(t *testing.T) {
	w, g := abc(t)
	where, err := w.hosts["b"].router.LocateHere(t.Context(), named("kv/x"))
	require.NoError(t, err)
	require.Equal(t, uint64(1000), where.GetId())
	require.Equal(t, "a", where.GetLeaderHost())
	require.Equal(t, w.hosts["a"].addr, where.GetLeaderApi())
	require.Len(t, where.GetMembers(), 1)
	_, err = w.hosts["d"].router.LocateHere(t.Context(), named("kv/x"))
	requireReason(t, err, fault.GroupNotFound)
	w.change(func() { g.state = "sealed" })
	_, err = w.hosts["b"].router.LocateHere(t.Context(), named("kv/x"))
	requireReason(t, err, fault.GroupNotFound)
	_, err = w.hosts["b"].router.LocateHere(t.Context(), nil)
	requireReason(t, err, fault.Invalid)
}
