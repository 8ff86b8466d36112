package statemachines_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/statemachines"
)

func app(name string) statemachines.App {
	return statemachines.App{Name: name, Version: 1, New: func(statemachines.Group) statemachines.Machine { return nil }}
}

func TestRegistry(t *testing.T) {
	r, err := statemachines.NewRegistry(app("kv"), app("board"))
	require.NoError(t, err)
	require.Equal(t, []string{"board", "kv"}, r.Names())
	a, err := r.App("kv")
	require.NoError(t, err)
	require.Equal(t, "kv", a.Name)
	_, err = r.App("nope")
	require.ErrorIs(t, err, statemachines.ErrUnknownApp)
	require.ErrorContains(t, err, "board, kv")
}

func TestRegistryRefuses(t *testing.T) {
	noVersion, noNew := app("a"), app("b")
	noVersion.Version, noNew.New = 0, nil
	for name, apps := range map[string][]statemachines.App{
		"registered twice": {app("kv"), app("kv")},
		"needs New":        {noNew},
		"Version of at":    {noVersion},
		"lower-case":       {app("KV")},
	} {
		_, err := statemachines.NewRegistry(apps...)
		require.ErrorContains(t, err, name)
	}
}

func TestNames(t *testing.T) {
	long := "kv/" + strings.Repeat("x", statemachines.MaxGroupName-3)
	for _, ok := range []string{"kv/a", "kv/a/b", "my-app2/Ünïcode name", long} {
		name, err := statemachines.AppOf(ok)
		require.NoError(t, err, ok)
		require.Equal(t, ok[:strings.Index(ok, "/")], name)
	}
	for _, bad := range []string{
		"", "kv", "kv/", "/a", "Kv/a", "2kv/a", "-kv/a", "k_v/a", "kv/a#b", "kv/\x00", "kv/\xff", "kv/a\nb", long + "x",
		strings.Repeat("k", statemachines.MaxAppName+1) + "/a",
	} {
		require.ErrorIs(t, statemachines.CheckGroupName(bad), statemachines.ErrInvalidName, "%q", bad)
		_, err := statemachines.AppOf(bad)
		require.ErrorIs(t, err, statemachines.ErrInvalidName, "%q", bad)
	}
}

func FuzzGroupName(f *testing.F) {
	f.Add("kv/demo")
	f.Fuzz(func(t *testing.T, name string) {
		app, err := statemachines.AppOf(name)
		if err != nil {
			require.ErrorIs(t, err, statemachines.ErrInvalidName)
			return
		}
		require.NoError(t, statemachines.CheckAppName(app))
		require.True(t, strings.HasPrefix(name, app+"/"))
		require.NotContains(t, name, "#")
	})
}
