//go:build e2elong

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// TestAnAddedHostIsAwayForLong kills the new host while it fills up and lets it return only
// when all that it had was replaced: then it fills up again, and nothing moves any more.
func TestAnAddedHostIsAwayForLong(t *testing.T) {
	w, groups := newFull(t)
	foretold := w.foretell("host-5")
	load := w.load(names(groups), 200*time.Millisecond)
	w.written(load, groups)
	w.addHost("host-5")
	w.within(30*time.Second, "it has some replicas", func() (bool, string) {
		n := w.replicas()["host-5"]
		return n > 3, fmt.Sprint(n)
	})
	w.must(w.fleet.Kill("host-5"))
	had := w.replicas()["host-5"]
	w.within(2*time.Minute, "whole without it", w.whole(names(groups), "host-5"))
	w.must(w.fleet.Start("host-5"))
	w.balanced(groups)
	w.still()
	w.finish(load)
	t.Logf("%d moves were foretold; it had %d replicas when it was killed, and %d moves balanced in all", foretold.GetMoves(), had, w.count("balance"))
}
