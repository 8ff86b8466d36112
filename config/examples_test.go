package config

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// The example files set every key, and what they set beside the identity is what
// the defaults are.
func TestExampleFiles(t *testing.T) {
	nodehost := filepath.Join("examples", "nodehost.yaml")
	n, err := LoadNodeHost([]string{"--config", nodehost}, nil)
	require.NoError(t, err)
	everyKeyIsIn(t, nodehost, &NodeHost{})
	want := DefaultNodeHost()
	want.Name, want.Deployment, want.DataDir, want.Drummers = n.Name, n.Deployment, n.DataDir, n.Drummers
	want.Region, want.Labels = n.Region, n.Labels
	require.Equal(t, want, n)

	drummer := filepath.Join("examples", "drummer.yaml")
	d, err := LoadDrummer([]string{"--config", drummer}, nil)
	require.NoError(t, err)
	everyKeyIsIn(t, drummer, &Drummer{})
	wantDrummer := DefaultDrummer()
	wantDrummer.Name, wantDrummer.Deployment, wantDrummer.DataDir, wantDrummer.Drummers = d.Name, d.Deployment, d.DataDir, d.Drummers
	wantDrummer.Region, wantDrummer.Index = d.Region, d.Index
	require.Equal(t, wantDrummer, d)
}

func everyKeyIsIn(t *testing.T, file string, v any) {
	t.Helper()
	s, err := readStrict(file, v)
	require.NoError(t, err)
	for _, k := range keysOf(reflect.ValueOf(v).Elem(), "") {
		require.Contains(t, s.at, k.path, "%s does not show it", file)
	}
}

// The page about the configuration names every key, flag and variable.
func TestEveryKeyIsDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "configuration.md"))
	require.NoError(t, err)
	for prefix, v := range map[string]any{"NODEHOST": &NodeHost{}, "DRUMMER": &Drummer{}} {
		for _, k := range keysOf(reflect.ValueOf(v).Elem(), "") {
			require.Contains(t, string(page), "`"+k.path+"`")
			require.Contains(t, string(page), "`"+prefix+"_", "the rule for variables")
		}
	}
	var l Launch
	for _, of := range []reflect.Type{reflect.TypeOf(l.Policy), reflect.TypeFor[GroupSpec]()} {
		for _, f := range reflect.VisibleFields(of) {
			require.Contains(t, string(page), "`"+f.Tag.Get("yaml")+"`")
		}
	}
}
