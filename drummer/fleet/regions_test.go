package fleet_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet"
	"github.com/drumline/drumline/drummer/fleet/versions"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// regional is what somebody wants of a region's group.
func regional(name, region string) *fleetpb.Spec {
	return &fleetpb.Spec{Name: name, Region: region, App: "counter", Replicas: 3, Regions: []*fleetpb.RegionCount{{Region: region, Count: 3}}}
}

func creating(specs ...*fleetpb.Spec) *fleetpb.Command {
	return &fleetpb.Command{Op: &fleetpb.Command_CreateGroups{CreateGroups: &fleetpb.CreateGroups{Specs: specs}}}
}

func fullNames(groups []*fleetpb.Group) (names []string) {
	for _, g := range groups {
		names = append(names, words.Full(g))
	}
	return names
}

// TestGroupsOfRegions: name and region together are unique, and name one group everywhere.
func TestGroupsOfRegions(t *testing.T) {
	m := fleet.New()
	plain := &fleetpb.Spec{Name: "counter/hits", App: "counter", Replicas: 1}
	r := apply(t, m, encode(creating(regional("counter/hits", "ord"), regional("counter/hits", "ams"), plain, regional("counter/hits", "ord"), regional("counter/hits@ord", "ord"))))
	require.Equal(t, fleetpb.Code_CODE_OK, r.GetCode(), r.GetDetail())
	ids := r.GetItems()
	require.Equal(t, ids[0].GetId(), ids[3].GetId(), "it is there already")
	require.Equal(t, "ord", ids[0].GetRegion())
	v := m.Freeze()
	ord := statemachines.NameIn("counter/hits", "ord")
	require.Equal(t, ids[0].GetId(), v.ByName(ord).GetId())
	require.Equal(t, ids[2].GetId(), v.ByName("counter/hits").GetId())
	require.Equal(t, ids[4].GetId(), v.ByName(statemachines.NameIn("counter/hits@ord", "ord")).GetId())
	require.Nil(t, v.ByName("counter/hits@ord"), "an at sign is a character like any")
	require.Equal(t, []string{"counter/hits", statemachines.NameIn("counter/hits", "ams"), ord}, fullNames(v.Called("counter/hits")))
	require.Empty(t, v.Called("counter/hit"))
	require.Equal(t, 4, v.GroupsOf("counter"))

	snap := snapshotOf(t, m)
	again := restored(t, snap)
	require.Equal(t, snap, snapshotOf(t, again))
	require.Equal(t, ids[1].GetId(), again.Freeze().ByName(statemachines.NameIn("counter/hits", "ams")).GetId())

	del := &fleetpb.Command{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: "counter/hits", Region: "ams"}}}
	require.Equal(t, fleetpb.Code_CODE_OK, apply(t, m, encode(del)).GetCode())
	require.Equal(t, []string{"counter/hits", ord}, fullNames(m.Freeze().Called("counter/hits")), "the others are as they were")
	events, _ := m.Freeze().Events(0, 100)
	last := events[len(events)-1]
	require.Equal(t, [2]string{"counter/hits", "ams"}, [2]string{last.GetGroup(), last.GetRegion()})
}

func TestSpecsOfRegions(t *testing.T) {
	for says, change := range map[string]func(*fleetpb.Spec){
		"leave the rule of regions out": func(s *fleetpb.Spec) { s.Regions[0].Region = "ams" },
		"so all its replicas are there": func(s *fleetpb.Spec) { s.Regions = nil },
		"not printable":                 func(s *fleetpb.Spec) { s.Region = "o\u00a0d" },
		"hash sign":                     func(s *fleetpb.Spec) { s.Region = "o#d" },
		"no part of a group's name":     func(s *fleetpb.Spec) { s.Name = "counter/a#b" },
		"is not printable":              func(s *fleetpb.Spec) { s.Name = statemachines.NameIn("counter/hits", "ord") },
	} {
		s := regional("counter/hits", "ord")
		change(s)
		r := apply(t, fleet.New(), encode(creating(s)))
		require.Equal(t, fleetpb.Code_CODE_INVALID, r.GetCode(), says)
		require.Contains(t, r.GetDetail(), says)
	}
}

