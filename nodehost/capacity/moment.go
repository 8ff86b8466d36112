package capacity

import "time"

// moment is one instant on both clocks of the machine. The wall clock may be set, the
// monotonic one stands still while the machine is suspended: what must not be used too
// long ends when either says so.
type moment struct {
	mono time.Time // compared by its monotonic reading
	wall time.Time // without one
}

// present reads both clocks.
func present() moment {
	now := time.Now()
	return moment{mono: now, wall: now.Round(0)}
}

// plus is the moment d later, on each clock.
func (m moment) plus(d time.Duration) moment {
	return moment{mono: m.mono.Add(d), wall: m.wall.Add(d)}
}

// reached tells whether either clock has come to end.
func (m moment) reached(end moment) bool {
	return !m.mono.Before(end.mono) || !m.wall.Before(end.wall)
}
