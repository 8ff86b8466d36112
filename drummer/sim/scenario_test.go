package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// cluster is some hosts in two regions and a drummer that leads, without faults and jumps.
func cluster(seed uint64, hosts int) *world {
	w := newWorld(seed, hosts)
	for len(w.regions) != 2 {
		seed += 100
		w = newWorld(seed, hosts)
	}
	w.noJumps = true
	w.run(time.Minute, func() bool { return w.lead() != nil && w.record.Freeze().HostCount() == hosts })
	return w
}

// rest waits until the cluster is as it is wanted and quiet.
func (w *world) rest(t *testing.T) {
	t.Helper()
	end := w.virtual() + time.Minute
	for w.now-w.active < 2*time.Second || len(w.unsettled()) > 0 {
		require.Less(t, w.virtual(), end, "%v", w.unsettled())
		w.run(w.virtual()+time.Second, nil)
	}
	require.Empty(t, w.book.violations)
}

// requireStill checks that the cluster is left alone.
func (w *world) requireStill(t *testing.T, d time.Duration) {
	t.Helper()
	proposals, orders := w.book.proposals, w.book.orders
	w.run(w.virtual()+d, nil)
	require.Equal(t, proposals, w.book.proposals, "proposals of an idle cluster")
	require.Equal(t, orders, w.book.orders, "orders to an idle cluster")
}

func many(n int) []*fleetpb.Spec {
	var list []*fleetpb.Spec
	for i := range n {
		list = append(list, spec(name(i), 3))
	}
	return list
}

func (w *world) reasons() map[ids.Group][]string {
	d := w.lead()
	return d.core.Observed(d.clock.read(w.now)).Reasons
}

func TestLaunchIsBalanced(t *testing.T) {
	w := cluster(1, 5)
	w.create(append(many(100), spec("kv/pinned", 3, &fleetpb.RegionCount{Region: "east", Count: 2}, &fleetpb.RegionCount{Region: "west", Count: 1}))...)
	w.rest(t)
	counts := map[string]int{}
	for g := range w.record.Freeze().Groups() {
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
	w := cluster(2, 5)
	w.create(many(100)...)
	w.rest(t)
	dead := w.hosts[0]
	dead.crash()
	w.run(w.virtual()+w.downAfter+60*time.Second, nil)
	require.Empty(t, w.book.violations)
	for _, g := range w.order {
		require.Len(t, g.live(g.voters), 3, "group %d", g.id)
		require.False(t, g.on(dead.disk.id), "group %d", g.id)
	}
	dead.boot()
	w.rest(t)
	w.requireStill(t, 20*time.Second)
}

func TestSupervisorChangeMovesNothing(t *testing.T) {
	w := cluster(3, 5)
	w.create(many(20)...)
	w.rest(t)
	before := w.book.proposals
	w.elect(w.drummers[(w.leader+1)%3])
	w.run(w.virtual()+30*time.Second, nil)
	end := w.drummersOut(nil)
	w.run(w.virtual()+time.Minute, nil)
	end()
	w.run(w.virtual()+40*time.Second, nil)
	for range 6 {
		d := w.drummers[w.leader]
		others := []*drummer{w.drummers[(w.leader+1)%3], w.drummers[(w.leader+2)%3]}
		for _, o := range others { // nobody can take the lead
			o.apart = true
		}
		d.pause()
		w.run(w.virtual()+time.Minute, nil)
		for _, o := range others {
			o.apart = false
		}
		d.resume()
		w.run(w.virtual()+20*time.Second, nil)
	}
	w.rest(t)
	require.Equal(t, before, w.book.proposals, "nothing was broken, so nothing is proposed")
}

func TestImpossibleGroupDelaysNoOther(t *testing.T) {
	w := cluster(4, 5)
	w.create(spec("kv/five", 5), spec("kv/three", 3), spec("kv/pinned", 3, &fleetpb.RegionCount{Region: "east", Count: 1}, &fleetpb.RegionCount{Region: "west", Count: 2}))
	w.rest(t)
	dead := w.hosts[1] // in west
	dead.crash()
	w.run(w.virtual()+w.downAfter+20*time.Second, nil)
	require.Empty(t, w.book.violations)
	v := w.record.Freeze()
	reasons := w.reasons()
	require.Contains(t, strings.Join(reasons[ids.Group(v.ByName("kv/five").GetId())], "\n"), "4 of 5 hosts are up, 4 of them have a replica of it")
	require.Contains(t, strings.Join(reasons[ids.Group(v.ByName("kv/pinned").GetId())], "\n"), "the rule wants 1 more in region west")
	three := w.groups[v.ByName("kv/three").GetId()]
	require.Len(t, three.voters, 3)
	require.False(t, three.on(dead.disk.id), fmt.Sprint(three.voters))
}
