package counter

import (
	"slices"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// merge takes in what another group says.
func (m *Machine) merge(g *counterpb.Merge) *counterpb.Result {
	from := originOf(g.GetFrom())
	known, there := m.peer(from)
	switch {
	case from == m.self:
		return refuse(counterpb.Outcome_OUTCOME_RETIRED, "the merge is said to be from the group itself")
	case known.retired:
		return refuse(counterpb.Outcome_OUTCOME_RETIRED, "incarnation %d of region %q is retired: what it says is not taken", from.incarnation, from.region)
	case !there && len(m.peers) >= MaxOrigins:
		return refuse(counterpb.Outcome_OUTCOME_FULL, "the group knows %d origins, which is all it may", len(m.peers))
	}
	for _, o := range g.GetRetired() {
		m.retireOrigin(originOf(o))
	}
	for _, e := range g.GetEntries() {
		m.mergeEntry(e)
	}
	if !g.GetRelayed() {
		known.origin, known.past = from, false
		known.version, known.wall = max(known.version, g.GetUpto()), max(known.wall, g.GetWallMs())
		m.outlive(from)
		m.note(known)
	}
	return m.done(nil)
}

// peer is what is known of an origin.
func (h *head) peer(o origin) (peer, bool) {
	at, there := h.findPeer(o)
	if !there {
		return peer{origin: o}, false
	}
	return h.peers[at], true
}

func (h *head) findPeer(o origin) (int, bool) {
	return slices.BinarySearchFunc(h.peers, o, func(p peer, o origin) int { return compareOrigins(p.origin, o) })
}

// note keeps what is known of an origin. Queries of a view read the old slice.
func (h *head) note(p peer) {
	at, there := h.findPeer(p.origin)
	h.peers = slices.Clone(h.peers)
	if !there {
		h.peers = slices.Insert(h.peers, at, peer{})
	}
	h.peers[at] = p
}

// outlive marks earlier lives of an origin's region.
func (h *head) outlive(o origin) {
	for _, p := range h.peers {
		if p.region == o.region && p.origin != o && !p.past {
			p.past = true
			h.note(p)
		}
	}
}

// retireOrigin refuses an origin from now on. If it is the group itself, it counts on as
// another: what it counted stays, as that of a past life.
func (m *Machine) retireOrigin(o origin) {
	p, there := m.peer(o)
	if p.retired || !there && len(m.peers) >= MaxOrigins {
		return
	}
	if o == m.self {
		m.reincarnate(o.region, o.incarnation)
		p, _ = m.peer(o)
	}
	p.retired = true
	m.note(p)
}

func (m *Machine) mergeEntry(e *counterpb.Entry) {
	c := m.index[e.GetKey()]
	if c != nil && (e.GetGeneration() < c.generation || c.deleted && e.GetGeneration() == c.generation) {
		return
	}
	if c == nil && len(e.GetSlots()) == 0 && !e.GetDeleted() && e.GetGeneration() == 0 {
		return
	}
	c = m.own(e.GetKey())
	fresh := c.version == 0
	if c.wins(e.GetGeneration(), e.GetDeleted()) {
		c.begin(e.GetGeneration(), e.GetDeleted())
		fresh = true
	}
	if fresh {
		m.touch(c)
	}
	if e.GetDeleted() {
		return
	}
	for _, s := range e.GetSlots() {
		m.mergeSlot(c, s)
	}
}

// mergeSlot takes the greater of each number. The group's own slot takes only what
// others took off.
func (m *Machine) mergeSlot(c *counter, in *counterpb.Slot) {
	o := originOf(in.GetOrigin())
	if o == m.self {
		if in.GetAdded() > c.mine.added || in.GetSubtracted() > c.mine.subtracted {
			m.forged++
		}
		changed := grow(&c.mine.baseAdded, min(in.GetBaseAdded(), c.mine.added))
		if grow(&c.mine.baseSubtracted, min(in.GetBaseSubtracted(), c.mine.subtracted)) || changed {
			c.mine.version = m.touch(c)
		}
		return
	}
	s := c.of(o)
	changed := s.version == 0
	for _, n := range []struct {
		to *uint64
		n  uint64
	}{
		{&s.baseAdded, in.GetBaseAdded()},
		{&s.baseSubtracted, in.GetBaseSubtracted()},
		{&s.added, max(in.GetAdded(), in.GetBaseAdded())}, // what was taken off was counted
		{&s.subtracted, max(in.GetSubtracted(), in.GetBaseSubtracted())},
	} {
		changed = grow(n.to, n.n) || changed
	}
	for _, g := range in.GetGiven() {
		changed = grow(s.given.to(originOf(g.GetTo())), g.GetAmount()) || changed
	}
	if s.take(&m.head, in.GetWindows()) || changed {
		s.version = m.touch(c)
	}
}

// grow raises a number and tells whether it grew.
func grow(to *uint64, n uint64) bool {
	grew := n > *to
	*to = max(*to, n)
	return grew
}
