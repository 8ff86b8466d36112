package measure

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMeasureCountsWhatSucceedsAndWhatFails(t *testing.T) {
	odd := errors.New("odd caller")
	var s Sample
	until(func(long time.Duration) bool {
		s = Run(t.Context(), Request{Op: "propose", Callers: 4, Time: long}, OwnUsage, Workload{func(_ context.Context, caller int) error {
			<-time.After(time.Millisecond)
			if caller%2 == 1 {
				return odd
			}
			return nil
		}, 1})
		return s.PerSec > 0 && s.Failed > 0
	})
	require.Positive(t, s.PerSec)
	require.GreaterOrEqual(t, s.P50, 1.0)
	require.GreaterOrEqual(t, s.P99, s.P50)
	require.Positive(t, s.Failed)
	require.Equal(t, odd.Error(), s.Error)
}

// until measures for longer and longer: on a busy machine nothing may come to its end in a
// short time.
func until(enough func(long time.Duration) bool) {
	for long := 20 * time.Millisecond; long < 30*time.Second && !enough(long); long *= 2 {
	}
}

func TestMedian(t *testing.T) {
	m := Median([]Sample{{PerSec: 1, P99: 9, Failed: 1}, {PerSec: 100, P99: 5}, {PerSec: 3, P99: 7, Failed: 2, Error: "x"}})
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

func TestWeightsKeepTheNumberUnderWay(t *testing.T) {
	var seen [64]atomic.Bool
	var s Sample
	until(func(long time.Duration) bool {
		s = Run(t.Context(), Request{Callers: 64, Time: long}, OwnUsage, Workload{func(_ context.Context, caller int) error {
			seen[caller].Store(true)
			<-time.After(time.Millisecond)
			return nil
		}, 16})
		return s.PerSec > 0 && seen[0].Load() && seen[1].Load() && seen[2].Load() && seen[3].Load()
	})
	for caller := range seen {
		require.Equal(t, caller < 4, seen[caller].Load(), caller)
	}
	require.Positive(t, s.PerSec)
}

func TestSpread(t *testing.T) {
	var s Sample
	s.Spread(nil)
	require.Zero(t, s.P99)
	s.Spread([]time.Duration{time.Second, 2 * time.Second, 3 * time.Second})
	require.InDelta(t, 2000, s.P50, 70)
	require.InDelta(t, 3000, s.P99, 0)
	require.InDelta(t, 3000, s.Max, 0)
	require.Equal(t, 3, s.Counted)
}
