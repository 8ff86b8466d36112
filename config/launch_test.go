package config

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/testing/protocmp"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

func TestExampleLaunchFile(t *testing.T) {
	l, err := ReadLaunch(filepath.Join("examples", "cluster.yaml"))
	require.NoError(t, err)
	require.Equal(t, Policy{DownAfter: 10 * time.Second}, l.Policy)
	require.Empty(t, cmp.Diff(&fleetpb.Policy{DownAfterMs: 10_000}, l.FleetPolicy(), protocmp.Transform()))
	specs := l.Specs()
	require.Len(t, specs, 101)
	for i, want := range map[int]*fleetpb.Spec{
		0:  {Name: "kv/demo-001", App: "kv", Replicas: 3},
		99: {Name: "kv/demo-100", App: "kv", Replicas: 3},
		100: {Name: "kv/pinned", App: "kv", Replicas: 3, Regions: []*fleetpb.RegionCount{
			{Region: "east", Count: 2}, {Region: "west", Count: 1},
		}},
	} {
		require.Empty(t, cmp.Diff(want, specs[i], protocmp.Transform()))
	}
}

func TestLaunchFillsWhatIsLeftOut(t *testing.T) {
	l, err := ReadLaunch(write(t, "groups: [{name: kv/a}, {name: kv/b, regions: {x: 3, y: 2}}]\n"))
	require.NoError(t, err)
	require.Nil(t, l.FleetPolicy())
	require.Equal(t, "kv", l.Specs()[0].GetApp())
	require.Equal(t, uint32(3), l.Specs()[0].GetReplicas())
	require.Equal(t, uint32(5), l.Specs()[1].GetReplicas())
}

func TestLaunchMistakesNameTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"grops: []":                                             `c.yaml:1:1: unknown key "grops"; did you mean "groups"?`,
		"groups: [{name: kv/a, x: 1}]":                          `c.yaml:1:23: groups[0]: unknown key "x"`,
		"groups:\n- {app: kv}":                                  `c.yaml:2:3: groups[0]: has no name`,
		"groups:\n- {name: a}":                                  `name "a" is not app/name`,
		"groups:\n- {name: kv/}":                                `name "kv/" is not app/name`,
		"groups:\n- {name: kv/a#b}":                             `hash sign`,
		"groups:\n- {name: kv/a, app: seq}":                     `begins with app "kv", but app is "seq"`,
		"groups:\n- {name: kv/a, replicas: 2}":                  `replicas 2; use 1, 3, 5 or 7`,
		"groups:\n- {name: kv/a, replicas: 9}":                  `replicas 9; use`,
		"groups:\n- {name: kv/a, regions: {x: 1}, replicas: 3}": `regions sum up to 1, but replicas is 3`,
		"groups:\n- {name: kv/a, regions: {x: 0}}":              `"x" wants 0 replicas`,
		"groups:\n- {name: kv/a-%03d}":                          `has a number's place but no count`,
		"groups:\n- {name: kv/a%%}":                             `has a number's place but no count`,
		"groups:\n- {name: kv/a, count: 3}":                     `needs exactly one number's place`,
		"groups:\n- {name: kv/a-%s, count: 3}":                  `needs exactly one number's place`,
		"groups:\n- {name: kv/%d-%d, count: 3}":                 `needs exactly one number's place`,
		"groups:\n- {name: kv/%d%, count: 3}":                   `needs exactly one number's place`,
		"groups:\n- {name: kv/%09d, count: 4000000000}":         `takes the file over 100000 groups`,
		"groups:\n- {name: kv/a}\n- {name: kv/a}":               `c.yaml:3:3: groups[1]: group "kv/a" is defined at`,
		"groups:\n- {name: kv/1}\n- {name: kv/%d, count: 2}":    `group "kv/1" is defined at`,
		"policy: {down_after: 10}":                              `policy.down_after: is 10; want a duration`,
		"policy: {down_after: -1s}":                             `c.yaml:1:22: policy.down_after: is not at least 1ms`,
		"policy: {down_after: 1s, suspect_after: 2s}":           `suspect_after: 2s is longer than down_after (1s)`,
		"policy: {operations_total: 5000000000}":                `policy.operations_total: want a whole number`,
	} {
		_, err := ReadLaunch(write(t, text+"\n"))
		require.ErrorContains(t, err, want, text)
	}
}

func TestAllBadEntriesAreReported(t *testing.T) {
	_, err := ReadLaunch(write(t, "groups:\n- {name: a}\n- {name: kv/ok}\n- {name: kv/b, replicas: 4}\n"))
	require.ErrorContains(t, err, "c.yaml:2:3: groups[0]")
	require.ErrorContains(t, err, "c.yaml:4:3: groups[2]")
	require.NotContains(t, err.Error(), "groups[1]")
}
