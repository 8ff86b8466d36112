package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/sim/cluster"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// newCluster is some hosts in two regions and a drummer that leads, without faults and jumps.
func newCluster(seed uint64, hosts int) *world {
	w := newWorld(seed, hosts)
	for len(w.Regions) != 2 {
		seed += 100
		w = newWorld(seed, hosts)
	}
	w.NoJumps = true
	w.Run(time.Minute, func() bool { return w.Lead() != nil && w.Record.Freeze().HostCount() == hosts })
	return w
}

// rest waits until the cluster is as it is wanted and quiet.
func (w *world) rest(t *testing.T) {
	t.Helper()
	end := w.Virtual() + time.Minute
	for w.Now-w.Active < 2*time.Second || len(w.unsettled()) > 0 {
		require.Less(t, w.Virtual(), end, "%v", w.unsettled())
		w.Run(w.Virtual()+time.Second, nil)
	}
	require.Empty(t, w.Book.Violations)
}

// requireStill checks that the cluster is left alone.
func (w *world) requireStill(t *testing.T, d time.Duration) {
	t.Helper()
	proposals, orders := w.Book.Proposals, w.Book.Orders
	w.Run(w.Virtual()+d, nil)
	require.Equal(t, proposals, w.Book.Proposals, "proposals of an idle cluster")
	require.Equal(t, orders, w.Book.Orders, "orders to an idle cluster")
}

func many(n int) []*fleetpb.Spec {
	var list []*fleetpb.Spec
	for i := range n {
		list = append(list, spec(name(i), 3))
	}
	return list
}

func (w *world) reasons() map[ids.Group][]string {
	d := w.Lead()
	return d.Core.Observed(d.Clock.Read(w.Now)).Reasons
}

func TestLaunchIsBalanced(t *testing.T) {
	w := newCluster(1, 5)
	w.create(append(many(100), spec("kv/pinned", 3, &fleetpb.RegionCount{Region: "east", Count: 2}, &fleetpb.RegionCount{Region: "west", Count: 1}))...)
	w.rest(t)
	counts := map[string]int{}
	for g := range w.Record.Freeze().Groups() {
		for _, r := range g.GetReplicas() {
			counts[r.GetHostId()]++
		}
	}
	least, most := 1<<30, 0
	for _, n := range counts {
		least, most = min(least, n), max(most, n)
	}
	require.Len(t, counts, 5)
	require.LessOrEqual(t, most-least, 1, "%v", counts)
	w.requireStill(t, 20*time.Second)
}

func TestKilledHostIsReplacedInTime(t *testing.T) {
	w := newCluster(2, 5)
	w.create(many(100)...)
	w.rest(t)
	dead := w.Hosts[0]
	dead.Crash()
	w.Run(w.Virtual()+w.DownAfter+60*time.Second, nil)
	require.Empty(t, w.Book.Violations)
	for _, g := range w.Order {
		require.Len(t, g.Live(), 3, "group %d", g.ID)
		require.False(t, g.On(dead.Disk.ID), "group %d", g.ID)
	}
	dead.Boot()
	w.rest(t)
	w.requireStill(t, 20*time.Second)
}

func TestSupervisorChangeMovesNothing(t *testing.T) {
	w := newCluster(3, 5)
	w.create(many(20)...)
	w.rest(t)
	before := w.Book.Proposals
	w.Elect(w.Drummers[(w.Leader+1)%3])
	w.Run(w.Virtual()+30*time.Second, nil)
	end := w.drummersOut(nil)
	w.Run(w.Virtual()+time.Minute, nil)
	end()
	w.Run(w.Virtual()+40*time.Second, nil)
	for range 6 {
		d := w.Drummers[w.Leader]
		others := []*cluster.Drummer{w.Drummers[(w.Leader+1)%3], w.Drummers[(w.Leader+2)%3]}
		for _, o := range others { // nobody can take the lead
			o.Apart = true
		}
		d.Pause()
		w.Run(w.Virtual()+time.Minute, nil)
		for _, o := range others {
			o.Apart = false
		}
		d.Resume()
		w.Run(w.Virtual()+20*time.Second, nil)
	}
	w.rest(t)
	require.Equal(t, before, w.Book.Proposals, "nothing was broken, so nothing is proposed")
}

func TestImpossibleGroupDelaysNoOther(t *testing.T) {
	w := newCluster(4, 5)
	w.create(spec("kv/five", 5), spec("kv/three", 3), spec("kv/pinned", 3, &fleetpb.RegionCount{Region: "east", Count: 1}, &fleetpb.RegionCount{Region: "west", Count: 2}))
	w.rest(t)
	dead := w.Hosts[1] // in west
	dead.Crash()
	w.Run(w.Virtual()+w.DownAfter+20*time.Second, nil)
	require.Empty(t, w.Book.Violations)
	v := w.Record.Freeze()
	reasons := w.reasons()
	require.Contains(t, strings.Join(reasons[ids.Group(v.ByName("kv/five").GetId())], "\n"), "4 of 5 hosts are up, 4 of them have a replica of it")
	require.Contains(t, strings.Join(reasons[ids.Group(v.ByName("kv/pinned").GetId())], "\n"), "the rule wants 1 more in region west")
	three := w.Groups[v.ByName("kv/three").GetId()]
	require.Len(t, three.Voters, 3)
	require.False(t, three.On(dead.Disk.ID), fmt.Sprint(three.Voters))
}
