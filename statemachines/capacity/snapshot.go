package capacity

import (
	"io"
	"math"
	"slices"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity/exact"
	"github.com/drumline/drumline/statemachines/snapshot"
)

// format is the version of the snapshot's format: the header, the number of
// clients, then each client by slot. A new format gets the next number and Restore
// goes on reading this one. Sums, trees and expiries are made anew: they depend on
// the clients alone.
const format = 1

// maxDefinition bounds a definition's bytes, generously.
const maxDefinition = 256 << 10

// view is a frozen Machine.
type view struct {
	header
	pages   []*page
	clients int
}

var _ statemachines.View = (*view)(nil)

// Close implements statemachines.View.
func (v *view) Close() { v.pages = nil }

// WriteTo implements statemachines.View.
func (v *view) WriteTo(w io.Writer) (int64, error) {
	s := snapshot.NewWriter(w, Name, format)
	recovering := uint64(boolBit(v.recovering))
	for _, n := range []uint64{
		v.generation, v.n, uint64(v.now), v.lead, v.revision, uint64(v.longest),
		uint64(v.learningUntil), uint64(v.heldUntil), recovering,
		v.parent.lead, math.Float64bits(v.parent.capacity), uint64(v.parent.expires), math.Float64bits(v.parent.safeShare),
	} {
		s.Uvarint(n)
	}
	s.Bytes(v.raw)
	s.Uvarint(uint64(v.clients))
	eachOf(v.pages, 0, func(c *client) bool {
		c.write(s)
		return s.Err() == nil
	})
	return s.Close()
}

func (c *client) write(s *snapshot.Writer) {
	s.Uvarint(uint64(c.slot))
	s.Bytes([]byte(c.id))
	s.Uvarint(c.n)
	s.Uvarint(c.serial)
	s.Uvarint(uint64(len(c.bands)))
	for _, b := range c.bands {
		s.Uvarint(uint64(b.priority))
		s.Uvarint(uint64(b.weight))
		s.Uvarint(math.Float64bits(b.wants))
	}
	c.newest.write(s)
	s.Uvarint(uint64(c.olders))
	for _, o := range c.older[:c.olders] {
		o.write(s)
	}
}

func (l lease) write(s *snapshot.Writer) {
	s.Uvarint(math.Float64bits(l.capacity))
	s.Uvarint(uint64(l.expires))
}

// Restore implements statemachines.Machine.
func (m *Machine) Restore(r io.Reader) error {
	s, err := snapshot.NewReader(r, Name, format)
	if err != nil {
		return err
	}
	next := New()
	next.readHeader(s)
	n := s.Uvarint()
	if n > 0 && next.def == nil {
		s.Reject("there are clients and no definition")
	}
	for last := int64(-1); n > 0 && s.Err() == nil; n-- {
		c := readClient(s)
		if int64(c.slot) <= last || c.n > next.n || next.roster.byID[c.id] != nil {
			s.Reject("a client is out of order, or there twice, or newer than the whole")
		}
		last = int64(c.slot)
		if s.Err() == nil {
			next.adopt(c)
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	next.roster.fillFree()
	*m = *next
	return nil
}

func (m *Machine) readHeader(s *snapshot.Reader) {
	var h header
	h.generation, h.n = s.Uvarint(), s.Uvarint()
	h.now, h.lead = readTime(s), s.Uvarint()
	h.revision, h.longest = s.Uvarint(), readTime(s)
	h.learningUntil, h.heldUntil = readTime(s), readTime(s)
	h.recovering = s.Uvarint() == 1
	h.parent = parentLease{lead: s.Uvarint(), capacity: readAmount(s), expires: readTime(s), safeShare: readAmount(s)}
	h.raw = s.Bytes(maxDefinition)
	if h.revision > 0 && s.Err() == nil {
		def, err := readDefinition(h.raw)
		if err != nil {
			s.Reject("its definition: %v", err)
		}
		h.def = def
	}
	m.reset(h)
}

func readTime(s *snapshot.Reader) int64 {
	t := int64(s.Uvarint())
	if t < 0 {
		s.Reject("a time is negative")
	}
	return t
}

func readAmount(s *snapshot.Reader) float64 {
	v := math.Float64frombits(s.Uvarint())
	if !amount(v) || exact.Amount(v) != v {
		s.Reject("an amount is no amount")
		return 0
	}
	return v
}

func readLease(s *snapshot.Reader) lease { return lease{capacity: readAmount(s), expires: readTime(s)} }

func readClient(s *snapshot.Reader) *client {
	slot := s.Uvarint()
	c := &client{id: string(s.Bytes(MaxID)), n: s.Uvarint(), serial: s.Uvarint()}
	if slot >= MaxClients {
		s.Reject("a client has slot %d", slot)
		return c
	}
	c.slot = uint32(slot)
	for n := s.Uvarint(); n > 0 && s.Err() == nil; n-- {
		c.bands = append(c.bands, band{priority: int64(s.Uvarint()), weight: int64(s.Uvarint()), wants: readAmount(s)})
	}
	c.newest = readLease(s)
	olders := s.Uvarint()
	if olders > maxOlder {
		s.Reject("a client has %d older answers", olders)
		return c
	}
	for c.olders < int(olders) && s.Err() == nil {
		c.older[c.olders] = readLease(s)
		c.olders++
	}
	c.check(s)
	return c
}

// check refuses what the machine could not compute with.
func (c *client) check(s *snapshot.Reader) {
	q := request{id: []byte(c.id), bands: slices.Clone(c.bands)}
	err := q.check()
	if err == nil && !slices.Equal(q.bands, c.bands) {
		err = refusal("its bands are not in order")
	}
	if s.Err() == nil && err != nil {
		s.Reject("a client: %v", err)
	}
	c.wants, c.weight = q.wants, q.weight
}

// adopt takes a client in that was read back.
func (m *Machine) adopt(c *client) {
	m.roster.put(c)
	m.sums.wants.Add(c.wants)
	m.sums.weight += c.weight
	m.shares.add(c)
	m.reserve(c)
}
