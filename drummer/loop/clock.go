package loop

import (
	"time"

	"github.com/drumline/drumline/internal/mutant"
)

// latePass is how long after the last one a pass is late: the loop was not running,
// so what it did not hear in that time says nothing about the hosts.
const latePass = 2 * PassPeriod

// clock is the time that silence is counted in. It stands still while the loop's
// passes do not come.
type clock struct {
	led, lastPass, shift time.Duration
}

func startClock(now time.Duration) clock { return clock{led: now, lastPass: now} }

// read gives the clock's time.
func (c *clock) read(now time.Duration) time.Duration {
	if mutant.Is("own-outage") || mutant.Is("wall-clock") {
		return now
	}
	return now - c.shift
}

// pass notes a pass, and tells whether it was late, in which case the clock went back
// to where it would be had the pass come on time.
func (c *clock) pass(now time.Duration) bool {
	gap := now - c.lastPass
	c.lastPass = now
	if gap <= latePass {
		return false
	}
	c.shift += gap - PassPeriod
	return true
}

// leading is how long the lead has been held, in the clock's time.
func (c *clock) leading(now time.Duration) time.Duration { return c.read(now) - c.led }
