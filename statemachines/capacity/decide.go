package capacity

import (
	"slices"

	capacitypb "github.com/drumline/drumline/drummerpb/capacity"
	"github.com/drumline/drumline/statemachines/capacity/exact"
)

// Pauses that a client is told when its refresh interval is longer, on the lease
// clock: others wait for its receipt; it waits for others, who have to ask twice.
const (
	receiptPause = 200 * millisecond
	waitPause    = 1000 * millisecond
	waitPart     = 4 // of the refresh interval
	// backlogPause is for those who wait for leases that have ended and still count.
	backlogPause = 50 * millisecond
)

// lastBits is the part of a capacity that is no capacity: what shares differ in from the
// numbers that they stand for.
const lastBits = 0x1p-50

// grant is the answer to one request.
type grant struct {
	outcome capacitypb.Outcome
	detail  string

	capacity float64
	lease    int64 // nanoseconds from now
	refresh  int64
	retry    int64
	n        uint64
	safe     float64
	learning bool
}

// decide answers a request that was checked.
func (m *Machine) decide(q *request) grant {
	c := m.roster.byID[string(q.id)]
	if c != nil && c.next() < m.now { // many end at once, and it was not its turn yet
		m.settle(m.roster.mutable(c))
		c = m.roster.byID[string(q.id)]
	}
	if c != nil && m.seen(c, q) {
		return m.again(c, q)
	}
	if g, full := m.full(c, q); full {
		return g
	}
	if c == nil {
		c = m.roster.add(string(q.id))
	} else {
		c = m.roster.mutable(c)
		m.confirm(c, q)
	}
	share := m.share(c, q)
	given := m.given(c, q, share)
	m.n++
	c.answered(lease{capacity: given, expires: m.leaseEnd()}, m.n)
	c.serial = q.serial
	m.reserve(c)
	// A child that has nothing may have asked its parent just now.
	nothing := given == 0 && c.wants > 0 && m.def.pb.GetParent() != ""
	return m.answer(c, nothing || given < float64(share*(1-1e-9)))
}

// seen tells whether the request, or a later one of its client, was answered before.
// A lower number without a token is of a client that began anew under its old name.
func (m *Machine) seen(c *client, q *request) bool {
	switch {
	case q.serial == 0 || q.serial > c.serial:
		return false
	case q.serial < c.serial:
		return q.token != token{}
	}
	return true
}

// again repeats the answer to a request that came twice; an older one is refused.
func (m *Machine) again(c *client, q *request) grant {
	if q.serial < c.serial || c.newest.expires < m.now {
		return grant{outcome: capacitypb.Outcome_OUTCOME_STALE}
	}
	return m.answer(c, false)
}

// full refuses a request that would go beyond what a resource holds.
func (m *Machine) full(c *client, q *request) (grant, bool) {
	g := grant{outcome: capacitypb.Outcome_OUTCOME_FULL}
	switch {
	case c == nil && len(m.roster.byID) >= m.def.maxClients:
		g.detail = "as many clients hold leases as the resource may have: raise max_clients"
	case len(m.shares.bands)+m.shares.newPriorities(q.bands) > MaxBands:
		g.detail = "the clients of the resource have as many priorities as it may have"
	default:
		return grant{}, false
	}
	return g, true
}

// confirm looks at what the client shows: one that knows its newest answer uses
// none before it, and one that already limits itself frees the rest of it.
func (m *Machine) confirm(c *client, q *request) {
	switch {
	case q.token == token{generation: m.generation, n: c.n}:
		if q.limited {
			c.newest.capacity = min(c.newest.capacity, q.wants)
		}
	case q.token == token{} && q.hasSet && q.has == c.newest.capacity:
	default:
		return
	}
	c.keep(func(lease) bool { return false })
	m.reserve(c)
}

