package capacity

// expiries is a heap of moments at which to look at a client, the earliest first.
// It is lazy: a client that asks again stays where it is, and when its moment has
// come it is put back with the next one. So a lease that is refreshed many times
// costs one step of the heap for each of its lengths. Moments that a client has
// left behind (its due is another one) are skipped. Nothing that the machine
// answers depends on the order in here.
type expiries []moment

type moment struct {
	at   int64
	slot uint32
}

// spare moments that may wait to be skipped before the heap is made anew.
const spare = 1024

// watch makes sure that the machine looks at c before it could be late.
func (m *Machine) watch(c *client) {
	next := c.next()
	if c.due != 0 && c.due <= next {
		return
	}
	c.due = next
	if len(m.clock) > 2*len(m.roster.byID)+spare {
		m.rewatch()
		return
	}
	m.clock.push(moment{at: next, slot: c.slot})
}

// rewatch makes the heap anew of what is there.
func (m *Machine) rewatch() {
	m.clock = m.clock[:0]
	m.roster.each(func(c *client) { m.clock.push(moment{at: c.due, slot: c.slot}) })
}

// expire ends the leases whose last instant is past.
func (m *Machine) expire() {
	for len(m.clock) > 0 && m.clock[0].at < m.now {
		next := m.clock.pop()
		c := m.roster.at(next.slot)
		if c == nil || c.due != next.at {
			continue
		}
		c = m.roster.mutable(c)
		c.due = 0
		m.settle(c)
	}
}

// settle forgets what ended, and the client when nothing is left.
func (m *Machine) settle(c *client) {
	if c.end(m.now) {
		m.forget(c)
		return
	}
	m.reserve(c)
	m.watch(c)
}

func (e *expiries) push(x moment) {
	*e = append(*e, x)
	h := *e
	for i := len(h) - 1; i > 0 && h[(i-1)/2].at > h[i].at; i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
}

func (e *expiries) pop() moment {
	h := *e
	first, last := h[0], len(h)-1
	h[0], *e = h[last], h[:last]
	h = *e
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(h) {
			return first
		}
		if child+1 < len(h) && h[child+1].at < h[child].at {
			child++
		}
		if h[i].at <= h[child].at {
			return first
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