// TestFirstUsesInRegions: a template that has a group in each region makes that of the region
// where the name is used, and no other.
func TestFirstUsesInRegions(t *testing.T) {
	m := fleet.New()
	c := configure("counter", "", &fleetpb.Template{Match: "clicks-*", Replicas: 3, AutoCreate: true, EachRegion: []string{"ams", "ord"}}, &fleetpb.Template{Match: "*", Replicas: 1, AutoCreate: true})
	require.Equal(t, fleetpb.Code_CODE_OK, apply(t, m, encode(c)).GetCode())
	use := func(name, region string) *fleetpb.ItemResult {
		r := apply(t, m, encode(&fleetpb.Command{Op: &fleetpb.Command_FirstUse{FirstUse: &fleetpb.FirstUse{Names: []string{name}, Region: region}}}))
		return r.GetItems()[0]
	}
	made := use("counter/clicks-7", "ord")
	require.Equal(t, fleetpb.Code_CODE_OK, made.GetCode(), made.GetDetail())
	require.Equal(t, made.GetId(), use("counter/clicks-7", "ord").GetId())
	require.True(t, proto.Equal(regional("counter/clicks-7", "ord"), m.Freeze().ByName(statemachines.NameIn("counter/clicks-7", "ord")).GetSpec()))
	none := use("counter/clicks-7", "")
	require.Equal(t, fleetpb.Code_CODE_NOT_FOUND, none.GetCode())
	require.Contains(t, none.GetDetail(), "in each of ams, ord: say which region")
	none = use("counter/clicks-7", "hkg")
	require.Equal(t, fleetpb.Code_CODE_NOT_FOUND, none.GetCode())
	require.Contains(t, none.GetDetail(), "makes none for that region")
	require.Equal(t, fleetpb.Code_CODE_NOT_FOUND, use("counter/other", "ord").GetCode(), "its template makes one group of a name")
	require.Equal(t, fleetpb.Code_CODE_OK, use("counter/other", "").GetCode())

	for says, bad := range map[string]*fleetpb.Template{
		"give one of the two":        {Match: "x", Replicas: 3, EachRegion: []string{"a"}, Regions: []*fleetpb.RegionCount{{Region: "a", Count: 3}}},
		"sorted and named once each": {Match: "x", Replicas: 3, EachRegion: []string{"b", "a"}},
		"at most 7 make sense":       {Match: "x", Replicas: 3, EachRegion: []string{"a", "b", "c", "d", "e", "f", "g", "h"}},
		"hash sign":                  {Match: "x", Replicas: 3, EachRegion: []string{"a#b"}},
	} {
		r := apply(t, m, encode(configure("kv", "", bad)))
		require.Equal(t, fleetpb.Code_CODE_INVALID, r.GetCode())
		require.Contains(t, r.GetDetail(), says)
	}
}

// TestRegionsThatOlderProgramsDoNotKnow: what says something of regions is known to the newest
// version only; nobody proposes it before.
func TestRegionsThatOlderProgramsDoNotKnow(t *testing.T) {
	load := &fleetpb.Command{Op: &fleetpb.Command_LoadGroup{LoadGroup: &fleetpb.LoadGroup{Spec: regional("counter/a", "ord")}}}
	for _, c := range []*fleetpb.Command{
		creating(regional("counter/a", "ord")), load, configure("counter", "", &fleetpb.Template{Match: "*", Replicas: 3, EachRegion: []string{"ord"}}),
		{Op: &fleetpb.Command_ShapeGroups{ShapeGroups: &fleetpb.ShapeGroups{Specs: []*fleetpb.Spec{regional("counter/a", "ord")}}}},
		{Op: &fleetpb.Command_DeleteGroup{DeleteGroup: &fleetpb.DeleteGroup{Name: "counter/a", Region: "ord"}}},
		{Op: &fleetpb.Command_PreferLeader{PreferLeader: &fleetpb.PreferLeader{Name: "counter/a", Region: "ord"}}},
		{Op: &fleetpb.Command_FirstUse{FirstUse: &fleetpb.FirstUse{Names: []string{"counter/a"}, Region: "ord"}}},
	} {
		before := proto.Clone(c)
		require.False(t, versions.Knows(3, c), "%v", c)
		require.True(t, versions.Knows(fleet.AppVersion, c), "%v", c)
		require.True(t, proto.Equal(before, c), "it is only looked at")
	}
	for version := range uint32(fleet.AppVersion + 1) {
		require.True(t, versions.Knows(version, creating(&fleetpb.Spec{Name: "kv/a", App: "kv", Replicas: 1})))
		require.True(t, versions.Knows(version, &fleetpb.Command{Op: &fleetpb.Command_LoadGroup{LoadGroup: &fleetpb.LoadGroup{}}}))
	}
	older := fleet.New()
	older.Apply([]statemachines.Command{{Version: 3, Data: encode(creating(regional("counter/a", "ord")))}}, make([]statemachines.Result, 1))
	require.NotNil(t, older.Freeze().ByName("counter/a"), "as a program of that version does")
}
