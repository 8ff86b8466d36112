package statemachines_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/statemachines"
)

// TestFullNames: no two pairs have one full name, and each is taken apart again.
func TestFullNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a(@ )/\x{a0}]{0,6}`)
		name, region := "counter/"+text.Draw(t, "name"), text.Draw(t, "region")
		if statemachines.CheckGroupName(name) != nil || statemachines.CheckRegion(region) != nil {
			return
		}
		full := statemachines.NameIn(name, region)
		gotName, gotRegion := statemachines.CutRegion(full)
		require.Equal(t, [2]string{name, region}, [2]string{gotName, gotRegion})
		require.Equal(t, region == "", statemachines.CheckGroupName(full) == nil, "it is no name")
		app, err := statemachines.AppOf(full)
		require.NoError(t, err)
		require.Equal(t, "counter", app)
	})
}

func TestFullNamesOfMessages(t *testing.T) {
	require.Equal(t, "kv/a", statemachines.NameOf(&hostpb.GroupRef{Name: "kv/a"}))
	require.Equal(t, "kv/a\u00a0(ord)", statemachines.NameOf(&hostpb.GroupRef{Name: "kv/a", Region: "ord"}))
	require.Empty(t, statemachines.NameOf((*hostpb.GroupRef)(nil)))
	require.ErrorIs(t, statemachines.CheckRegion("a\u00a0b"), statemachines.ErrInvalidName)
	require.ErrorIs(t, statemachines.CheckRegion(strings.Repeat("a", 257)), statemachines.ErrInvalidName)
}
