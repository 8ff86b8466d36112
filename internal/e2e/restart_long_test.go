//go:build e2elong

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTwentyPowerLosses kills the whole fleet with SIGKILL and starts it again, 20
// times in a row: all that was acknowledged is there.
func TestTwentyPowerLosses(t *testing.T) {
	w := newWorld(t, 3, 5)
	groups := specs("power", 20)
	w.create(groups...)
	w.within(15*time.Second, "launch", w.whole(names(groups)))
	for round := range 20 {
		load := w.load(names(groups), 50*time.Millisecond)
		w.within(30*time.Second, fmt.Sprintf("round %d: writes", round+1), func() (bool, string) {
			return load.Acknowledged() >= 20*len(groups), fmt.Sprint(load.Acknowledged())
		})
		w.must(w.fleet.KillAll())
		w.must(w.fleet.StartAll())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		w.must(w.fleet.WaitReady(ctx))
		cancel()
		w.within(30*time.Second, "whole after the power loss", w.whole(names(groups)))
		report := w.finish(load)
		require.Positive(t, report.Acknowledged)
	}
}
