package sequence

import (
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// A sequence of timestamps is a window: below next, all are in the hands of whoever moved
// it there, and era counts the windows. A host that leads the group hands timestamps out
// of its window from memory. What makes them ascend over failovers is that a new window
// begins beyond the old one, and that a host asks, linearizably, whether its window is
// still the newest before it hands anything out.

// advance moves a window on, or begins another one.
func (m *Machine) advance(a *sequencepb.Advance) *sequencepb.Result {
	x, refused := m.existing(a.GetKey())
	switch {
	case refused != nil:
		return refused
	case x.logicalBits == 0:
		return refuse(sequencepb.Outcome_OUTCOME_WRONG_MODE, "the sequence has no timestamps")
	case a.GetUntilMs() >= x.lastMS():
		return refuse(sequencepb.Outcome_OUTCOME_INVALID, "until_ms is %d, and timestamps can tell less than %d", a.GetUntilMs(), x.lastMS())
	case a.GetWindow() != 0 && (a.GetWindow() != x.era || a.GetIncarnation() != x.incarnation):
		return refuse(sequencepb.Outcome_OUTCOME_NOT_HELD, "window %d is not the newest: another host has begun one", a.GetWindow())
	}
	if a.GetWindow() == 0 {
		x.era++
	}
	first := x.next
	x.next = max(x.next, (a.GetUntilMs()+1)<<x.logicalBits)
	x.count(min(a.GetIssued(), x.next), m.now)
	r := ok()
	r.Window = m.window(x, first)
	return r
}

// lastMS is a millisecond that no window may reach.
func (s *shape) lastMS() uint64 { return 1<<(63-s.logicalBits) - 1 }

// window describes the newest window, of which the part from first on is new.
func (h *head) window(x series, first uint64) *sequencepb.Window {
	return &sequencepb.Window{
		Window: x.era, Incarnation: x.incarnation, First: first, Last: x.next - 1, LogicalBits: x.logicalBits, MaxRange: x.maxRange,
		Group: h.group, Generation: h.generation,
	}
}

// newestWindow is the answer to a query: nil for a sequence that has none, or is closed.
func (m *Machine) newestWindow(key string) *sequencepb.Window {
	x := m.at(key)
	if !x.exists() || x.logicalBits == 0 || x.next == 0 {
		return nil
	}
	if x.generation != m.generation {
		return nil // it is closed, or will be resumed when it is next touched
	}
	return m.window(x, x.next)
}
