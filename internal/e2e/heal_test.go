//go:build e2e || e2elong

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// electionsOver is when the groups of a killed host have led anew for long. repairGap is
// the longest time without a write that the repair may take: what a busy machine takes for
// a write anyway.
const (
	electionsOver = 5 * time.Second
	repairGap     = 1500 * time.Millisecond
)

// TestLaunchKillReturnWipe is the main job from end to end on one fleet: launch,
// death of a host under load, its return, and the loss of a disk.
func TestLaunchKillReturnWipe(t *testing.T) {
	w := newWorld(t, 3, 5)
	_, err := w.client.Drummer().PauseOperations(t.Context(), &drummerpb.PauseOperationsRequest{Kind: "balance"})
	w.must(err) // only what is repaired moves
	hundred := specs("demo", 100)
	w.create(hundred...)
	w.within(15*time.Second, "launch of 100 groups", w.whole(names(hundred)))
	requireSpread(t, w)

	load := w.load(names(hundred), 200*time.Millisecond)
	w.within(20*time.Second, "every group written once", func() (bool, string) { return load.Acknowledged() >= 200, "waiting for writes" })
	killed := time.Now()
	w.must(w.fleet.Kill("host-2"))
	w.within(downAfter, "the groups have other leaders", func() (bool, string) { return time.Since(killed) > electionsOver, "" })
	report := w.finish(load)
	require.LessOrEqual(t, report.Gaps[0].Length, 3*time.Second, "longest write gap, in %s at %s", report.Gaps[0].Group, report.Gaps[0].Started)
	// A workload of its own shows that the repair holds no write up, which the elections would hide.
	before := time.Until(killed.Add(downAfter)) // of the repair
	load = w.load(names(hundred), 200*time.Millisecond)
	w.within(20*time.Second-time.Since(killed), "all groups whole without host-2", w.whole(names(hundred), "host-2"))
	t.Logf("%.1fs after the kill", time.Since(killed).Seconds())
	report = w.finish(load)
	for _, g := range report.Gaps { // what ended before is not the repair's: a workload that begins is not quick at once
		if g.Started+g.Length > before {
			require.LessOrEqual(t, g.Length, repairGap, "longest write gap during the repair, in %s at %s", g.Group, g.Started)
		}
	}

	w.must(w.fleet.Start("host-2"))
	w.within(20*time.Second, "the returned host is clean", func() (bool, string) { return hostHolds(t, w, "host-2", nil) })
	w.within(20*time.Second, "drummer knows that it is through its boot", func() (bool, string) { return w.booted("host-2") })
	more := specs("more", 10)
	w.create(more...)
	w.within(15*time.Second, "new groups launched", w.whole(names(more)))
	requireUses(t, w, more, "host-2")

	had, err := w.groups()
	w.must(err)
	w.must(w.fleet.Wipe("host-3"))
	w.must(w.fleet.Start("host-3"))
	lost := replicasOn(had, "host-3")
	w.within(30*time.Second, "whole again after the loss of a disk", func() (bool, string) {
		now, err := w.groups()
		if err != nil {
			return false, err.Error()
		}
		if old := intersection(replicasOn(now, "host-3"), lost); len(old) > 0 {
			return false, fmt.Sprintf("%d replicas of the lost disk are still members", len(old))
		}
		return w.whole(nil)()
	})
}

// requireSpread checks that replicas per host differ by one at most, and that no
// host has two of a group.
func requireSpread(t *testing.T, w *world) {
	t.Helper()
	groups, err := w.groups()
	require.NoError(t, err)
	count := map[string]int{}
	for name, g := range groups {
		hosts := hostsOf(g)
		require.Len(t, slices.Compact(slices.Clone(hosts)), len(hosts), name)
		for _, h := range hosts {
			count[h]++
		}
	}
	least, most := 1<<30, 0
	for _, n := range count {
		least, most = min(least, n), max(most, n)
	}
	require.Len(t, count, 5)
	require.LessOrEqual(t, most-least, 1, "replicas per host: %v", count)
}

// requireUses checks that some of the groups have a replica on the host.
func requireUses(t *testing.T, w *world, specs []*fleetpb.Spec, host string) {
	t.Helper()
	groups, err := w.groups()
	require.NoError(t, err)
	used := slices.ContainsFunc(specs, func(s *fleetpb.Spec) bool { return slices.Contains(hostsOf(groups[s.GetName()]), host) })
	require.True(t, used, "%s got no replica of the new groups", host)
}

// replicasOn returns the numbers of the members on a host.
func replicasOn(groups map[string]*drummerpb.GroupInfo, host string) []uint64 {
	var out []uint64
	for _, g := range groups {
		for _, r := range members(g) {
			if r.GetHost() == host {
				out = append(out, r.GetId())
			}
		}
	}
	return out
}

func intersection(a, b []uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(a), func(n uint64) bool { return !slices.Contains(b, n) })
}

// TestReplacementDiesToo kills the host that a replica is being moved to, and has a
// group that can't be repaired at all meanwhile.
func TestReplacementDiesToo(t *testing.T) {
	w := newWorld(t, 3, 5)
	w.patience = soonDown
	solo := &fleetpb.Spec{Name: "kv/solo", App: "kv", Replicas: 3}
	five := &fleetpb.Spec{Name: "kv/five", App: "kv", Replicas: 5}
	w.create(solo, five)
	w.within(15*time.Second, "launch", w.whole([]string{"kv/solo", "kv/five"}))
	groups, err := w.groups()
	w.must(err)
	victim := hostsOf(groups["kv/solo"])[0]
	load := w.load([]string{"kv/solo", "kv/five"}, 100*time.Millisecond)
	w.must(w.fleet.Kill(victim))
	second := ""
	w.within(20*time.Second, "a replacement is chosen", func() (bool, string) {
		now, err := w.groups()
		if err != nil {
			return false, err.Error()
		}
		for _, h := range hostsOf(now["kv/solo"]) {
			if !slices.Contains(hostsOf(groups["kv/solo"]), h) {
				second = h
			}
		}
		return second != "", now["kv/solo"].String()
	})
	w.must(w.fleet.Kill(second))
	w.within(30*time.Second, "a third host is chosen", w.whole([]string{"kv/solo"}, victim, second))
	explained, err := w.client.Drummer().Explain(t.Context(), &drummerpb.ExplainRequest{Name: "kv/five"})
	w.must(err)
	require.Contains(t, strings.Join(explained.GetReasons(), "\n"), "it needs 1 more host", "explain must say why kv/five is not repaired")
	w.must(w.fleet.Start(victim))
	w.must(w.fleet.Start(second))
	w.within(30*time.Second, "all whole again", w.whole(nil))
	w.finish(load)
}
