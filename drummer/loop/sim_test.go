package loop_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

var (
	seeds     = flag.Int("seeds", 10, "schedules to run")
	firstSeed = flag.Uint64("seed", 1, "first seed")
	traceFile = flag.String("story", "", "file to write the trace of a failing schedule to")
)

// standard is five hosts in two regions, and a supervisor.
func standard(seed uint64, hosts int) *world {
	w := newWorld(seed)
	for i := range hosts {
		w.addHost([]string{"east", "west"}[i%2])
	}
	w.apply(&fleetpb.Command{Op: &fleetpb.Command_SetPolicy{SetPolicy: &fleetpb.Policy{DownAfterMs: 10_000}}})
	w.lead()
	w.run(4 * time.Second)
	return w
}

func (w *world) require(t *testing.T) {
	t.Helper()
	if len(w.violations) == 0 {
		return
	}
	w.dump(t)
	t.Fatalf("%d violations, the first:\n%s", len(w.violations), strings.Join(w.violations[:min(5, len(w.violations))], "\n"))
}

func (w *world) dump(t *testing.T) {
	t.Helper()
	if *traceFile != "" {
		require.NoError(t, os.WriteFile(*traceFile, []byte(strings.Join(w.trace, "\n")+"\n"), 0o600))
	}
}

// lostQuorum tells whether so many of the group's voters lost their data that
// nobody may repair it.
func (w *world) lostQuorum(id uint64) bool {
	r := w.rafts[id]
	if r == nil {
		return false
	}
	left := 0
	for v, host := range r.voters {
		if h := w.hostOf(host); h != nil && h.manifest[v] != nil {
			left++
		}
	}
	return left < len(r.voters)/2+1
}

// unsettled lists what is not as it should be after a long quiet time.
func (w *world) unsettled() []string {
	var bad []string
	v := w.record.Freeze()
	inRecord := map[uint64]bool{}
	for g := range v.Groups() {
		for _, r := range g.GetReplicas() {
			inRecord[r.GetId()] = true
		}
		if w.lostQuorum(g.GetId()) {
			continue
		}
		reasons := w.core.Observed(w.now).Reasons[ids.Group(g.GetId())]
		if g.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN {
			bad = append(bad, fmt.Sprintf("group %d %s is %s: %v", g.GetId(), g.GetSpec().GetName(), g.GetState(), reasons))
			continue
		}
		if len(g.GetReplicas()) != int(g.GetSpec().GetReplicas()) {
			bad = append(bad, fmt.Sprintf("group %d has replicas %v: %v", g.GetId(), g.GetReplicas(), reasons))
			continue
		}
		if len(reasons) > 0 {
			bad = append(bad, fmt.Sprintf("group %d: %v", g.GetId(), reasons))
		}
		r := w.rafts[g.GetId()]
		for _, m := range g.GetReplicas() {
			if r.replica(w, m.GetId(), m.GetHostId()) == nil || r.voters[m.GetId()] == "" || !m.GetVoter() {
				bad = append(bad, fmt.Sprintf("group %d: replica %d is no live voter", g.GetId(), m.GetId()))
			}
		}
		for _, rule := range g.GetSpec().GetRegions() {
			n := 0
			for _, m := range g.GetReplicas() {
				if v.Host(ids.Host(m.GetHostId())).GetRegion() == rule.GetRegion() {
					n++
				}
			}
			if n != int(rule.GetCount()) {
				bad = append(bad, fmt.Sprintf("group %d: %d replicas in %s", g.GetId(), n, rule.GetRegion()))
			}
		}
	}
	for _, h := range w.hosts {
		for id, m := range h.manifest {
			if !inRecord[id] {
				bad = append(bad, fmt.Sprintf("host %s still has replica %d of group %d", h.id, id, m.group))
			}
		}
	}
	slices.Sort(bad)
	return bad
}

