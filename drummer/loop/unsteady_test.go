package loop_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/loop"
)

// TestALatePassMakesTheLoopListenFirst: what waited for a suspended supervisor looks
// new and is not, so nothing is decided on it for a while.
func TestALatePassMakesTheLoopListenFirst(t *testing.T) {
	c := loop.New(loop.Options{})
	v := fleet.EmptyView()
	unsteady := func(at time.Duration) bool {
		c.Step(loop.Pass{View: v}, at)
		return c.Observed(at).Unsteady
	}
	c.Step(loop.Led{Term: 1}, 0)
	require.False(t, unsteady(500*time.Millisecond))
	require.False(t, unsteady(1500*time.Millisecond), "a little late is on time")
	require.True(t, unsteady(20*time.Second))
	require.True(t, unsteady(21*time.Second))
	require.True(t, unsteady(22*time.Second))
	require.False(t, unsteady(23*time.Second))
}
