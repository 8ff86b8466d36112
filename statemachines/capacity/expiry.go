package capacity

// expiries is a heap of moments at which to look at a client, the earliest first, and of
// one moment the lowest slot. It is lazy: a client that asks again stays where it is, and
// when its moment has come it is put back with the next one. So a lease that is refreshed
// many times costs one step of the heap for each of its lengths. Moments that a client has
// left behind (its due is another one) are skipped. A replica that was restored from a
// snapshot has other moments in here, but both end leases in the order of their true ends.
type expiries []moment

// perStep bounds the leases that end when time goes on by one entry of the log: a million at
// once would hold it up for seconds. So many cost a few milliseconds, and tens of them on a
// machine that has ten times as much to do as it can. Those that are left over count as held until the next
// entries; the client whose lease it is finds it ended, and those who have to wait for them are
// told to ask again soon. It is part of the behaviour version.
const perStep = 1 << 11

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

// expire ends the leases whose last instant is past, the first of them if they are many.
func (m *Machine) expire() {
	for ended := 0; ended < perStep && m.overdue(); ended++ {
		c := m.roster.mutable(m.roster.at(m.clock.pop().slot))
		c.due = 0
		m.settle(c)
	}
}

// overdue tells whether some answer's last instant is past; the first of them is on top of the
// heap then. It depends on the clients alone: moments that they have left behind are skipped.
func (m *Machine) overdue() bool {
	for len(m.clock) > 0 && m.clock[0].at < m.now {
		first := m.clock[0]
		c := m.roster.at(first.slot)
		known := c != nil && c.due == first.at
		if known && c.next() <= first.at {
			return true
		}
		m.clock.pop()
		if known { // it asked again meanwhile
			c = m.roster.mutable(c)
			c.due = 0
			m.watch(c)
		}
	}
	return false
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

// before is the order of the heap.
func (x moment) before(y moment) bool {
	return x.at < y.at || x.at == y.at && x.slot < y.slot
}

func (e *expiries) push(x moment) {
	*e = append(*e, x)
	h := *e
	for i := len(h) - 1; i > 0 && h[i].before(h[(i-1)/2]); i = (i - 1) / 2 {
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
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(h[i]) {
			return first
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
