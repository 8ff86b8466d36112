package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/export"
	"github.com/drumline/drumline/drummer/sim/revive"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// exported is a simulated cluster as `record export` would save it, by way of the file.
func exported(t *testing.T, w *world) *export.Fleet {
	t.Helper()
	d := w.Lead()
	require.NotNil(t, d)
	e, err := export.Take(d.Core.Observed(d.Clock.Read(w.Now)))
	require.NoError(t, err)
	data, err := export.Write(e)
	require.NoError(t, err)
	f, err := export.Read(data)
	require.NoError(t, err)
	return f
}

// replicasOf lists who is where, of every group.
func replicasOf(w *world) map[string]map[uint64]string {
	all := map[string]map[uint64]string{}
	for g := range w.Record.Freeze().Groups() {
		at := map[uint64]string{}
		for _, r := range g.GetReplicas() {
			at[r.GetId()] = r.GetHostId()
		}
		all[g.GetSpec().GetName()] = at
	}
	return all
}

// A cluster that was well when it was exported is the same in the simulation, and nothing
// is done to it.
func TestAnExportedFleetGoesOn(t *testing.T) {
	t.Parallel()
	live := newCluster(3, 5)
	live.create(many(12)...)
	live.create(spec("kv/far", 3, &fleetpb.RegionCount{Region: "east", Count: 2}, &fleetpb.RegionCount{Region: "west", Count: 1}))
	live.rest(t)
	w := watched(revive.New(77, exported(t, live)))
	w.NoJumps = true
	w.Run(time.Minute, func() bool { return w.Lead() != nil && w.Ready() })
	w.rest(t)
	require.Equal(t, replicasOf(live), replicasOf(w))
	require.Len(t, w.Hosts, 5)
	w.requireStill(t, time.Minute)
	require.Empty(t, w.Book.Violations)
}

// Whichever moment of a repair is exported, a simulation that begins there mends it.
func TestExportedInTheMiddle(t *testing.T) {
	t.Parallel()
	live := newCluster(5, 5)
	live.create(many(8)...)
	live.rest(t)
	live.Hosts[2].Crash()
	for moment := range 12 {
		live.Run(live.Virtual()+3*time.Second, nil)
		w := watched(revive.New(uint64(moment), exported(t, live)))
		w.Run(30*time.Second, func() bool { return w.Lead() != nil && w.Ready() })
		w.heal()
		w.converge()
		require.Empty(t, w.Book.Violations, "moment %d", moment)
	}
	require.Empty(t, live.Book.Violations)
}

// Schedules that begin with an exported fleet break no promise, and are told apart by
// their seeds only.
func TestSchedulesOfAnExportedFleet(t *testing.T) {
	t.Parallel()
	live := newCluster(9, 6)
	live.create(many(10)...)
	live.rest(t)
	live.cordon(&Fault{Pick: 1})
	live.Hosts[4].Crash()
	live.Run(live.Virtual()+5*time.Second, nil)
	f := exported(t, live)
	first := Setup{Seed: 1, From: f, File: "fleet.json"}
	var all []*Outcome
	Many(first, max(1, 20/slower), 2, func(o *Outcome) bool {
		all = append(all, o)
		return true
	})
	for _, o := range all {
		require.Empty(t, o.Violations, o.Setup.Command())
		require.Equal(t, 6, o.Setup.Hosts)
	}
	a, b := Run(first), Run(first)
	require.Equal(t, a.Hash, b.Hash)
	require.Contains(t, a.Setup.Command(), "--seed 1 --schedules 1 --from fleet.json --faults")
}

// A fleet of more hosts than --hosts would bring is taken as it is.
func TestAnExportOfManyHosts(t *testing.T) {
	t.Parallel()
	live := newCluster(11, 120)
	live.create(many(60)...)
	live.rest(t)
	o := Run(Setup{Seed: 1, From: exported(t, live), File: "fleet.json", Faults: 5, Wishes: 3, Blows: -1, Errands: 2})
	require.Empty(t, o.Violations, o.Setup.Command())
	require.Equal(t, 120, o.Setup.Hosts)
}
