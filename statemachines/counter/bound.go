package counter

import (
	counterpb "github.com/drumline/drumline/drummerpb/counter"
)

// A bounded counter is never below 0, for nobody subtracts without the right to. What a group
// has heard may tell otherwise: of who subtracted, and not yet of who added and gave the right.
// So what such a group shows takes nobody to have subtracted more than the rights that it has
// heard of.

// rights are what the group may subtract from a bounded counter, less than 0 when it was
// not bounded before. What was taken off by a reset before that, none has a right to.
func (c *counter) rights(self origin) int64 {
	var has, used wide
	c.mine.sum(&has, &used)
	c.gifts(self, &c.mine, &has, &used)
	n, _ := has.less(used)
	return n
}

// rights are those that a command in force counts on.
func (m *Machine) rights(c *counter) int64 {
	if m.causal {
		return c.rights(m.self)
	}
	all := counter{mine: c.mine, others: c.others}
	all.mine.baseAdded, all.mine.baseSubtracted = 0, 0
	return all.rights(m.self)
}

// gifts adds up rights: those that an origin got, and those that it gave from its slot.
func (c *counter) gifts(to origin, s *slot, got, gave *wide) {
	for _, g := range s.given {
		gave.add(g.amount)
	}
	c.all(func(from *slot) {
		for _, g := range from.given {
			if g.to == to {
				got.add(g.amount)
			}
		}
	})
}

// shown is the value of a bounded counter as far as the group has heard: never below 0, unless
// it was not always bounded.
func (c *counter) shown() (int64, bool) {
	var up, down wide
	c.mine.sum(&up, &down)
	for i := range c.others {
		var has, used, got, gave wide
		s := &c.others[i]
		s.sum(&has, &used)
		c.gifts(s.origin, s, &got, &gave)
		if has.plus(got).under(used.plus(gave)) {
			has, used = gave, got // all its rights are used up
		}
		up, down = up.plus(has), down.plus(used)
	}
	return up.less(down)
}

// Sum is the value of slots as an Info has them, for the group that counts as self. It is true
// with a value that does not fit, which is the nearest then.
func Sum(self *counterpb.Origin, slots []*counterpb.Slot, bounded bool) (int64, bool) {
	c := &counter{}
	for _, s := range slots {
		in := slot{
			origin: originOf(s.GetOrigin()), added: s.GetAdded(), subtracted: s.GetSubtracted(),
			baseAdded: s.GetBaseAdded(), baseSubtracted: s.GetBaseSubtracted(),
		}
		for _, g := range s.GetGiven() {
			in.given = append(in.given, given{originOf(g.GetTo()), g.GetAmount()})
		}
		if in.origin == originOf(self) {
			c.mine = in
			continue
		}
		c.others = append(c.others, in)
	}
	if bounded {
		return c.shown()
	}
	return c.value()
}
