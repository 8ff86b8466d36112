package simulate_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/simulate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(t *testing.T, name string) *simulate.Result {
	data, err := os.ReadFile(filepath.Join("../../scenarios", name))
	require.NoError(t, err)
	s, err := simulate.Parse(data)
	require.NoError(t, err)
	r, err := simulate.Run(t.Context(), s)
	require.NoError(t, err)
	return r
}

// at is the row of a time.
func at(t *testing.T, r *simulate.Result, seconds float64) simulate.Row {
	for _, row := range r.Rows {
		if row.Time >= seconds {
			return row
		}
	}
	t.Fatalf("there is no row at %g s", seconds)
	return simulate.Row{}
}

// Whatever happens to leaders, by the clients' clocks no more is leased than there
// is, in trees of three levels too; and what there is is used.
func TestNoScenarioLeasesMoreThanThereIs(t *testing.T) {
	files, err := os.ReadDir("../../scenarios")
	require.NoError(t, err)
	require.Len(t, files, 7)
	for _, f := range files {
		t.Run(f.Name(), func(t *testing.T) {
			r := run(t, f.Name())
			require.LessOrEqual(t, r.Most, 1+1e-9)
			require.Greater(t, r.Most, 0.99)
			require.Greater(t, r.Mean, 0.9)
			require.Positive(t, r.Requests)
			require.NoError(t, wellFormed(r.Picture()))
		})
	}
}

func wellFormed(svg []byte) error {
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestALostLeaderIsNotNoticedWithinALease(t *testing.T) {
	r := run(t, "2-leader-lost.yaml")
	for _, row := range r.Rows {
		require.Zero(t, row.Safe, "at %g s", row.Time)
	}
	require.Equal(t, 1, at(t, r, 130).Leaderless)
	require.Zero(t, at(t, r, 145).Leaderless)
}

func TestWithoutALeaseClientsUseTheSafeCapacity(t *testing.T) {
	r := run(t, "3-leases-end.yaml")
	row := at(t, r, 185)
	require.Zero(t, row.Leased)
	require.InDelta(t, 50, row.Safe, 1e-9, "five times 10")
	require.InDelta(t, 500, at(t, r, 195).Leased, 1e-9, "and have their shares as soon as there is a leader")
}

func TestTheSameScenarioGivesTheSameNumbers(t *testing.T) {
	first, second := run(t, "6-spike.yaml"), run(t, "6-spike.yaml")
	require.Equal(t, first, second)
}

func TestBadScenarios(t *testing.T) {
	const good = `
duration: 10s
servers: [{name: r, capacity: 1, algorithm: STATIC, lease_length: 1s, refresh_interval: 1s}]
clients: [{server: r, count: 1, wants: 1}]
`
	_, err := simulate.Parse([]byte(good))
	require.NoError(t, err)
	for change, want := range map[string]string{
		"duration: 10s|duration: 0s":                                               "duration",
		"duration: 10s|duration: soon":                                             "1m30s",
		"duration: 10s|duration: 10s\nreport: 0s":                                  "report",
		"duration: 10s|duration: 10h\nreport: 1ms":                                 "rows",
		"servers: [|servers: []\nx: [":                                             "unknown field",
		"count: 1|count: 0":                                                        "clients",
		"count: 1|count: 10001":                                                    "clients",
		"count: 1|count: 9223372036854775807":                                      "clients",
		"clients: [|clients: [{server: r, count: 9223372036854775807, wants: 1}, ": "clients",
		"server: r|server: x":                                                      "no server",
		"wants: 1|wants: -1":                                                       "wants",
		"wants: 1|wants: 1, vary: 0.5":                                             "every",
		"wants: 1|wants: 1, vary: 0.5, every: 1ns":                                 "every",
		"wants: 1|wants: 1e308":                                                    "wants",
		"wants: 1|wants: .nan":                                                     "NaN",
		"wants: 1|wants: .inf":                                                     "Inf",
		"name: r, |name: r, parent: r, ":                                           "root",
		"capacity: 1, |":                                                           "no capacity",
		"lease_length: 1s|lease_length: 0s":                                        "lease length",
		"duration: 10s|duration: 1s\nmishaps: {every: 0s}":                         "mishaps",
		"duration: 10s|duration: 1s\nmishaps: {every: 1ns}":                        "mishaps",
		"duration: 10s|duration: 1s\nevents: [{at: 1s}]":                           "for how long",
		"duration: 10s|duration: 1s\nevents: [{kind: x, for: 1s}]":                 "no kind",
		"duration: 10s|duration: 1s\nevents: [{kind: lost, for: 1s}]":              "no server",
		"duration: 10s|duration: 1s\nevents: [{kind: spike, for: 1s}]":             "spike",
	} {
		from, to, _ := strings.Cut(change, "|")
		require.Contains(t, good, from)
		_, err := simulate.Parse([]byte(strings.Replace(good, from, to, 1)))
		require.ErrorContains(t, err, want, change)
	}
}

func TestAScenarioEndsWithItsContext(t *testing.T) {
	data, err := os.ReadFile("../../scenarios/7-mishaps.yaml")
	require.NoError(t, err)
	s, err := simulate.Parse(data)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = simulate.Run(ctx, s)
	require.ErrorIs(t, err, context.Canceled)
}

func TestScalingOfTheOriginalsSimulation(t *testing.T) {
	s := simulate.NewScaling(simulate.Rules{Capacity: 120, Lease: 60, Refresh: 8, Decay: 0.5})
	require.InDelta(t, 120, s.Ask(0, "greedy", 1000).Capacity, 0)
	require.Zero(t, s.Ask(0, "modest", 10).Capacity)
	require.InDelta(t, 120*1000/1010.0, s.Ask(8, "greedy", 1000).Capacity, 1e-9)
	require.InDelta(t, 120*10/1010.0, s.Ask(8, "modest", 10).Capacity, 1e-9)
	require.InDelta(t, 10, s.Ask(69, "late", 10).Capacity, 0, "the others' leases have ended")
}
