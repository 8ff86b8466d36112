package main

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/statemachines"
)

func TestMeasureCountsWhatSucceedsAndWhatFails(t *testing.T) {
	odd := errors.New("odd caller")
	s := measure(t.Context(), request{Op: "propose", Callers: 4, Time: 50 * time.Millisecond}, ownUsage, func(_ context.Context, caller int) error {
		if caller%2 == 1 {
			<-time.After(time.Millisecond)
			return odd
		}
		<-time.After(time.Millisecond)
		return nil
	})
	require.Positive(t, s.PerSec)
	require.GreaterOrEqual(t, s.P50, 1.0)
	require.GreaterOrEqual(t, s.P99, s.P50)
	require.Positive(t, s.Failed)
	require.Equal(t, odd.Error(), s.Error)
}

func TestMedian(t *testing.T) {
	m := median([]sample{{PerSec: 1, P99: 9, Failed: 1}, {PerSec: 100, P99: 5}, {PerSec: 3, P99: 7, Failed: 2, Error: "x"}})
	require.InDelta(t, 3, m.PerSec, 0)
	require.InDelta(t, 7, m.P99, 0)
	require.Equal(t, 3, m.Failed)
	require.Equal(t, "x", m.Error)
}

func TestHistogramKnowsEveryDurationWithinThreePercent(t *testing.T) {
	for d := time.Duration(1); d < 5*time.Minute; d = d*17/16 + 1 {
		got := upper(bucketOf(d))
		require.GreaterOrEqual(t, got, d)
		require.LessOrEqual(t, float64(got-d), 0.032*float64(d), "%d", d)
	}
	require.Zero(t, bucketOf(-time.Second))
	require.Equal(t, octaves*perOctave-1, bucketOf(1<<62))
}

func TestQuantile(t *testing.T) {
	var h, other histogram
	require.Zero(t, h.quantile(0.5))
	for i := range 100 {
		h.record(time.Duration(i + 1))
	}
	require.InDelta(t, 51, h.quantile(0.5), 1)
	require.InDelta(t, 100, h.quantile(0.99), 2)
	require.InDelta(t, 100, h.quantile(1), 2)
	other.record(time.Second)
	h.add(&other)
	require.EqualValues(t, 101, h.n)
	require.InDelta(t, time.Second, h.quantile(1), 0.032*float64(time.Second))
}

func TestNumbers(t *testing.T) {
	got, err := numbers("1, 16,256")
	require.NoError(t, err)
	require.Equal(t, []int{1, 16, 256}, got)
	for _, bad := range []string{"", "0", "-1", "x", "1,,2"} {
		_, err := numbers(bad)
		require.ErrorIs(t, err, errUsage, bad)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{{"propose", "--groups", "x"}, {"read", "--where", "moon"}, {"subject", "nobody", "1"}, {"idle", "extra"}} {
		var out, errOut bytes.Buffer
		require.Equal(t, 2, run(append([]string{"bench"}, args...), &out, &errOut), "%v: %s", args, errOut.String())
	}
}

func TestTallySurvivesItsSnapshot(t *testing.T) {
	m := &tally{}
	results := make([]statemachines.Result, 2)
	m.Apply(make([]statemachines.Command, 2), results)
	require.EqualValues(t, 2, results[1].Value)
	var b bytes.Buffer
	_, err := m.Snapshot().WriteTo(&b)
	require.NoError(t, err)
	n := &tally{}
	require.NoError(t, n.Restore(&b))
	require.Equal(t, m.n, n.n)
}
