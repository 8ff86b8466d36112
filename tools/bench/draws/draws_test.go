package draws_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/tools/bench/draws"
	"github.com/drumline/drumline/tools/bench/measure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheYardstickCounts(t *testing.T) {
	s, err := draws.Run(t.Context(), nil, measure.Request{Via: draws.Channel, Time: 50 * time.Millisecond})
	require.NoError(t, err)
	require.Greater(t, s.PerSec, 10_000.0)
	_, err = draws.Run(t.Context(), nil, measure.Request{Via: "nothing"})
	require.ErrorContains(t, err, "no run")
}

// A machine on which the yardstick takes twice as long: times are doubled, rates halved.
func TestTheOriginalIsScaled(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, draws.Print(&out, map[string]measure.Sample{
		draws.Channel: {PerSec: 1e9 / 140}, draws.Single: {PerSec: 1e9 / 291}, draws.Many: {PerSec: 6000, P99: 50},
		draws.Unary: {PerSec: 3000}, draws.Echo: {PerSec: 10_000}, draws.Adapted: {Max: 51},
	}))
	for _, want := range []string{
		`\| 32 clients, unbuffered +\| 6000 .* 1365/s, p99 153 ms +\| 4.40, p99 0.33 +\| 682/s, p99 306 ms +\| 8.79, p99 0.16 +\| [^|]+\| no `,
		`\| ranges of 1024, one reader .* 291.0 .*\| 291 ns +\| 1.00 +\| 582 ns +\| 0.50 +\| ≤ 1× +\| yes`,
		`0.30 of the echo +\| ≥ 0.4× the echo +\| no`,
		`client with 5 s in hand .* 51.00 .*\| no `,
		`took 140 ns, and 70 ns where rr_seq was measured: its times are multiplied by 2.00`,
	} {
		require.Regexp(t, want, out.String())
	}
	require.NotContains(t, out.String(), draws.Stream, "what was not measured has no row")
}

// Families are asked for in turn; each is divided by the first.
func TestFamiliesAreMeasuredInTurn(t *testing.T) {
	var asked []string
	ask := func(r measure.Request) (measure.Sample, error) {
		asked = append(asked, fmt.Sprint(r.Op, " ", r.Keys))
		if r.Op == draws.OpFill {
			return measure.Sample{Keys: r.Keys, Seconds: 2, Memory: measure.Memory{Resident: 30}}, nil
		}
		return measure.Sample{Keys: r.Keys, PerSec: 90_000 - float64(r.Keys)*0.3, CPU: 10 + float64(r.Keys)/50_000, P50: 2.5}, nil
	}
	f, err := draws.MeasureKeys(ask, []int{1, 100_000}, 2, time.Second)
	require.NoError(t, err)
	require.Equal(t, []string{"fill 1", "fill 100000", "keys 1", "keys 100000", "keys 1", "keys 100000"}, asked)
	require.Len(t, f.Samples(), 6)
	var out bytes.Buffer
	require.NoError(t, f.Print(&out))
	require.Regexp(t, `\| 1 +\| 90000 +\| 1.00 +\| 2.50 +\| – +\| 10.0 +\| 1.00 +\| – +\| – `, out.String())
	require.Regexp(t, `\| 100000 +\| 60000 +\| 0.67 +\| 2.50 +\| – +\| 12.0 +\| 1.20 +\| 300 +\| 50000 `, out.String())

	broken := errors.New("broken")
	_, err = draws.MeasureKeys(func(measure.Request) (measure.Sample, error) { return measure.Sample{}, broken }, []int{7}, 1, 0)
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "7 keys")
}
