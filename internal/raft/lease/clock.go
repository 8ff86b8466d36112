// Package lease has the lease clock of a leader.
package lease

import "time"

// Clock is the lease clock of one leadership: it starts at the machine's time when
// the leader has applied its Lead entry and runs on the host's monotonic clock,
// which stands still while the machine is suspended: late is safe, early is not.
type Clock struct {
	base  int64
	since time.Time
}

// Start starts a clock at the machine's time, nanoseconds.
func Start(machineTime int64) Clock {
	return Clock{base: machineTime, since: time.Now()}
}

// Now is the lease clock's present time in nanoseconds.
func (c Clock) Now() int64 { return c.base + int64(time.Since(c.since)) }
