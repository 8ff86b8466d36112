package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDryRunShowsTheSeedsFaults(t *testing.T) {
	show := func() result {
		var out, errOut bytes.Buffer
		require.Zero(t, run([]string{"chaos", "--seed", "7", "--rounds", "5", "--dry-run"}, &out, &errOut), errOut.String())
		var r result
		require.NoError(t, json.Unmarshal(out.Bytes(), &r))
		return r
	}
	r := show()
	require.Len(t, r.Blows, 5)
	require.EqualValues(t, 7, r.Seed)
	require.Equal(t, r, show())
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{{"extra"}, {"--seed", "x"}, {"--no-such-flag"}} {
		var out, errOut bytes.Buffer
		require.Equal(t, 2, run(append([]string{"chaos"}, args...), &out, &errOut), "%v", args)
	}
}

func TestCrashesAreErrors(t *testing.T) {
	crashed := make(chan string, 2)
	require.NoError(t, drain(crashed))
	crashed <- "host-1 ended by itself"
	require.ErrorContains(t, drain(crashed), "host-1 ended by itself")
}
