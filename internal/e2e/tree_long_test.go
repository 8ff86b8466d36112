//go:build e2elong

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/client/capacity"
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

// TestATreeLosesItsRoot: the root's whole region stops. Its clients, and those of the region
// below, fall to their safe capacity when the leases end, level by level; the levels below go on
// leasing of each other, also through the death of a leader; and all lease again when the root's
// region goes on.
func TestATreeLosesItsRoot(t *testing.T) {
	const lease = 12
	w := newTree(t, lease, 4)
	w.fair(30 * time.Second)
	ord := w.hostsOf("capacity/ord")
	for range 2 {
		for _, host := range ord {
			w.must(w.fleet.Pause(host))
		}
		w.within(4*lease*time.Second, "the clients of the root's region have their safe capacity", func() (bool, string) {
			return w.all(capacity.Safe, treeSafe, "ord")
		})
		safe := func() (bool, string) { return w.all(capacity.Leased, treeSafe, "hkg", "hkg/kowloon") }
		w.within(4*lease*time.Second, "the other region's clients lease their safe shares", safe)
		const leaf = "capacity/hkg/kowloon"
		dead := w.leader(leaf)
		w.must(w.fleet.Kill(dead))
		w.within(30*time.Second, "another host leads the lowest level", func() (bool, string) {
			led := w.leaderOf(leaf)
			return led != dead && led != "", led
		})
		// Longer than any lease of the leader before: what they hold is of the next one.
		w.stays(2*lease*time.Second, "its clients lease their safe shares of the next leader", safe)
		w.must(w.fleet.Start(dead))
		for _, host := range ord {
			w.must(w.fleet.Resume(host))
		}
		w.fair(4 * lease * time.Second)
	}
	// While the root is away its clients use safe shares beside what it leases, never more.
	report, err := w.record.JudgeAll(treeCapacity+8*treeSafe, treeLeaves()...)
	w.must(err)
	require.Positive(t, report.Answers)
	t.Logf("%d answers, %.1f %% in use at most", report.Answers, 100*report.Most)
}

// stays waits until a time has passed and fails if it was not so at one look at the end of it.
func (w *tree) stays(d time.Duration, what string, look func() (bool, string)) {
	w.Helper()
	from := time.Now()
	w.within(d+30*time.Second, what, func() (bool, string) {
		ok, seen := look()
		return ok && time.Since(from) > d, seen
	})
}

// hostsOf are the names of the hosts with a replica of a group.
func (w *tree) hostsOf(group string) (hosts []string) {
	w.Helper()
	groups, err := w.groups()
	w.must(err)
	for _, r := range groups[group].GetReplicas() {
		hosts = append(hosts, r.GetHost())
	}
	require.Len(w, hosts, 3)
	return hosts
}
