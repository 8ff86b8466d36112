package replay_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
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
	tally, err := replay.Run(t.Context(), f, &out)
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
			require.LessOrEqual(t, *g.Grant, float64(g.Wants), "%+v", g)
		}
	}
	require.Equal(t, replay.Tally{Passed: len(f.Algorithms) + len(f.Simulations)}, tally)
}

// vector is a file with one vector of that class and those steps.
func vector(t *testing.T, class, steps string) *replay.File {
	f, err := replay.Read(strings.NewReader(`{"algorithm_vectors":[{"id":"NaN","class":"` + class + `","algorithm":"FAIR_SHARE",
		"capacity":100,"lease_length":60,"refresh_interval":5,"learning_mode_duration":0,"steps":[` + steps + `]}]}`))
	require.NoError(t, err)
	return f
}

// The original takes wants that are no numbers, and answers with none.
func TestNumbersThatAreNone(t *testing.T) {
	const steps = `
		{"at_time":0,"op":"get","request":{"client":"a\\\"NaN","has":0,"wants":NaN,"subclients":1},"expected":{"grant":NaN},"clamped_variant_grant":0},
		{"at_time":0,"op":"get","request":{"client":"b","has":0,"wants":Infinity},"expected":{"grant":Infinity}},
		{"at_time":0,"op":"get","request":{"client":"c","has":0,"wants":-Infinity},"expected":{"grant":-Infinity}},
		{"at_time":0,"op":"get","request":{"client":"s","has":0,"wants":5,"subclients":0},"expected":{"grant":NaN}},
		{"at_time":1,"op":"get","request":{"client":"d","has":0,"wants":300,"subclients":2},"expected":{"grant":NaN}},
		{"at_time":2,"op":"get","request":{"client":"d","has":NaN,"wants":300,"subclients":2},"expected":{"grant":NaN}}`
	tally, grants := run(t, vector(t, "quirk", steps))
	require.Equal(t, replay.Tally{Passed: 1}, tally, "%+v", grants)
	require.Equal(t, `a\"NaN`, grants[0].Client)
	for _, g := range grants[:4] {
		require.Equal(t, "refused", g.Verdict)
		require.Nil(t, g.Grant)
	}
	for _, g := range grants[4:] {
		require.Equal(t, "max-min", g.Verdict)
		require.InDelta(t, 100, *g.Grant, 0)
	}
}

func TestARefusalIsRightWhereTheOriginalRefuses(t *testing.T) {
	const bands = `{"at_time":0,"op":"get","request":{"client":"s","has":0,"wants":5,"bands":[{"priority":1,"num_clients":0,"wants":5}]},"expected":{}}`
	tally, _ := run(t, vector(t, "core", bands))
	require.Equal(t, replay.Tally{Passed: 1}, tally)
	const negative = `{"at_time":0,"op":"get","request":{"client":"s","has":0,"wants":-5},"expected":{"grant":-5}}`
	tally, _ = run(t, vector(t, "core", negative))
	require.Equal(t, replay.Tally{Differ: 1}, tally, "core vectors have to match")
}

func TestAGrantThatIsNeitherOfTheAnswersDiffers(t *testing.T) {
	const steps = `
		{"at_time":0,"op":"get","request":{"client":"a","has":0,"wants":100},"expected":{"grant":100}},
		{"at_time":0,"op":"get","request":{"client":"b","has":0,"wants":60},"expected":{"grant":0}},
		{"at_time":0,"op":"get","request":{"client":"c","has":0,"wants":10},"expected":{"grant":0}},
		{"at_time":5,"op":"config","algorithm":"PROPORTIONAL_SHARE"},
		{"at_time":5,"op":"get","request":{"client":"a","has":100,"wants":100},"expected":{"grant":7},"clamped_variant_grant":8}`
	tally, grants := run(t, vector(t, "quirk", steps))
	require.Equal(t, replay.Tally{Passed: 1}, tally)
	require.InDelta(t, 50, *grants[3].Grant, 1e-12, "neither 7 nor 8 nor 45, the max-min share, but what the formula gives here")
	require.Equal(t, "clamped", grants[3].Verdict)

	static := strings.Replace(steps, "PROPORTIONAL_SHARE", "STATIC", 1)
	tally, _ = run(t, vector(t, "quirk", static))
	require.Equal(t, replay.Tally{Differ: 1}, tally, "100")
	tally, _ = run(t, vector(t, "quirk", strings.Replace(static, "8}", "100}", 1)))
	require.Equal(t, replay.Tally{Passed: 1}, tally)
}

func TestAConfigChangesTheLengthsToo(t *testing.T) {
	const steps = `
		{"at_time":0,"op":"get","request":{"client":"a","has":0,"wants":10},"expected":{"grant":10}},
		{"at_time":1,"op":"config","lease_length":30,"refresh_interval":3,"configured_safe_capacity":4},
		{"at_time":2,"op":"get","request":{"client":"a","has":10,"wants":10},"expected":{"grant":10}}`
	_, grants := run(t, vector(t, "core", steps))
	require.InDelta(t, 32, grants[1].Expiry, 0)
	require.InDelta(t, 3, grants[1].Refresh, 0)
	require.InDelta(t, 4, grants[1].Safe, 0)
}

func TestTheMaxMinAnswerIsFoundWithoutTheFile(t *testing.T) {
	const steps = `
		{"at_time":0,"op":"get","request":{"client":"a","has":0,"wants":80},"expected":{"grant":80}},
		{"at_time":0,"op":"get","request":{"client":"b","has":30,"wants":80},"expected":{"grant":33},"clamped_variant_grant":20,"max_min_ideal_share":50}`
	tally, _ := run(t, vector(t, "quirk", steps))
	require.Equal(t, replay.Tally{Passed: 1}, tally)
	tally, _ = run(t, vector(t, "quirk", strings.Replace(steps, `"op":"get","request":{"client":"b"`, `"op":"release","client":"a"}, {"at_time":0,"op":"get","request":{"client":"b"`, 1)))
	require.Equal(t, replay.Tally{Passed: 1}, tally, "80: all of it is free now, which is the max-min answer")
	tally, _ = run(t, vector(t, "core", steps))
	require.Equal(t, replay.Tally{Differ: 1}, tally)
}
