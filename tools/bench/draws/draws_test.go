package draws_test

import (
	"bytes"
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
