// Package drift is the clocks of simulated processes: each begins somewhere and runs a little
// too fast or too slow.
package drift

import (
	"math/rand/v2"
	"time"

	"github.com/drumline/drumline/internal/mutant"
)

// Clock is a monotonic clock.
type Clock struct {
	origin time.Duration
	ppm    int64 // by which it is too fast
	// Wall is how far the wall clock beside it was set.
	Wall time.Duration
}

// Draw draws a clock that is wrong by a thousandth at most.
func Draw(rng *rand.Rand) Clock {
	return Clock{origin: time.Duration(rng.Int64N(int64(time.Hour) + 1)), ppm: rng.Int64N(2001) - 1000}
}

// Read is what the clock shows at a time of the world.
func (c *Clock) Read(now time.Duration) time.Duration {
	t := c.origin + now + time.Duration(int64(now/time.Microsecond)*c.ppm/1000)
	if mutant.Is("wall-clock") {
		t += c.Wall
	}
	return t
}
