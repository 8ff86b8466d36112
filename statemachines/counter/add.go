package counter

import (
	"math"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines/once"
)

// defaultRemember and others hold unless the settings say otherwise.
const (
	defaultRemember   = 128 << 10
	defaultRememberMS = 3_600_000
	defaultKeys       = 1_000_000
	defaultForgetMS   = 3_600_000
	// ahead is how far a key's date may be ahead of the host's time, in milliseconds.
	ahead = 60_000
)

// addOnce applies an addition, unless it was applied before under its key.
func (m *Machine) addOnce(a *counterpb.Add, mark, now uint64) *counterpb.Result {
	k := a.GetOnce()
	if k == nil {
		return m.add(a)
	}
	if now > 0 && k.GetMadeMs() > now+ahead {
		return refuse(counterpb.Outcome_OUTCOME_INVALID, "the idempotency key was made more than a minute from now: set the clock right")
	}
	if m.wall > m.settings.GetRememberMs() {
		m.keys.Expire(m.wall - m.settings.GetRememberMs())
	}
	e := once.Entry{Key: once.Key{High: k.GetHigh(), Low: k.GetLow()}, Made: k.GetMadeMs(), Dated: k.GetMadeMs() > 0, Mark: mark}
	if !e.Dated {
		e.Made = m.wall
	}
	old, verdict := m.keys.Find(e)
	switch verdict {
	case once.Known:
		r := m.done(nil)
		r.Value, r.Token.Version, r.Repeated = old.Value, old.Version, true
		return r
	case once.Conflict:
		return refuse(counterpb.Outcome_OUTCOME_CONFLICT, "another command came under this idempotency key: draw a new one for each")
	case once.TooOld:
		return refuse(counterpb.Outcome_OUTCOME_TOO_OLD, "the idempotency key is older than those that are remembered: whether it was applied is not known")
	case once.Fresh:
	}
	r := m.add(a)
	if r.GetOutcome() == counterpb.Outcome_OUTCOME_OK {
		e.Value, e.Version = r.GetValue(), r.GetToken().GetVersion()
		m.keys.Remember(e, m.settings.GetRemember())
	}
	return r
}

// add counts.
func (m *Machine) add(a *counterpb.Add) *counterpb.Result {
	c := m.index[a.GetKey()]
	if c != nil && c.deleted {
		c = nil
	}
	if refused := m.admits(a.GetKey(), c); refused != nil {
		return refused
	}
	looked := c
	if looked == nil {
		looked = &counter{}
	}
	up, down := uint64(max(a.GetAmount(), 0)), uint64(-min(a.GetAmount(), 0))
	if refused := m.fits(looked, up, down); refused != nil {
		return refused
	}
	if a.GetAmount() == 0 {
		return m.done(c)
	}
	c = m.alive(a.GetKey())
	s := m.mine(c)
	s.added, s.subtracted = s.added+up, s.subtracted+down
	m.change(c, s)
	m.busy = m.wall
	c.count(&m.head, up, down)
	return m.done(c)
}

// admits says why a counter that is not there is not made, or nil.
func (m *Machine) admits(key string, c *counter) *counterpb.Result {
	switch {
	case c != nil:
	case m.settings.GetNoAutoCreate():
		return refuse(counterpb.Outcome_OUTCOME_NOT_FOUND, "there is no counter %q, and none is made on first use: create it", key)
	case m.index[key] == nil && m.full():
		return refuse(counterpb.Outcome_OUTCOME_FULL, "the group holds %d counters, which is all it may", len(m.index))
	}
	return nil
}

// full tells whether there is no room for another counter.
func (m *Machine) full() bool {
	if uint64(len(m.index)) >= m.settings.GetMaxKeys() {
		m.dropAlone()
	}
	return uint64(len(m.index)) >= m.settings.GetMaxKeys()
}

// fits says why a counter cannot take an amount, or nil.
func (m *Machine) fits(c *counter, up, down uint64) *counterpb.Result {
	v, over := c.value()
	switch {
	case down > 0 && m.settings.GetOnlyUp():
		return refuse(counterpb.Outcome_OUTCOME_ONLY_UP, "the counter only goes up: %d cannot be taken off", down)
	case up > 0 && (over || up > math.MaxInt64-c.mine.added || up > uint64(math.MaxInt64)-uint64(v) && v >= 0):
		return refuse(counterpb.Outcome_OUTCOME_OVERFLOW, "the counter is at %d and cannot take %d more: it would pass 2^63-1", v, up)
	case down > 0 && (over || down > math.MaxInt64-c.mine.subtracted || v < 0 && down > uint64(v-math.MinInt64)):
		return refuse(counterpb.Outcome_OUTCOME_OVERFLOW, "the counter is at %d and cannot go down by %d: it would pass -2^63", v, down)
	}
	if rights := m.rights(c); down > 0 && m.settings.GetBounded() && (rights < 0 || down > uint64(rights)) {
		return refuse(counterpb.Outcome_OUTCOME_BOUND, "the region may take off %d, and %d are asked for: let another region transfer some", max(rights, 0), down)
	}
	return nil
}

// alive is a counter that is safe to change; one that was deleted begins a new generation.
func (m *Machine) alive(key string) *counter {
	c := m.own(key)
	if c.deleted {
		c.begin(c.generation+1, false)
		m.exhume(c)
		m.change(c, nil)
	}
	return c
}

// mine is the group's own slot of a counter that is safe to change. A new one is of the
// newest generation there is, and of none that was forgotten.
func (m *Machine) mine(c *counter) *slot {
	if s := &c.mine; s.version == 0 {
		s.generation = c.newest()
		if len(c.others) == 0 {
			s.generation = max(s.generation, m.floor)
		}
	}
	return &c.mine
}
