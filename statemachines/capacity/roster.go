package capacity

import "slices"

// pageSize is how many clients share a page: large enough that the list of pages
// is short, small enough that a page is copied in a moment.
const pageSize = 256

// page of clients by slot. A page is written only in the epoch it was made in.
type page struct {
	epoch   uint64
	clients [pageSize]*client
}

// roster finds clients by id and by slot. Slots are dense: a new client gets the
// lowest that is free, so that they depend on who holds which, and on nothing else.
// Freezing begins a new epoch: pages and clients of an epoch before are copied when
// they are changed, so whoever froze them keeps what there was.
type roster struct {
	byID  map[string]*client
	pages []*page
	free  slots
	epoch uint64
}

func newRoster() roster { return roster{byID: make(map[string]*client), epoch: 1} }

// freeze returns the pages as they are, for ever.
func (r *roster) freeze() []*page {
	r.epoch++
	return slices.Clone(r.pages)
}

// at returns the client in a slot, or nil.
func (r *roster) at(slot uint32) *client {
	if int(slot/pageSize) >= len(r.pages) {
		return nil
	}
	return r.pages[slot/pageSize].clients[slot%pageSize]
}

// each visits all clients by slot.
func (r *roster) each(visit func(c *client)) { eachOf(r.pages, 0, visitAll(visit)) }

func visitAll(visit func(c *client)) func(c *client) bool {
	return func(c *client) bool {
		visit(c)
		return true
	}
}

// eachOf visits the clients of pages from a slot on, while visit says so.
func eachOf(pages []*page, from uint32, visit func(c *client) bool) {
	for i := int(from / pageSize); i < len(pages); i++ {
		first := 0
		if i == int(from/pageSize) {
			first = int(from % pageSize)
		}
		for _, c := range pages[i].clients[first:] {
			if c != nil && !visit(c) {
				return
			}
		}
	}
}

// mutable returns the copy of c that may be written in this epoch.
func (r *roster) mutable(c *client) *client {
	if c.epoch == r.epoch {
		return c
	}
	own := *c
	own.epoch = r.epoch
	own.setBands(c.bands)
	r.set(&own)
	return &own
}

// add gives a client a slot.
func (r *roster) add(id string) *client {
	slot, ok := r.free.pop()
	if !ok {
		slot = uint32(len(r.byID)) // all slots below are taken
	}
	c := &client{id: id, slot: slot, epoch: r.epoch}
	r.set(c)
	return c
}

// put places a client in the slot that it had; for a roster that is read back.
func (r *roster) put(c *client) {
	c.epoch = r.epoch
	r.set(c)
}

// remove forgets a client.
func (r *roster) remove(c *client) {
	r.writable(c.slot).clients[c.slot%pageSize] = nil
	delete(r.byID, c.id)
	r.free.push(c.slot)
}

func (r *roster) set(c *client) {
	r.writable(c.slot).clients[c.slot%pageSize] = c
	r.byID[c.id] = c
}

// writable is the page of a slot, made or copied if need be.
func (r *roster) writable(slot uint32) *page {
	at := int(slot / pageSize)
	for len(r.pages) <= at {
		r.pages = append(r.pages, &page{epoch: r.epoch})
	}
	p := r.pages[at]
	if p.epoch != r.epoch {
		own := *p
		own.epoch = r.epoch
		p = &own
		r.pages[at] = p
	}
	return p
}

// fillFree finds the free slots below the last that is taken, after reading back.
func (r *roster) fillFree() {
	r.free = nil
	left := len(r.byID)
	for slot := uint32(0); left > 0; slot++ {
		if r.at(slot) == nil {
			r.free.push(slot)
		} else {
			left--
		}
	}
}

// slots is a heap of free slots, the lowest first.
type slots []uint32

func (s *slots) push(slot uint32) {
	*s = append(*s, slot)
	h := *s
	for i := len(h) - 1; i > 0 && h[(i-1)/2] > h[i]; i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
}

func (s *slots) pop() (uint32, bool) {
	h := *s
	if len(h) == 0 {
		return 0, false
	}
	least, last := h[0], len(h)-1
	h[0], *s = h[last], h[:last]
	h = *s
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(h) {
			return least, true
		}
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if h[i] <= h[child] {
			return least, true
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
