//go:build e2e && e2elong

package e2e

import (
	"testing"
	"time"
)

// TestATreeLosesItsLeaders: leaders of the root and of the level between die, again and again, and
// nobody notices.
func TestATreeLosesItsLeaders(t *testing.T) {
	w := newTree(t, 12, 4)
	share := w.fair(30 * time.Second)
	for range 2 {
		w.undisturbed(share, "the root's leader dies", w.loseRoot)
		w.undisturbed(share, "the leader of the level between dies", func() {
			dead := w.leader("capacity/hkg")
			w.must(w.fleet.Kill(dead))
			w.within(30*time.Second, "another host leads the level between", func() (bool, string) {
				return w.leaderOf("capacity/hkg") != dead && w.leaderOf("capacity/hkg") != "", ""
			})
			w.must(w.fleet.Start(dead))
		})
		w.fair(30 * time.Second)
	}
	report, err := w.record.JudgeAll(treeCapacity, treeLeaves()...)
	w.must(err)
	t.Logf("%d answers, %.1f %% of the root in use at most", report.Answers, 100*report.Most)
}
