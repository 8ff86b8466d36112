package capacity

// expiries is a heap of the moments at which answers of clients end, one for each client,
// the earliest first, and of one moment the lowest slot. It says what the clients say,
// and nothing of how they came to it, so a replica that was restored from a snapshot
// ends leases in the same order. A client that asks again has its moment moved at
// once: were that left until the moment has come, a crowd of clients that asked again could
// hold up the one entry with which it comes for as long as there are clients.
type expiries struct {
	heap []moment
	// places of the slots' moments in the heap, from 1; 0 for none.
	places []uint32
}

type moment struct {
	at   int64
	slot uint32
}

// perStep bounds the leases that end when time goes on by one entry of the log: a million at
// once would hold it up for seconds. So many cost a few milliseconds, and tens of them on a
// machine that has ten times as much to do as it can. Those that are left over count as held until the next
// entries; the client whose lease it is finds it ended, and those who have to wait for them are
// told to ask again soon. It is part of the behaviour version.
const perStep = 1 << 11

// expire ends the leases whose last instant is past, the first of them if they are many.
func (m *Machine) expire() {
	for ended := 0; ended < perStep && m.overdue(); ended++ {
		m.settle(m.roster.mutable(m.roster.at(m.clock.heap[0].slot)))
	}
}

// overdue tells whether some answer's last instant is past; the first of them is on top of the
// heap then.
func (m *Machine) overdue() bool { return len(m.clock.heap) > 0 && m.clock.heap[0].at < m.now }

// settle forgets what ended, and the client when nothing is left.
func (m *Machine) settle(c *client) {
	if c.end(m.now) {
		m.forget(c)
		return
	}
	m.reserve(c)
}

// before is the order of the heap.
func (x moment) before(y moment) bool {
	return x.at < y.at || x.at == y.at && x.slot < y.slot
}

// set gives a slot its moment, whether it had one or not.
func (e *expiries) set(x moment) {
	if missing := int(x.slot) + 1 - len(e.places); missing > 0 {
		e.places = append(e.places, make([]uint32, missing)...)
	}
	place := e.places[x.slot]
	switch {
	case place == 0:
		e.heap = append(e.heap, x)
		e.rise(len(e.heap) - 1)
	case e.heap[place-1] != x:
		e.heap[place-1] = x
		e.sink(e.rise(int(place - 1)))
	}
}

// drop forgets a slot's moment.
func (e *expiries) drop(slot uint32) {
	place := int(e.places[slot]) - 1
	last := len(e.heap) - 1
	e.places[slot] = 0
	moved := e.heap[last]
	if e.heap = e.heap[:last]; place < last {
		e.heap[place] = moved
		e.sink(e.rise(place))
	}
}

// rise moves what is at i up to its place, and returns that.
func (e *expiries) rise(i int) int {
	x := e.heap[i]
	for i > 0 && x.before(e.heap[(i-1)/2]) {
		e.put(i, e.heap[(i-1)/2])
		i = (i - 1) / 2
	}
	e.put(i, x)
	return i
}

// sink moves what is at i down to its place.
func (e *expiries) sink(i int) {
	x := e.heap[i]
	for {
		child := 2*i + 1
		if child+1 < len(e.heap) && e.heap[child+1].before(e.heap[child]) {
			child++
		}
		if child >= len(e.heap) || !e.heap[child].before(x) {
			break
		}
		e.put(i, e.heap[child])
		i = child
	}
	e.put(i, x)
}

func (e *expiries) put(i int, x moment) {
	e.heap[i] = x
	e.places[x.slot] = uint32(i) + 1
}
