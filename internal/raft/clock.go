package raft

import "time"

// clock is the lease clock of one leadership: it starts at the machine's time when
// the leader has applied its Lead entry and runs on the host's monotonic clock,
// which stands still while the machine is suspended: late is safe, early is not.
type clock struct {
	base  int64
	since time.Time
}

func startClock(machineTime int64) clock {
	return clock{base: machineTime, since: time.Now()}
}

// now is the lease clock's present time in nanoseconds.
func (c clock) now() int64 { return c.base + int64(time.Since(c.since)) }
