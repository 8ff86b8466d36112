//go:build e2e && e2elong

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client/capacity"
)

// TestATreeLosesItsRoot: leaders of the root and of the middle die and nobody notices; then the
// root's whole region stops. Its clients and the region below fall to their safe shares, level by
// level, when the leases end, and lease again when it goes on.
func TestATreeLosesItsRoot(t *testing.T) {
	const lease = 12
	w := newTree(t, lease, 4)
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

	for range 2 {
		for _, host := range w.regional("ord") {
			w.must(w.fleet.Pause(host))
		}
		w.within(3*lease*time.Second, "the clients of the root's region have their safe capacity", func() (bool, string) {
			return w.all(capacity.Safe, treeSafe, "ord")
		})
		// The child divides the safe capacity of the level above among its clients, and so does
		// the level below that.
		w.within(3*lease*time.Second, "the other region's clients lease their safe shares", func() (bool, string) {
			return w.all(capacity.Leased, treeSafe, "hkg", "hkg/kowloon")
		})
		for _, host := range w.regional("ord") {
			w.must(w.fleet.Resume(host))
		}
		w.fair(3 * lease * time.Second)
	}
	// While the root is away its clients use safe shares beside what it leases, never more.
	report, err = w.record.JudgeAll(treeCapacity+8*treeSafe, treeLeaves()...)
	w.must(err)
	require.Greater(t, report.Mean, 0.5)
	t.Logf("with the root away now and then: %d answers, %.1f %% in use in the mean", report.Answers, 100*report.Mean)
}
