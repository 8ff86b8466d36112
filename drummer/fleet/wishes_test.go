package fleet_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/rules"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// randomWish is something that people want of hosts, groups and operations.
func randomWish(r *rand.Rand, v *fleet.View) *fleetpb.Command {
	host := fmt.Sprintf("id%d", r.IntN(7))
	kind := []string{"replace", "move", "drain", "balance", "transfer", "launch"}[r.IntN(6)]
	c := &fleetpb.Command{AtUnixMs: r.Int64N(1000)}
	switch r.IntN(9) {
	case 0, 1:
		c.Op = &fleetpb.Command_SetHost{SetHost: &fleetpb.SetHost{HostId: host, Wanted: &fleetpb.HostWanted{
			Duty: fleetpb.HostDuty(r.IntN(5)), Weight: r.Uint32N(3) * 5000, MaintenanceUntilUnixMs: r.Int64N(9) - 1, Author: "me",
		}}}
	case 2:
		c.Op = &fleetpb.Command_HostEmptied{HostEmptied: &fleetpb.HostEmptied{HostId: host}}
	case 3:
		c.Op = &fleetpb.Command_RemoveHost{RemoveHost: &fleetpb.RemoveHost{HostId: host, Force: r.IntN(4) == 0}}
	case 4:
		c.Op = &fleetpb.Command_ShapeGroups{ShapeGroups: &fleetpb.ShapeGroups{Specs: []*fleetpb.Spec{randomSpec(r)}, Author: "me"}}
	case 5:
		c.Op = &fleetpb.Command_PreferLeader{PreferLeader: &fleetpb.PreferLeader{Name: randomName(r), Region: randomRegion(r), Replica: r.Uint64N(12)}}
		if g := someGroup(r, v); g != nil && r.IntN(2) == 0 {
			c.Op = &fleetpb.Command_LeaderSeen{LeaderSeen: &fleetpb.LeaderSeen{Group: g.GetId(), Generation: g.GetGeneration()}}
		}
	case 6:
		c.Op = &fleetpb.Command_CancelOperation{CancelOperation: &fleetpb.CancelOperation{Id: r.Uint64N(1 + uint64(2*v.OperationsRunning()))}}
	case 7:
		c.Op = &fleetpb.Command_Pause{Pause: &fleetpb.Pause{Kind: kind, Resume: r.IntN(2) == 0}}
	default:
		c.Op = &fleetpb.Command_SetBrake{SetBrake: &fleetpb.SetBrake{Engaged: r.IntN(2) == 0, Reason: "test", Accepted: []string{host, "id1"}[:r.IntN(3)]}}
		if g := someGroup(r, v); g != nil && r.IntN(2) == 0 {
			add := &fleetpb.AddReplica{Group: g.GetId(), Generation: g.GetGeneration(), HostId: host, Kind: kind, Move: r.IntN(4) > 0}
			if n := len(g.GetReplicas()); n > 0 {
				add.Replaces = g.GetReplicas()[r.IntN(n)].GetId()
			}
			c.Op = &fleetpb.Command_AddReplica{AddReplica: add}
		}
	}
	return c
}

func someGroup(r *rand.Rand, v *fleet.View) *fleetpb.Group {
	groups := slices.Collect(v.Groups())
	if len(groups) == 0 {
		return nil
	}
	return groups[r.IntN(len(groups))]
}

func TestForkIsItsOwn(t *testing.T) {
	m := fleet.New()
	apply(t, m, encode(&fleetpb.Command{Op: &fleetpb.Command_RegisterHost{RegisterHost: &fleetpb.Host{Id: "a", Name: "a", Api: "x:1", Raft: "x:2", BootEpoch: 1}}}))
	v := m.Freeze()
	fork := fleet.Fork(v)
	require.Equal(t, fleetpb.Code_CODE_OK, fork.Execute(&fleetpb.Command{Op: &fleetpb.Command_RemoveHost{RemoveHost: &fleetpb.RemoveHost{HostId: "a", Force: true}}}).GetCode())
	require.Len(t, slices.Collect(v.Hosts()), 1)
	require.Len(t, slices.Collect(m.Freeze().Hosts()), 1)
	require.Empty(t, slices.Collect(fork.Freeze().Hosts()))
	require.True(t, fork.Freeze().Host("a").GetRemoved(), "its id is remembered")
}

func TestRulesOfSpecs(t *testing.T) {
	spec := func(change func(*fleetpb.Spec)) *fleetpb.Spec {
		s := &fleetpb.Spec{Name: "kv/a", App: "kv", Replicas: 3}
		change(s)
		return s
	}
	for name, c := range map[string]struct {
		spec *fleetpb.Spec
		want string
	}{
		"labels":     {spec(func(s *fleetpb.Spec) { s.Require, s.Forbid = []string{"a=1"}, []string{"b=1"} }), ""},
		"at once":    {spec(func(s *fleetpb.Spec) { s.Require, s.Forbid = []string{"a=1"}, []string{"a=1"} }), "required and forbidden"},
		"unsorted":   {spec(func(s *fleetpb.Spec) { s.Require = []string{"b=1", "a=1"} }), "require: labels must be sorted"},
		"isolation":  {spec(func(s *fleetpb.Spec) { s.Isolation = 9 }), "isolation 9 is not known"},
		"isolated":   {spec(func(s *fleetpb.Spec) { s.Isolation = fleetpb.Isolation_ISOLATION_ZONE }), ""},
		"leaders":    {spec(func(s *fleetpb.Spec) { s.Leaders = []string{"east", "east"} }), "shall lead twice"},
		"down after": {spec(func(s *fleetpb.Spec) { s.DownAfterMs = 10 }), "want 1s to a week"},
		"too many there": {spec(func(s *fleetpb.Spec) {
			s.Isolation, s.Regions = fleetpb.Isolation_ISOLATION_REGION, []*fleetpb.RegionCount{{Region: "east", Count: 3}}
		}), "allows one"},
		"nobody there": {spec(func(s *fleetpb.Spec) {
			s.Leaders, s.Regions = []string{"west"}, []*fleetpb.RegionCount{{Region: "east", Count: 3}}
		}), "has no replica there"},
	} {
		t.Run(name, func(t *testing.T) {
			err := rules.CheckSpec(c.spec)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}
