package counter

import (
	"container/list"
	"slices"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// grave is the trace of a deleted counter. Without it a region that has not heard of the
// delete would bring the counter back. Each region tells of it in turn, as of a change of its
// own; when all have, none has anything of the counter any more, and the trace may go.
//
// One region drops it before another. Until all have, who counts under the key again must
// not be taken for the deleted counter: what it begins is of a later generation (floor) than
// anything that was ever dropped.
type grave struct {
	// since is the group's time when it heard of the delete; 0 when its behaviour version
	// was one that did not forget.
	since uint64
	// seen are the origins that have told of it.
	seen []origin
	// place is that among the graves.
	place *list.Element
}

// maxSeen is more origins than can have told of one: all that are known, and earlier lives.
const maxSeen = 1 << 16

// lookedAt is how many graves a query looks at.
const lookedAt = 64

func (g *grave) copied() *grave {
	if g == nil {
		return nil
	}
	return &grave{since: g.since, seen: slices.Clone(g.seen), place: g.place}
}

// see notes that an origin told of it.
func (g *grave) see(o origin) {
	if at, there := slices.BinarySearchFunc(g.seen, o, compareOrigins); !there {
		g.seen = slices.Insert(g.seen, at, o)
	}
}

// entomb notes that a counter that is safe to change was begun or ended by another region.
func (m *Machine) entomb(c *counter) {
	switch {
	case !c.deleted:
		m.exhume(c)
		m.touch(c)
	case m.modern:
		m.bury(c)
		m.change(c, nil) // others wait for this group's word
	default:
		m.bury(c)
		m.touch(c)
	}
}

// bury makes the grave of a counter that is deleted.
func (m *Machine) bury(c *counter) {
	m.exhume(c)
	c.grave = &grave{place: m.graves.PushBack(c.key)}
	if m.modern {
		c.grave.since = m.wall
	}
}

func (m *Machine) exhume(c *counter) {
	if c.grave != nil {
		m.graves.Remove(c.grave.place)
		c.grave = nil
	}
}

// seenByAll tells whether every region that lives has told of a grave.
func (m *Machine) seenByAll(g *grave) bool {
	return !slices.ContainsFunc(m.peers, func(p peer) bool {
		return !p.retired && !p.past && !slices.Contains(g.seen, p.origin)
	})
}

// forget drops what may be forgotten. A region that the group has not heard of may still
// have what was deleted.
func (m *Machine) forget(f *counterpb.Forget) *counterpb.Result {
	for _, region := range f.GetRegions() {
		heard := func(p peer) bool { return p.region == region && !p.retired && !p.past }
		if region != m.self.region && !slices.ContainsFunc(m.peers, heard) {
			return refuse(counterpb.Outcome_OUTCOME_NOT_FOUND, "region %q was not heard of yet: it may have what was deleted", region)
		}
	}
	m.dropOld()
	return m.done(nil)
}

// dropOld drops the graves that are old and seen by all. Those of before the group's
// behaviour version are told of first.
func (m *Machine) dropOld() {
	var untold []string
	for e := m.graves.Front(); e != nil; {
		key, _ := e.Value.(string)
		c := m.index[key]
		if c.grave.since+m.settings.GetForgetMs() > m.wall {
			break
		}
		e = e.Next()
		switch {
		case c.grave.since == 0:
			untold = append(untold, key)
		case m.seenByAll(c.grave):
			m.drop(c)
		}
	}
	slices.Sort(untold) // a restored group has them in another order
	for _, key := range untold {
		c := m.own(key)
		m.bury(c)
		m.change(c, nil)
	}
}

// drop removes a deleted counter for good.
func (m *Machine) drop(c *counter) {
	m.floor = max(m.floor, c.generation+1)
	m.graves.Remove(c.grave.place)
	if c.place != nil {
		m.changed.Remove(c.place)
	}
	m.order.Delete(c)
	delete(m.index, c.key)
}

// dropAlone is dropOld for a group that shares its counters with no other: nobody proposes
// it there.
func (m *Machine) dropAlone() {
	if m.modern && m.self.region == "" && len(m.peers) == 0 {
		m.dropOld()
	}
}

// forgetAt is from when on one of the oldest graves may go; 0 while none may.
func (m *Machine) forgetAt() uint64 {
	e := m.graves.Front()
	for range lookedAt {
		if e == nil {
			break
		}
		key, _ := e.Value.(string)
		if g := m.index[key].grave; g.since == 0 || m.seenByAll(g) {
			return g.since + m.settings.GetForgetMs()
		}
		e = e.Next()
	}
	return 0
}
