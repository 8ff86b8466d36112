package foresight

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/planner"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// settled is a fleet with so many whole groups on so many hosts, made by playing a launch.
func settled(t *testing.T, hosts, groups int) *world {
	t.Helper()
	m := fleet.New()
	o := &planner.Observed{Hosts: map[ids.Host]*planner.Host{}, Groups: map[ids.Group]*planner.Group{}}
	w := newWorld(planner.View{Fleet: m.Freeze(), Observed: o})
	for i := range hosts {
		w.join(t, fmt.Sprintf("h%d", i))
	}
	var specs []*fleetpb.Spec
	for i := range groups {
		specs = append(specs, &fleetpb.Spec{Name: fmt.Sprintf("kv/g%03d", i), App: "kv", Replicas: 3})
	}
	require.NoError(t, w.suppose(Change{Specs: specs}))
	require.False(t, w.play(t.Context()).GetUnfinished())
	return w
}

func (w *world) join(t *testing.T, id string) {
	t.Helper()
	require.NoError(t, w.apply(&fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{
		Id: id, Name: id, Api: "x:1", Raft: "x:2", BootEpoch: 1, Apps: []*fleetpb.App{{Name: "kv", Version: 1}},
	}}}))
	w.seen.Hosts[ids.Host(id)] = &planner.Host{Connected: true, Replicas: map[planner.Ref]*drummerpb.ReplicaReport{}}
}

func (w *world) view() planner.View {
	return planner.View{Fleet: w.record.Freeze(), Observed: w.seen}
}

func TestALostHostIsReplacedAndNothingElseMoves(t *testing.T) {
	w := settled(t, 5, 20)
	revision := w.record.Freeze().Revision()
	r, err := Play(t.Context(), w.view(), Change{Without: []ids.Host{"h1"}})
	require.NoError(t, err)
	require.Equal(t, revision, w.record.Freeze().Revision(), "the present is left alone")
	require.Empty(t, r.GetOpen())
	require.EqualValues(t, 12, r.GetMoves())
	for _, h := range r.GetHosts() {
		require.EqualValues(t, 12, h.GetBefore(), h.GetHost())
		if h.GetHost() != "h1" {
			require.EqualValues(t, 15, h.GetAfter(), h.GetHost())
		}
	}
}

func TestADrainedHostIsEmptied(t *testing.T) {
	w := settled(t, 4, 10)
	r, err := Play(t.Context(), w.view(), Change{Drain: []ids.Host{"h2"}})
	require.NoError(t, err)
	require.Empty(t, r.GetOpen())
	for _, h := range r.GetHosts() {
		if h.GetHost() == "h2" {
			require.Zero(t, h.GetAfter())
		}
	}
}

func TestAHostThatWouldComeFillsUpInAsManyMoves(t *testing.T) {
	w := settled(t, 4, 40) // 30 on each
	supposed, err := Play(t.Context(), w.view(), Change{Added: []*fleetpb.Host{{Name: "new", Region: "east", Labels: []string{"b=1", "a=1"}}}})
	require.NoError(t, err)
	require.EqualValues(t, 24, supposed.GetMoves())
	require.Equal(t, []string{"h0", "h1", "h2", "h3", "new"}, hostNames(supposed))
	for _, h := range supposed.GetHosts() {
		require.EqualValues(t, 24, h.GetAfter(), h.GetHost())
	}
	half, err := Play(t.Context(), w.view(), Change{Added: []*fleetpb.Host{{Name: "new", Wanted: &fleetpb.HostWanted{Weight: 50}}}})
	require.NoError(t, err)
	require.Less(t, half.GetMoves(), supposed.GetMoves())
	_, err = Play(t.Context(), w.view(), Change{Added: []*fleetpb.Host{{Name: "h1"}}})
	require.ErrorContains(t, err, "a host h1 is there already")
}

func hostNames(r *drummerpb.PlanResponse) []string {
	var list []string
	for _, h := range r.GetHosts() {
		list = append(list, h.GetHost())
	}
	return list
}

func TestAHostThatWouldComeRunsWhatAllRun(t *testing.T) {
	kv, counter := &fleetpb.App{Name: "kv", Version: 2}, &fleetpb.App{Name: "counter", Version: 1}
	both := common(common(nil, []*fleetpb.App{counter, kv}, true), []*fleetpb.App{{Name: "kv", Version: 1}}, false)
	require.Len(t, both, 1)
	require.Equal(t, "kv", both[0].GetName())
	require.EqualValues(t, 1, both[0].GetVersion())
}

func TestAnEmptyHostFillsUpInTheFewestMoves(t *testing.T) {
	w := settled(t, 4, 40) // 30 on each
	w.join(t, "new")
	r, err := Play(t.Context(), w.view(), Change{})
	require.NoError(t, err)
	require.Empty(t, r.GetOpen())
	require.EqualValues(t, 24, r.GetMoves())
	for _, h := range r.GetHosts() {
		require.EqualValues(t, 24, h.GetAfter(), h.GetHost())
	}
}

func TestGroupsGrowAndShrink(t *testing.T) {
	w := settled(t, 6, 3)
	for _, n := range []uint32{5, 1, 3} {
		require.NoError(t, w.suppose(Change{Specs: []*fleetpb.Spec{{Name: "kv/g000", App: "kv", Replicas: n}}}))
		require.False(t, w.play(t.Context()).GetUnfinished())
		g := w.record.Freeze().ByName("kv/g000")
		require.Len(t, g.GetReplicas(), int(n))
		require.Zero(t, g.GetOperation(), "its operation has ended")
	}
}
