package capacity

import "slices"

// band is what the clients of one priority of one holder want.
type band struct {
	priority int64
	weight   int64
	wants    float64
}

// lease is one answer: capacity until its last instant on the lease clock.
type lease struct {
	capacity float64
	expires  int64
}

// covers tells whether whoever reserves l reserves enough for o too.
func (l lease) covers(o lease) bool { return l.capacity >= o.capacity && l.expires >= o.expires }

// maxOlder bounds the answers before the newest that are remembered. Beyond that
// they are merged: too much is reserved then, or for too long, which is safe.
const maxOlder = 3

// client is a holder. It is written only through roster.mutable.
type client struct {
	id   string
	slot uint32
	// epoch in which this copy was made; see roster.
	epoch uint64
	// bands by falling priority; most clients have one, which stands in own.
	bands  []band
	own    [1]band
	wants  float64
	weight int64
	// newest answer, its number, and the serial of the request that it answers.
	newest lease
	n      uint64
	serial uint64
	// older holds the first olders answers that may still be in use, because the
	// client has not shown that it knows the newest.
	older  [maxOlder]lease
	olders int
	// reserved is the most that the client may use by any of its answers, granted
	// what the newest allows: as they are counted in the machine's sums.
	reserved, granted float64
}

// setBands copies what the client wants. A frozen copy of the client keeps its own.
func (c *client) setBands(bands []band) {
	if len(bands) == 1 {
		c.own[0] = bands[0]
		c.bands = c.own[:]
		return
	}
	c.bands = slices.Clone(bands)
}

// answered replaces the newest answer. The one before stays in force at the client
// until it shows that it knows the new one.
func (c *client) answered(l lease, n uint64) {
	before := c.newest
	c.newest, c.n = l, n
	c.keep(func(o lease) bool { return !l.covers(o) })
	if before.capacity > 0 && !l.covers(before) {
		c.push(before)
	}
}

// push remembers an older answer.
func (c *client) push(l lease) {
	c.keep(func(o lease) bool { return !l.covers(o) })
	if c.olders == maxOlder {
		last := &c.older[maxOlder-1]
		last.capacity, last.expires = max(last.capacity, l.capacity), max(last.expires, l.expires)
		return
	}
	c.older[c.olders] = l
	c.olders++
}

// keep forgets the older answers that are not wanted.
func (c *client) keep(wanted func(lease) bool) {
	kept := 0
	for _, o := range c.older[:c.olders] {
		if wanted(o) {
			c.older[kept] = o
			kept++
		}
	}
	clear(c.older[kept:])
	c.olders = kept
}

// end forgets answers whose last instant is past, and tells whether none is left.
// A newest answer that ended before an older one counts as nothing until then.
func (c *client) end(now int64) (over bool) {
	c.keep(func(o lease) bool { return o.expires >= now })
	if c.newest.expires >= now {
		return false
	}
	c.newest.capacity = 0
	for _, o := range c.older[:c.olders] {
		c.newest.expires = max(c.newest.expires, o.expires)
	}
	return c.olders == 0
}

// most is what the client may use by any of its answers.
func (c *client) most() float64 {
	most := c.newest.capacity
	for _, o := range c.older[:c.olders] {
		most = max(most, o.capacity)
	}
	return most
}

// next is the first last instant of its answers.
func (c *client) next() int64 {
	next := c.newest.expires
	for _, o := range c.older[:c.olders] {
		next = min(next, o.expires)
	}
	return next
}
