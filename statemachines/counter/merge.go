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
	case m.modern && g.GetUpto() < known.version && !g.GetAnew():
		return m.late(g)
	}
	for _, o := range g.GetRetired() {
		m.retireOrigin(originOf(o))
	}
	for _, e := range g.GetEntries() {
		m.mergeEntry(g, e)
	}
	if !g.GetRelayed() {
		known.origin, known.past = from, false
		known.version, known.wall = max(known.version, g.GetUpto()), max(known.wall, g.GetWallMs())
		m.outlive(from)
		m.note(known)
	}
	return m.done(nil)
}

// late answers a merge that is older than what is known of its sender. What that counted is
// known. What it says of others may be wanted still, and is to be asked for again; it may
// also be of a counter that was deleted since and forgotten.
func (m *Machine) late(g *counterpb.Merge) *counterpb.Result {
	if g.GetRelayed() {
		return refuse(counterpb.Outcome_OUTCOME_CONFLICT, "the merge is late: more is known of region %q than it says", g.GetFrom().GetRegion())
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

func (m *Machine) mergeEntry(g *counterpb.Merge, e *counterpb.Entry) {
	c := m.index[e.GetKey()]
	if c == nil && m.isNothing(g, e) || c != nil && !c.concerns(e) {
		return
	}
	c = m.own(e.GetKey())
	switch fresh := c.version == 0; {
	case c.wins(e.GetGeneration(), e.GetDeleted()):
		c.begin(e.GetGeneration(), e.GetDeleted())
		m.entomb(c)
	case fresh:
		m.touch(c)
	}
	if m.modern && c.deleted && e.GetDeleted() && e.GetGeneration() == c.generation && !g.GetRelayed() {
		c.grave.see(originOf(g.GetFrom()))
	}
	for _, s := range e.GetSlots() {
		m.mergeSlot(c, s, max(s.GetGeneration(), e.GetGeneration()))
	}
}

// isNothing tells whether an entry of a counter that is not there says nothing: what was
// deleted and forgotten here may be told by way of others for a while.
func (m *Machine) isNothing(g *counterpb.Merge, e *counterpb.Entry) bool {
	if e.GetDeleted() {
		return g.GetRelayed() && e.GetGeneration() < m.floor
	}
	return len(e.GetSlots()) == 0 && e.GetGeneration() == 0
}

// concerns tells whether an entry may change a counter.
func (c *counter) concerns(e *counterpb.Entry) bool {
	if c.wins(e.GetGeneration(), e.GetDeleted()) || c.deleted && e.GetDeleted() {
		return true
	}
	return slices.ContainsFunc(e.GetSlots(), func(s *counterpb.Slot) bool {
		return max(s.GetGeneration(), e.GetGeneration()) >= c.least()
	})
}

// mergeOwn takes what others took off from the group's own slot. That they know more of it
// than the group is not possible.
func (m *Machine) mergeOwn(c *counter, in *counterpb.Slot, generation uint64) {
	own := max(c.mine.generation, c.generation)
	if generation < own {
		return
	}
	if in.GetAdded() > c.mine.added || in.GetSubtracted() > c.mine.subtracted {
		m.forged++
	}
	if generation > own {
		return
	}
	changed := grow(&c.mine.baseAdded, min(in.GetBaseAdded(), c.mine.added))
	if grow(&c.mine.baseSubtracted, min(in.GetBaseSubtracted(), c.mine.subtracted)) || changed {
		c.mine.version = m.touch(c)
	}
}

// mergeSlot takes the greater of each number, of the later generation.
func (m *Machine) mergeSlot(c *counter, in *counterpb.Slot, generation uint64) {
	o := originOf(in.GetOrigin())
	if generation < c.least() {
		return
	}
	if o == m.self {
		m.mergeOwn(c, in, generation)
		return
	}
	s := c.of(o)
	if s.version > 0 && generation < s.generation {
		return
	}
	if c.deleted { // somebody counts again who has forgotten that it was
		c.begin(c.generation+1, false)
		m.exhume(c)
		s = c.of(o)
	}
	if generation > s.generation {
		*s = slot{origin: o}
	}
	s.generation = generation
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
