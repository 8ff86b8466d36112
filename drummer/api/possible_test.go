package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/fault"
)

// TestImpossibleRulesAreRefused: a rule that no choice of the hosts keeps is refused when it
// is submitted, with the reason, whoever submits it; so is one that contradicts itself. The
// one is a conflict with the hosts that there are, the other is invalid whatever there is.
func TestImpossibleRulesAreRefused(t *testing.T) {
	w := newTown(t, 1)
	for _, id := range []string{"x", "y", "z"} {
		w.record.do(t, host(id)) // all in one region, without labels
	}
	openGroup(t, w, "kv/there", "x")
	for reason, rule := range map[string]*fleetpb.Spec{
		"2 replicas: want 1, 3, 5 or 7":      {Replicas: 2},
		"0 of the hosts have the labels":     {Replicas: 1, Require: []string{"disk=ssd"}},
		"there is a place for 2 of 3":        {Replicas: 3, Regions: []*fleetpb.RegionCount{{Region: "east", Count: 2}, {Region: "west", Count: 1}}},
		"there is a place for 1 of 3":        {Replicas: 3, Isolation: fleetpb.Isolation_ISOLATION_REGION},
		"led from region mars, where there":  {Replicas: 1, Leaders: []string{"east", "mars"}},
		"there is a place for 3 of 5":        {Replicas: 5, Leaders: []string{"east"}},
		"required and forbidden at once":     {Replicas: 1, Require: []string{"a=b"}, Forbid: []string{"a=b"}},
		"and the rule has no replica there":  {Replicas: 1, Leaders: []string{"west"}, Regions: []*fleetpb.RegionCount{{Region: "east", Count: 1}}},
		"down_after of 5 ms: want 1s to a w": {Replicas: 1, DownAfterMs: 5},
	} {
		rule.App = "kv"
		code := fleetpb.Code_CODE_INVALID
		if strings.HasPrefix(reason, "0 of the hosts") || strings.HasPrefix(reason, "there is a place for") || strings.HasPrefix(reason, "led from") {
			code = fleetpb.Code_CODE_CONFLICT
		}
		for _, dry := range []bool{true, false} {
			rule.Name = "kv/new"
			made, err := w.drummer(0).CreateGroups(t.Context(), &drummerpb.CreateGroupsRequest{Specs: []*fleetpb.Spec{rule}, DryRun: dry})
			require.NoError(t, err)
			require.Equal(t, code, made.GetItems()[0].GetCode(), reason)
			require.Contains(t, made.GetItems()[0].GetDetail(), reason)

			rule.Name = "kv/there"
			shaped, err := w.drummer(0).ShapeGroups(t.Context(), &drummerpb.ShapeGroupsRequest{Specs: []*fleetpb.Spec{rule}, DryRun: dry})
			require.NoError(t, err)
			require.Equal(t, code, shaped.GetItems()[0].GetCode(), reason)
			require.Contains(t, shaped.GetItems()[0].GetDetail(), reason)
		}
	}
	require.Nil(t, w.record.machine.Freeze().ByName("kv/new"))
	require.Empty(t, w.record.machine.Freeze().ByName("kv/there").GetSpec().GetRequire())
}

// TestTemplatesThatNoFleetKeepsAreRefused: what is in force already stays, also when hosts
// that its rules need are gone since.
func TestTemplatesThatNoFleetKeepsAreRefused(t *testing.T) {
	w := newTown(t, 1)
	ssd := tmpl("fast-*", "", true)
	ssd.Replicas, ssd.Require = 1, []string{"disk=ssd"}
	apply := func(dry bool, list ...*fleetpb.Template) (*drummerpb.ConfigurationChange, error) {
		return w.drummer(0).ApplyConfiguration(t.Context(), &drummerpb.ApplyConfigurationRequest{Configuration: configuration("", list...), DryRun: dry})
	}
	_, err := apply(false, ssd)
	require.NoError(t, err, "there are no hosts yet")
	w.record.do(t, host("x"))
	spread := tmpl("*", "", true)
	spread.Replicas, spread.Isolation = 3, fleetpb.Isolation_ISOLATION_ZONE
	for _, dry := range []bool{true, false} {
		_, err = apply(dry, ssd, spread)
		requireReason(t, fault.Conflict, err)
		require.ErrorContains(t, err, `template "*": its rules cannot be kept`)
	}
	changed, err := apply(false, ssd, tmpl("*", "new", true))
	require.NoError(t, err)
	require.EqualValues(t, 2, changed.GetRevision())
}