func TestLaunchIsBalancedAndFast(t *testing.T) {
	w := standard(1, 5)
	var specs []*fleetpb.Spec
	for i := range 100 {
		specs = append(specs, spec(fmt.Sprintf("kv/demo-%03d", i), 3))
	}
	specs = append(specs, spec("kv/pinned", 3, &fleetpb.RegionCount{Region: "east", Count: 2}, &fleetpb.RegionCount{Region: "west", Count: 1}))
	w.create(specs...)
	w.run(10 * time.Second)
	w.require(t)
	require.Empty(t, w.unsettled())
	counts := map[string]int{}
	for g := range w.record.Freeze().Groups() {
		for _, r := range g.GetReplicas() {
			counts[r.GetHostId()]++
		}
	}
	least, most := 1<<30, 0
	for _, h := range w.hosts {
		least, most = min(least, counts[h.id]), max(most, counts[h.id])
	}
	require.LessOrEqual(t, most-least, 1, "%v", counts)
	w.requireIdle(t)
}

// requireIdle checks that a whole cluster is left alone.
func (w *world) requireIdle(t *testing.T) {
	t.Helper()
	proposals, orders := w.proposals, w.orders
	w.run(20 * time.Second)
	require.Equal(t, proposals, w.proposals, "proposals of an idle cluster")
	require.Equal(t, orders, w.orders, "orders to an idle cluster")
}

func TestKilledHostIsReplacedInTime(t *testing.T) {
	w := standard(2, 5)
	for i := range 100 {
		w.create(spec(fmt.Sprintf("kv/demo-%03d", i), 3))
	}
	w.run(10 * time.Second)
	require.Empty(t, w.unsettled())
	dead := w.hosts[0]
	dead.kill(w)
	w.run(20 * time.Second)
	w.require(t)
	for g := range w.record.Freeze().Groups() {
		voters := 0
		for _, r := range g.GetReplicas() {
			if r.GetVoter() {
				voters++
				require.NotEqual(t, dead.id, r.GetHostId(), "group %d", g.GetId())
			}
		}
		require.Equal(t, 3, voters, "group %d: %v", g.GetId(), w.core.Observed(w.now).Reasons[ids.Group(g.GetId())])
	}
	dead.boot(w)
	w.run(10 * time.Second)
	w.require(t)
	require.Empty(t, w.unsettled())
	w.requireIdle(t)
}

func TestSupervisorChangeMovesNothing(t *testing.T) {
	w := standard(3, 5)
	for i := range 20 {
		w.create(spec(fmt.Sprintf("kv/demo-%03d", i), 3))
	}
	w.run(10 * time.Second)
	require.Empty(t, w.unsettled())
	before := w.proposals
	w.lead()
	w.run(30 * time.Second)
	w.halt()
	w.run(60 * time.Second)
	w.lead()
	w.run(40 * time.Second)
	for range 6 {
		w.paused = w.now + 60*time.Second
		w.run(80 * time.Second)
	}
	w.require(t)
	require.Empty(t, w.unsettled())
	require.Equal(t, before, w.proposals, "nothing was broken, so nothing is proposed")
}

func TestImpossibleGroupDelaysNoOther(t *testing.T) {
	w := standard(4, 5)
	w.create(spec("kv/five", 5), spec("kv/three", 3), spec("kv/pinned", 3, &fleetpb.RegionCount{Region: "east", Count: 1}, &fleetpb.RegionCount{Region: "west", Count: 2}))
	w.run(10 * time.Second)
	require.Empty(t, w.unsettled())
	w.hosts[1].kill(w) // west
	w.run(25 * time.Second)
	w.require(t)
	reasons := w.core.Observed(w.now).Reasons
	v := w.record.Freeze()
	require.Contains(t, strings.Join(reasons[ids.Group(v.ByName("kv/five").GetId())], "\n"), "4 of 5 hosts are up, 4 of them have a replica of it")
	require.Contains(t, strings.Join(reasons[ids.Group(v.ByName("kv/pinned").GetId())], "\n"), "the rule wants 1 more in region west")
	three := v.ByName("kv/three")
	require.Equal(t, 3, slices.IndexFunc(append(voters(three), nil), func(r *fleetpb.Replica) bool { return r == nil || r.GetHostId() == w.hosts[1].id }))
}

