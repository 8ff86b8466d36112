package counter

import (
	"cmp"
	"container/list"
	"math"
	"math/bits"
	"slices"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// counter is one counter.
type counter struct {
	key   string
	epoch uint64
	// generation grows when a deleted counter is made anew.
	generation uint64
	deleted    bool
	// version is the group's, at the newest change; ours is that at the newest change that
	// the group made itself, not by a merge, and 0 when there was none.
	version, ours uint64
	// mine is the slot of the group itself, its origin left out; others are sorted.
	mine   slot
	others []slot
	// place is that among the changed; nil while ours is 0.
	place *list.Element
	// grave is there while it is deleted.
	grave *grave
}

// slot is what one origin counted. All numbers only grow.
type slot struct {
	origin
	// generation is that in which the origin began to count: the counter's, or a later one.
	generation uint64
	// version is the group's, at the newest change, 0 for a slot that nothing is in; ours is
	// as for a counter.
	version, ours             uint64
	added, subtracted         uint64
	baseAdded, baseSubtracted uint64
	given                     gifts
	windows                   [resolutions][]bucket
}

// given are rights that an origin was given in all.
type given struct {
	to     origin
	amount uint64
}

func compareOrigins(a, b origin) int {
	return cmp.Or(cmp.Compare(a.region, b.region), cmp.Compare(a.incarnation, b.incarnation))
}

// copied is the counter for another epoch: it can be changed while a view reads c.
func (c *counter) copied(epoch uint64) *counter {
	n := *c
	n.epoch = epoch
	n.mine = c.mine.copied()
	n.others = make([]slot, len(c.others))
	for i := range c.others {
		n.others[i] = c.others[i].copied()
	}
	n.grave = c.grave.copied()
	return &n
}

func (s *slot) copied() slot {
	n := *s
	n.given = slices.Clone(s.given)
	for i := range s.windows {
		n.windows[i] = slices.Clone(s.windows[i])
	}
	return n
}

// insert adds a slot of an origin that there is none of.
func (c *counter) insert(s slot) {
	at, _ := c.find(s.origin)
	c.others = slices.Insert(c.others, at, s)
}

func (c *counter) find(o origin) (int, bool) {
	return slices.BinarySearchFunc(c.others, o, func(s slot, o origin) int { return compareOrigins(s.origin, o) })
}

// of is the slot of another origin, made if there is none.
func (c *counter) of(o origin) *slot {
	at, there := c.find(o)
	if !there {
		c.others = slices.Insert(c.others, at, slot{origin: o})
	}
	return &c.others[at]
}

// all calls f for every slot.
func (c *counter) all(f func(*slot)) {
	f(&c.mine)
	for i := range c.others {
		f(&c.others[i])
	}
}

// wide is an unsigned number of 128 bits.
type wide struct{ hi, lo uint64 }

func (w *wide) add(n uint64) {
	var carry uint64
	w.lo, carry = bits.Add64(w.lo, n, 0)
	w.hi += carry
}

func (w wide) plus(n wide) wide {
	lo, carry := bits.Add64(w.lo, n.lo, 0)
	hi, _ := bits.Add64(w.hi, n.hi, carry)
	return wide{hi, lo}
}

// under tells whether it is less than another one.
func (w wide) under(n wide) bool { return w.hi < n.hi || w.hi == n.hi && w.lo < n.lo }

// less takes off; what fits into 64 bits best, and true, if it is not exact.
func (w wide) less(n wide) (int64, bool) {
	lo, borrow := bits.Sub64(w.lo, n.lo, 0)
	hi, borrow := bits.Sub64(w.hi, n.hi, borrow)
	switch negative := borrow > 0; {
	case !negative && (hi > 0 || lo > math.MaxInt64):
		return math.MaxInt64, true
	case negative && (hi != math.MaxUint64 || lo < 1<<63):
		return math.MinInt64, true
	}
	return int64(lo), false
}

// value is the sum of all slots; the nearest that fits, and true, if none does.
func (c *counter) value() (int64, bool) {
	var up, down wide
	c.all(func(s *slot) { s.sum(&up, &down) })
	return up.less(down)
}

// sum adds up what a slot counted and what was taken off by resets.
func (s *slot) sum(up, down *wide) {
	up.add(s.added)
	up.add(s.baseSubtracted)
	down.add(s.subtracted)
	down.add(s.baseAdded)
}

// gifts are sorted by whom they went to.
type gifts []given

// to is what an origin was given, 0 if nothing yet.
func (g *gifts) to(o origin) *uint64 {
	at, there := slices.BinarySearchFunc(*g, o, func(g given, o origin) int { return compareOrigins(g.to, o) })
	if !there {
		*g = slices.Insert(*g, at, given{to: o})
	}
	return &(*g)[at].amount
}

// wins tells whether a state of a counter ends the one that there is.
func (c *counter) wins(generation uint64, deleted bool) bool {
	return generation > c.generation || generation == c.generation && deleted && !c.deleted
}

// begin starts another generation, or the end of one. What was begun in a later one stays,
// and then the counter is not deleted.
func (c *counter) begin(generation uint64, deleted bool) {
	c.generation, c.deleted = generation, deleted
	least := c.least()
	if c.mine.generation < least {
		c.mine = slot{}
	}
	c.others = slices.DeleteFunc(c.others, func(s slot) bool { return s.generation < least })
	if c.mine.version > 0 || len(c.others) > 0 {
		c.generation, c.deleted = least, false
	}
}

// least is the least generation of a slot that is not deleted.
func (c *counter) least() uint64 {
	if c.deleted {
		return c.generation + 1
	}
	return c.generation
}

// newest is the latest generation that somebody began to count in.
func (c *counter) newest() uint64 {
	newest := c.generation
	c.all(func(s *slot) { newest = max(newest, s.generation) })
	return newest
}

// info describes a counter.
func (m *Machine) info(c *counter) *counterpb.Info {
	i := &counterpb.Info{Key: c.key, Generation: c.generation, Rights: c.rights(m.self)}
	if i.Value, i.Overflow = c.value(); m.settings.GetBounded() {
		i.Value, i.Overflow = c.shown()
	}
	c.all(func(s *slot) {
		if s.version > 0 {
			i.Slots = append(i.Slots, m.message(s, c.generation))
		}
	})
	return i
}

// message is a slot on the wire, of a counter of that generation, without windows.
func (m *Machine) message(s *slot, generation uint64) *counterpb.Slot {
	o := s.origin
	if o == (origin{}) {
		o = m.self
	}
	out := &counterpb.Slot{
		Origin: o.message(), Added: s.added, Subtracted: s.subtracted, BaseAdded: s.baseAdded, BaseSubtracted: s.baseSubtracted,
	}
	if s.generation > generation {
		out.Generation = s.generation
	}
	for _, g := range s.given {
		out.Given = append(out.Given, &counterpb.Given{To: g.to.message(), Amount: g.amount})
	}
	return out
}

func (o origin) message() *counterpb.Origin {
	return &counterpb.Origin{Region: o.region, Incarnation: o.incarnation}
}

func originOf(o *counterpb.Origin) origin {
	return origin{region: o.GetRegion(), incarnation: o.GetIncarnation()}
}
