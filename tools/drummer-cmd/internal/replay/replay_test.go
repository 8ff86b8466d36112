package replay_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/replay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func read(t *testing.T, path string) *replay.File {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := replay.Read(bytes.NewReader(data))
	require.NoError(t, err)
	return f
}

func run(t *testing.T, f *replay.File) (replay.Tally, []replay.Grant) {
	var out bytes.Buffer
	tally, err := replay.Run(f, &out)
	require.NoError(t, err)
	var grants []replay.Grant
	d := json.NewDecoder(&out)
	for d.More() {
		var g replay.Grant
		require.NoError(t, d.Decode(&g))
		grants = append(grants, g)
	}
	return tally, grants
}

func TestAllPublicVectorsPass(t *testing.T) {
	f := read(t, "testdata/doorman-vectors.json")
	tally, grants := run(t, f)
	steps := 0
	for _, v := range f.Algorithms {
		for _, s := range v.Steps {
			if s.Op == "get" {
				steps++
			}
		}
	}
	for _, v := range f.Simulations {
		steps += len(v.Steps)
	}
	require.Len(t, grants, steps, "every request has a line")
	for _, g := range grants {
		require.NotEqual(t, "differs", g.Verdict, "%+v", g)
		if g.Grant != nil {
			require.GreaterOrEqual(t, *g.Grant, 0.0, "%+v", g)
			require.LessOrEqual(t, *g.Grant, g.Wants, "%+v", g)
		}
	}
	require.Equal(t, replay.Tally{Passed: len(f.Algorithms) + len(f.Simulations)}, tally)
}
