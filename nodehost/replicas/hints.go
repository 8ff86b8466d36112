package replicas

import (
	"time"
)

// hints gathers changes of records that may be lost, so that thousands of replicas
// that fall asleep one after the other are not as many commits.
type hints struct {
	saves map[Key]Save
	// until is when they have waited long enough.
	until time.Duration
}

// takes keeps a save that may wait until then, and tells that it did. A save of the same
// record that may not wait has the hint in it.
func (h *hints) takes(s Save, until time.Duration) bool {
	switch {
	case s.Hint:
		if len(h.saves) == 0 {
			h.saves, h.until = make(map[Key]Save), until
		}
		h.saves[s.Record.Key()] = s
		return true
	case s.Record != nil:
		delete(h.saves, s.Record.Key())
	case s.Drop != nil:
		delete(h.saves, *s.Drop)
	}
	return false
}

// due tells whether they have waited long enough.
func (h *hints) due(now time.Duration) bool { return len(h.saves) > 0 && now >= h.until }

// take returns and forgets all of them.
func (h *hints) take() []Save {
	out := make([]Save, 0, len(h.saves))
	for _, s := range h.saves {
		out = append(out, s)
	}
	h.saves = nil
	return out
}
