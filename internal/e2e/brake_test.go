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
	"github.com/drumline/drumline/internal/localfleet"
)

// vanishedAfter is how long hosts may be silent here: the tests wait for it.
const vanishedAfter = 5 * time.Second

// TestThreeOfFiveHostsVanish kills three of five hosts at once for longer than a host may
// be silent: the brake holds, nothing moves, and once they are back all groups serve
// without any operation.
func TestThreeOfFiveHostsVanish(t *testing.T) {
	w := newWorld(t, 3, 5)
	w.patience = vanishedAfter
	groups := specs("held", 50)
	w.create(groups...)
	w.within(15*time.Second, "launch", w.whole(names(groups)))
	w.balanced(groups)
	before, operations := w.moved()

	away := []string{"host-1", "host-3", "host-4"}
	w.killAll(away...)
	w.within(downAfter+w.patience, "the brake is on", w.braked(true))
	killed := time.Now()
	require.Contains(t, w.run("status"), "3 of 5 hosts vanished")
	w.within(downAfter, "there was time to be wrong", func() (bool, string) { return time.Since(killed) > 3*time.Second, "" })
	w.unmoved(before, operations)

	w.startAll(away...)
	w.within(20*time.Second, "all groups are available", w.whole(names(groups)))
	w.within(10*time.Second, "the brake is off", w.braked(false))
	w.unmoved(before, operations)
	load := w.load(names(groups), 100*time.Millisecond)
	w.written(load, groups)
	w.unfailing(load)
}

// TestARegionVanishes kills all three hosts of one region of eight, which is not so large a
// share of all: the brake holds for the region's sake. Released, what has a quorum is
// repaired elsewhere, unless its rules forbid it; what returns is used again.
func TestARegionVanishes(t *testing.T) {
	w := newWorldOf(t, localfleet.Options{Drummers: 1, Hosts: 8, Regions: []string{"east", "west", "east", "west", "east", "west", "east", "east"}})
	w.patience = vanishedAfter
	free, ruled := specs("free", 12), specs("ruled", 4)
	for _, s := range ruled {
		s.Regions = []*fleetpb.RegionCount{{Region: "east", Count: 2}, {Region: "west", Count: 1}}
	}
	for _, s := range free {
		s.Leaders = []string{"east"}
	}
	all := append(slices.Clone(free), ruled...)
	w.create(all...)
	w.within(20*time.Second, "launch", w.whole(names(all)))
	w.balanced(all)
	before, operations := w.moved()

	west := []string{"host-2", "host-4", "host-6"}
	w.killAll(west...)
	w.within(downAfter+w.patience, "the brake is on", w.braked(true))
	require.Contains(t, w.run("status"), `all 3 hosts of region \"west\" vanished`)
	explained := w.run("explain", ruled[0].GetName())
	require.Contains(t, explained, "the brake is on", explained)
	w.unmoved(before, operations)

	repairable := w.repairable(free, west)
	require.NotEmpty(t, repairable)
	w.run("brake", "release")
	w.within(30*time.Second, "what has a quorum is repaired", w.whole(repairable, west...))
	explained = w.run("explain", ruled[0].GetName())
	require.Contains(t, explained, "west", explained)
	w.startAll(west...)
	w.within(40*time.Second, "all are whole", w.whole(names(all)))
}

// repairable are the groups with a quorum outside of these hosts, and not all of it.
func (w *world) repairable(groups []*fleetpb.Spec, away []string) []string {
	w.Helper()
	now, err := w.groups()
	w.must(err)
	var list []string
	for _, s := range groups {
		gone := 0
		for _, h := range hostsOf(now[s.GetName()]) {
			if slices.Contains(away, h) {
				gone++
			}
		}
		if gone == 1 {
			list = append(list, s.GetName())
		}
	}
	return list
}

// killAll kills hosts at once, and startAll starts them.
func (w *world) killAll(hosts ...string) {
	w.Helper()
	errs := make(chan error, len(hosts))
	for _, h := range hosts {
		go func() { errs <- w.fleet.Kill(h) }()
	}
	for range hosts {
		w.must(<-errs)
	}
}

func (w *world) startAll(hosts ...string) {
	w.Helper()
	for _, h := range hosts {
		w.must(w.fleet.Start(h))
	}
}

// braked tells whether the brake is on.
func (w *world) braked(on bool) func() (bool, string) {
	return func() (bool, string) {
		resp, err := w.client.Drummer().Status(w.Context(), &drummerpb.StatusRequest{})
		return err == nil && resp.GetBrake().GetEngaged() == on, fmt.Sprint(resp.GetBrake(), err)
	}
}

// moved is what there is of replicas and of operations, for unmoved to compare.
func (w *world) moved() (replicas map[string][]uint64, operations int) {
	w.Helper()
	groups, err := w.groups()
	w.must(err)
	return replicaIDs(groups), w.count("")
}

// unmoved demands that no replica has moved and no operation has begun.
func (w *world) unmoved(before map[string][]uint64, operations int) {
	w.Helper()
	now, count := w.moved()
	require.Equal(w, before, now, "a replica moved")
	var list []string
	for _, o := range w.operations("", false)[:count-operations] {
		list = append(list, fmt.Sprint(o.GetKind(), " ", o.GetGroupName(), ": ", o.GetReason()))
	}
	require.Empty(w, strings.Join(list, "\n"), "an operation has begun")
}