func voters(g *fleetpb.Group) []*fleetpb.Replica {
	var list []*fleetpb.Replica
	for _, r := range g.GetReplicas() {
		if r.GetVoter() {
			list = append(list, r)
		}
	}
	return list
}

// chaos does something random.
func (w *world) chaos() {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	switch n := w.rng.IntN(100); {
	case n < 25:
		if h.running {
			h.kill(w)
		} else {
			h.boot(w)
		}
	case n < 40:
		if !h.running {
			h.boot(w)
		}
	case n < 45:
		if w.wipeable(h) {
			if h.running {
				h.kill(w)
			}
			w.note("%s is wiped", h.name)
			h.wipe(w)
			h.boot(w)
		}
	case n < 55:
		h.cutOff = !h.cutOff
		w.note("%s cut off from the supervisor: %v", h.name, h.cutOff)
		if h.cutOff && w.rng.IntN(2) == 0 {
			h.hangUp(w)
		}
	case n < 60:
		w.lead()
	case n < 63:
		if w.up {
			w.halt()
		}
	case n < 66:
		if w.up {
			w.note("supervisor suspended")
			w.paused = w.now + time.Duration(w.rng.IntN(30))*time.Second
		}
	case n < 72:
		w.lossy = !w.lossy
	case n < 80:
		w.create(spec(fmt.Sprintf("kv/x%d", w.rng.IntN(8)), []int{1, 3, 3, 5}[w.rng.IntN(4)]))
	case n < 84:
		w.remove(fmt.Sprintf("kv/x%d", w.rng.IntN(8)), w.rng.IntN(3) == 0)
	default:
		if !w.up {
			w.lead()
		}
	}
}

// wipeable tells whether every group can lose the host's data and keep a quorum of
// what has it all: the world breaks no promise that the cluster does not make.
func (w *world) wipeable(h *simHost) bool {
	for _, r := range w.rafts {
		left, has := 0, false
		for v, host := range r.voters {
			o := w.hostOf(host)
			if o == nil || o.manifest[v] == nil {
				continue
			}
			if o == h {
				has = true
			} else if o.manifest[v].match >= r.commit {
				left++
			}
		}
		if has && left < len(r.voters)/2+1 {
			return false
		}
	}
	return true
}

// schedule is one random life of a cluster, then healing, then rest.
func schedule(t *testing.T, seed uint64) *world {
	t.Helper()
	w := standard(seed, 4+int(seed%4))
	for i := range 6 {
		w.create(spec(fmt.Sprintf("kv/x%d", i), 3))
	}
	w.create(spec("kv/pinned", 3, &fleetpb.RegionCount{Region: "east", Count: 2}, &fleetpb.RegionCount{Region: "west", Count: 1}))
	if seed%2 == 0 {
		w.run(8 * time.Second)
	}
	for end := w.now + 4*time.Minute; w.now < end; {
		w.chaos()
		w.run(time.Duration(w.rng.IntN(60)) * tick * 2)
	}
	w.note("HEAL")
	w.lossy = false
	for _, h := range w.hosts {
		h.cutOff = false
		if !h.running {
			h.boot(w)
		}
	}
	if !w.up {
		w.lead()
	}
	w.paused = 0
	w.run(90 * time.Second)
	return w
}

func TestRandomLives(t *testing.T) {
	for i := range *seeds {
		seed := *firstSeed + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := schedule(t, seed)
			w.require(t)
			if bad := w.unsettled(); len(bad) > 0 {
				// A region or a size that the hosts do not allow is not the planner's fault.
				bad = slices.DeleteFunc(bad, func(s string) bool { return strings.Contains(s, "it needs ") && len(w.hosts) < 5 })
				if len(bad) > 0 {
					w.dump(t)
					t.Fatalf("not settled:\n%s", strings.Join(bad, "\n"))
				}
				return
			}
			w.requireIdle(t)
		})
	}
}

func TestSameSeedSameLife(t *testing.T) {
	a, b := schedule(t, 7), schedule(t, 7)
	require.Equal(t, a.trace, b.trace)
}
