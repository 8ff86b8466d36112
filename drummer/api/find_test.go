package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
)

// TestWhichRegion: the region may be left out where it can mean only one group; of several
// the answer says which there are.
func TestWhichRegion(t *testing.T) {
	w := newTown(t, 1)
	d := w.drummer(0)
	made, err := d.CreateGroups(t.Context(), create(
		&fleetpb.Spec{Name: "counter/one", Region: "ord", Replicas: 1},
		&fleetpb.Spec{Name: "counter/hits", Region: "ord", Replicas: 1},
		&fleetpb.Spec{Name: "counter/hits", Region: "ams", Replicas: 1},
		&fleetpb.Spec{Name: "counter/hits2", Replicas: 1},
	))
	require.NoError(t, err)
	for _, i := range made.GetItems() {
		require.Equal(t, fleetpb.Code_CODE_OK, i.GetCode(), i.GetDetail())
	}
	for _, row := range []struct {
		name, region string
		id           uint64
		reason       fault.Reason
		says         string
	}{
		{"counter/one", "", 1000, 0, ""},
		{"counter/one", "ord", 1000, 0, ""},
		{"counter/hits", "ams", 1002, 0, ""},
		{"counter/hits", "", 0, fault.Invalid, "is in ams, ord: say which region is meant, or use a name that one group has"},
		{"counter/hits", "hkg", 0, fault.GroupNotFound, "that name has groups in ams, ord"},
		{"counter/none", "hkg", 0, fault.GroupNotFound, "there is no group"},
	} {
		e, err := d.Explain(t.Context(), &drummerpb.ExplainRequest{Name: row.name, Region: row.region})
		_, locateErr := w.directory(0).Locate(t.Context(), &hostpb.LocateRequest{Group: &hostpb.GroupRef{Name: row.name, Region: row.region}})
		if row.says == "" {
			require.NoError(t, err)
			require.Equal(t, row.id, e.GetGroup().GetId())
			requireReason(t, fault.NotOpen, locateErr)
			continue
		}
		requireReason(t, row.reason, err)
		requireReason(t, row.reason, locateErr)
		require.ErrorContains(t, err, row.says)
	}
	_, err = w.directory(0).Locate(t.Context(), &hostpb.LocateRequest{Group: &hostpb.GroupRef{Name: "counter/hits"}, FirstUse: true})
	requireReason(t, fault.Invalid, err)

	_, err = d.DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{Name: "counter/hits"})
	requireReason(t, fault.Invalid, err)
	gone, err := d.DeleteGroup(t.Context(), &drummerpb.DeleteGroupRequest{Name: "counter/hits", Region: "ord"})
	require.NoError(t, err)
	require.EqualValues(t, 1001, gone.GetId())
}

// TestListsOfOneName: the groups of a name are listed without those that only begin so, and
// pages go on behind a region.
func TestListsOfOneName(t *testing.T) {
	w := newTown(t, 1)
	_, err := w.drummer(0).CreateGroups(t.Context(), create(
		&fleetpb.Spec{Name: "counter/hits", Region: "ord", Replicas: 1}, &fleetpb.Spec{Name: "counter/hits", Region: "ams", Replicas: 1},
		&fleetpb.Spec{Name: "counter/hits", Replicas: 1}, &fleetpb.Spec{Name: "counter/hits2", Replicas: 1},
	))
	require.NoError(t, err)
	pages := func(r *drummerpb.ListGroupsRequest) (all []string) {
		r.Limit = 1
		for {
			page, err := w.drummer(0).ListGroups(t.Context(), r)
			require.NoError(t, err)
			for _, g := range page.GetGroups() {
				all = append(all, g.GetName()+" "+g.GetRegion())
				r.After, r.AfterRegion, r.AfterId = g.GetName(), g.GetRegion(), g.GetId()
			}
			if !page.GetMore() {
				return all
			}
		}
	}
	require.Equal(t, []string{"counter/hits ", "counter/hits ams", "counter/hits ord"}, pages(&drummerpb.ListGroupsRequest{Name: "counter/hits"}))
	require.Equal(t, []string{"counter/hits ", "counter/hits ams", "counter/hits ord", "counter/hits2 "}, pages(&drummerpb.ListGroupsRequest{Prefix: "counter/h"}))
	page, err := w.drummer(0).ListGroups(t.Context(), &drummerpb.ListGroupsRequest{After: "counter/hits"})
	require.NoError(t, err)
	require.Len(t, page.GetGroups(), 1, "without a number all of that name were seen")
}