// share is what c would get if all capacity were free, after noting what it wants.
func (m *Machine) share(c *client, q *request) float64 {
	capacity, known := m.capacity(), c.weight > 0
	k := crowd{capacity: capacity}
	if m.def.algorithm == capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE {
		// As the original: the sums are those before this request.
		k.wants, k.weight = m.sums.wants.Value(), float64(m.sums.weight)
		if !known {
			k.weight += float64(q.weight)
			c.wants, c.weight = q.wants, q.weight
			share := m.shares.proportional(c, k)
			c.wants, c.weight = 0, 0
			m.want(c, q)
			return share
		}
	}
	m.want(c, q)
	switch m.def.algorithm {
	case capacitypb.Algorithm_ALGORITHM_PROPORTIONAL_SHARE:
		return m.shares.proportional(c, k)
	case capacitypb.Algorithm_ALGORITHM_FAIR_SHARE:
		return m.shares.fair(c, capacity)
	case capacitypb.Algorithm_ALGORITHM_PRIORITY:
		return m.shares.ranked(c, capacity)
	case capacitypb.Algorithm_ALGORITHM_STATIC:
		return min(capacity, c.wants)
	}
	return c.wants
}

// want notes what c wants.
func (m *Machine) want(c *client, q *request) {
	if c.weight > 0 {
		if slices.Equal(c.bands, q.bands) {
			return
		}
		m.unwant(c)
	}
	c.setBands(q.bands)
	c.wants, c.weight = q.wants, q.weight
	m.sums.wants.Add(c.wants)
	m.sums.weight += c.weight
	m.shares.add(c)
	m.shares.prune()
}

func (m *Machine) unwant(c *client) {
	m.shares.remove(c)
	m.sums.wants.Sub(c.wants)
	m.sums.weight -= c.weight
}

// given is how much of its share c is granted now: what others may still use is
// not given twice.
func (m *Machine) given(c *client, q *request, share float64) float64 {
	given := min(max(0, share), c.wants)
	if m.learning() {
		return min(q.has, c.wants)
	}
	if !m.shares.divides() {
		return given
	}
	if m.held() {
		given = min(q.has, c.wants)
	}
	others := m.sums.reserved
	others.Sub(c.reserved)
	room, most := others.Room(m.capacity()), m.capacity()
	if given <= room+float64(most*lastBits) {
		return exact.Amount(given) // shares that add up to the capacity do so but for their last bits
	}
	return exact.Amount(room)
}

// leaseEnd is the last instant of a lease that is granted now. It does not outlive
// the lease of the parent.
func (m *Machine) leaseEnd() int64 {
	end := m.now + m.def.lease
	if m.leased() {
		end = min(end, m.parent.expires)
	}
	return end
}

// reserve counts what c may use and was granted, and notes when the first of its answers ends.
func (m *Machine) reserve(c *client) {
	if most := c.most(); most != c.reserved {
		m.sums.reserved.Sub(c.reserved)
		m.sums.reserved.Add(most)
		c.reserved = most
	}
	if now := c.newest.capacity; now != c.granted {
		m.sums.granted.Sub(c.granted)
		m.sums.granted.Add(now)
		c.granted = now
	}
	m.clock.set(moment{at: c.next(), slot: c.slot})
}

// forget removes a client and all it holds.
func (m *Machine) forget(c *client) {
	m.unwant(c)
	m.shares.prune()
	m.sums.reserved.Sub(c.reserved)
	m.sums.granted.Sub(c.granted)
	m.clock.drop(c.slot)
	m.roster.remove(c)
}

// answer tells c its newest lease.
func (m *Machine) answer(c *client, waits bool) grant {
	g := grant{
		outcome:  capacitypb.Outcome_OUTCOME_OK,
		capacity: c.newest.capacity, lease: c.newest.expires - m.now,
		refresh: m.def.refresh, n: c.n, learning: m.learning(),
	}
	if g.lease < m.def.lease {
		g.refresh = min(g.refresh, max(g.lease/2, millisecond))
	}
	switch {
	case c.reserved > c.newest.capacity:
		g.retry = receiptPause
	case c.newest.capacity < c.wants && m.shares.divides() && m.overdue():
		g.retry = backlogPause
	case waits:
		g.retry = max(waitPause, g.refresh/waitPart)
	}
	if g.retry >= g.refresh {
		g.retry = 0
	}
	if m.def.pb.SafeCapacity != nil {
		g.safe = m.def.pb.GetSafeCapacity()
	} else {
		g.safe = m.nominal() / float64(m.sums.weight)
	}
	return g
}
