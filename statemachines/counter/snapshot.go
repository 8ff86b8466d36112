package counter

import (
	"cmp"
	"io"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	counterpb "github.com/drumline/drumline/drummerpb/counter"
	"github.com/drumline/drumline/statemachines/once"
	"github.com/drumline/drumline/statemachines/snapshot"
	"github.com/drumline/drumline/statemachines/wire"
)

// format is the version of the snapshot's format: the head, the peers, the idempotency
// keys, the counters by key. A new format gets the next number and Restore goes on
// reading this one. A group of behaviour version 1 has nothing of the second format in it,
// and programs that do not know that one may have to read its snapshots.
const (
	format       = 2
	simpleFormat = 1
)

func (v *view) write(w io.Writer) (int64, error) {
	number := uint64(simpleFormat)
	if v.modern {
		number = format
	}
	o := out{snapshot.NewWriter(w, Name, number), v.modern}
	o.head(&v.head)
	v.keys.WriteTo(o.Writer)
	o.Uvarint(uint64(v.order.Len()))
	v.order.Ascend(func(c *counter) bool {
		o.counter(c)
		return o.Err() == nil
	})
	return o.Close()
}

// out writes the parts of the state.
type out struct {
	*snapshot.Writer
	modern bool
}

func (o out) all(numbers ...uint64) {
	for _, n := range numbers {
		o.Uvarint(n)
	}
}

func (o out) origin(x origin) {
	o.Bytes([]byte(x.region))
	o.Uvarint(x.incarnation)
}

func (o out) head(h *head) {
	o.origin(h.self)
	o.all(h.wall, h.busy, h.version, h.forged, h.revision)
	s := h.settings
	o.all(protowire.EncodeBool(s.GetNoAutoCreate()), protowire.EncodeBool(s.GetBounded()), protowire.EncodeBool(s.GetOnlyUp()), s.GetMaxKeys(), s.GetRemember(), s.GetRememberMs())
	o.all(h.keep[:]...)
	if o.modern {
		o.all(s.GetForgetMs(), h.floor)
	}
	o.Uvarint(uint64(len(h.peers)))
	for _, p := range h.peers {
		o.origin(p.origin)
		o.all(p.version, p.wall, protowire.EncodeBool(p.retired), protowire.EncodeBool(p.past))
	}
}

func (o out) counter(c *counter) {
	o.Bytes([]byte(c.key))
	o.all(c.generation, protowire.EncodeBool(c.deleted), c.version, c.ours)
	if o.modern && c.deleted {
		o.all(c.grave.since, uint64(len(c.grave.seen)))
		for _, x := range c.grave.seen {
			o.origin(x)
		}
	}
	o.slot(&c.mine)
	o.Uvarint(uint64(len(c.others)))
	for i := range c.others {
		o.origin(c.others[i].origin)
		o.slot(&c.others[i])
	}
}

func (o out) slot(s *slot) {
	o.Uvarint(s.version)
	if s.version == 0 {
		return
	}
	if o.modern {
		o.Uvarint(s.generation)
	}
	o.all(s.ours, s.added, s.subtracted, s.baseAdded, s.baseSubtracted, uint64(len(s.given)))
	for _, g := range s.given {
		o.origin(g.to)
		o.Uvarint(g.amount)
	}
	for _, row := range s.windows {
		o.Uvarint(uint64(len(row)))
		for _, b := range row {
			o.all(b.number, b.added, b.subtracted)
		}
	}
}

// Restore implements statemachines.Machine.
func (m *Machine) Restore(r io.Reader) error {
	s, err := snapshot.NewReader(r, Name, format)
	if err != nil {
		return err
	}
	fresh := &Machine{epoch: 1}
	fresh.clear()
	fresh.modern = s.Version() >= format
	in := in{s, fresh}
	in.head()
	fresh.keys = once.Read(s)
	in.counters()
	if err := s.Close(); err != nil {
		return err
	}
	fresh.group = m.group // which a snapshot does not tell: a clone is of another group
	*m = *fresh
	return nil
}

// in reads the parts of the state. Nothing is believed: what could not have been written
// is rejected.
type in struct {
	*snapshot.Reader
	m *Machine
}

// upto reads a number that is at most so great.
func (i in) upto(limit uint64) uint64 {
	n := i.Uvarint()
	if n > limit {
		i.Reject("a number is %d, at most %d is possible", n, limit)
		return 0
	}
	return n
}

func (i in) bool() bool { return i.upto(1) == 1 }

// count reads a number of a slot.
func (i in) count() uint64 { return i.upto(math.MaxInt64) }

func (i in) origin() origin {
	o := origin{region: string(i.Bytes(MaxRegion)), incarnation: i.Uvarint()}
	if i.Err() == nil && checkOrigin(o.message()) != nil {
		i.Reject("an origin is none")
	}
	return o
}

func (i in) head() {
	m := i.m
	m.self = i.origin()
	m.wall, m.busy = i.upto(mostStamp), i.upto(mostStamp)
	m.version, m.forged = i.Uvarint(), i.Uvarint()
	revision := i.Uvarint()
	s := &counterpb.Settings{NoAutoCreate: i.bool(), Bounded: i.bool(), OnlyUp: i.bool(), MaxKeys: i.Uvarint(), Remember: i.Uvarint(), RememberMs: i.Uvarint()}
	for r := range resolutions {
		s.Keep = append(s.Keep, &counterpb.Keep{Resolution: counterpb.Resolution(r + 1), Windows: uint32(i.upto(maxWindows))})
	}
	if m.modern {
		s.ForgetMs, m.floor = i.Uvarint(), i.upto(math.MaxInt64+1)
	}
	if i.Err() == nil && (CheckSettings(s) != nil || s.GetMaxKeys() == 0 || s.GetRemember() == 0 || s.GetRememberMs() == 0 || m.modern && s.GetForgetMs() == 0) {
		i.Reject("its settings are none")
	}
	m.configureTo(revision, s)
	for n := i.Uvarint(); n > 0 && i.Err() == nil; n-- {
		p := peer{origin: i.origin(), version: i.Uvarint(), wall: i.upto(mostStamp), retired: i.bool(), past: i.bool()}
		if k := len(m.peers); i.Err() == nil && (k > 0 && compareOrigins(m.peers[k-1].origin, p.origin) >= 0 || p.origin == m.self) {
			i.Reject("an origin is out of order, or the group's own")
		}
		m.peers = append(m.peers, p)
	}
}

func (i in) counters() {
	var all []*counter
	for n := i.Uvarint(); n > 0 && i.Err() == nil; n-- {
		c := i.counter()
		if k := len(all); i.Err() == nil && (k > 0 && all[k-1].key >= c.key || wire.CheckKey(c.key) != nil) {
			i.Reject("a counter is out of order, or has no key")
		}
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b *counter) int { return cmp.Compare(a.ours, b.ours) })
	for k, c := range all {
		if i.Err() == nil && c.ours > 0 && k > 0 && all[k-1].ours == c.ours {
			i.Reject("two counters changed at once")
		}
		i.m.put(c)
		if c.ours > 0 {
			c.place = i.m.changed.PushBack(c)
		}
	}
	if i.Err() == nil {
		i.m.buryAll(all)
	}
}

func (i in) counter() *counter {
	c := &counter{key: string(i.Bytes(wire.MaxKey)), epoch: i.m.epoch, generation: i.upto(math.MaxInt64 + 1), deleted: i.bool(), version: i.Uvarint(), ours: i.Uvarint()}
	if c.deleted {
		i.grave(c)
	}
	i.slot(c, &c.mine)
	for n := i.Uvarint(); n > 0 && i.Err() == nil; n-- {
		s := slot{origin: i.origin()}
		i.slot(c, &s)
		if k := len(c.others); i.Err() == nil && (s.version == 0 || s.origin == i.m.self || k > 0 && compareOrigins(c.others[k-1].origin, s.origin) >= 0) {
			i.Reject("a slot is empty, out of order, or the group's own")
		}
		c.others = append(c.others, s)
	}
	newest, ours := max(c.ours, c.mine.version), c.mine.ours
	for k := range c.others {
		newest, ours = max(newest, c.others[k].version), max(ours, c.others[k].ours)
	}
	if i.Err() == nil && (c.version == 0 || c.version > i.m.version || newest > c.version || ours > c.ours || c.deleted && (c.mine.version > 0 || len(c.others) > 0)) {
		i.Reject("a counter's versions are none")
	}
	return c
}

// grave reads that of a deleted counter.
func (i in) grave(c *counter) {
	c.grave = &grave{}
	if !i.m.modern {
		return
	}
	c.grave.since = i.upto(mostStamp)
	for n := i.upto(maxSeen); n > 0 && i.Err() == nil; n-- {
		o := i.origin()
		if k := len(c.grave.seen); k > 0 && compareOrigins(c.grave.seen[k-1], o) >= 0 {
			i.Reject("origins that told of a delete are out of order")
		}
		c.grave.seen = append(c.grave.seen, o)
	}
}

// buryAll puts graves in their order.
func (m *Machine) buryAll(all []*counter) {
	all = slices.DeleteFunc(all, func(c *counter) bool { return !c.deleted })
	slices.SortFunc(all, func(a, b *counter) int {
		return cmp.Or(cmp.Compare(a.grave.since, b.grave.since), cmp.Compare(a.key, b.key))
	})
	for _, c := range all {
		c.grave.place = m.graves.PushBack(c.key)
	}
}

func (i in) slot(c *counter, s *slot) {
	if s.version = i.Uvarint(); s.version == 0 {
		return
	}
	if s.generation = c.generation; i.m.modern {
		if s.generation = i.upto(math.MaxInt64 + 1); s.generation < c.generation {
			i.Reject("a slot is of an earlier generation than its counter")
		}
	}
	s.ours = i.upto(s.version)
	s.added, s.subtracted = i.count(), i.count()
	s.baseAdded, s.baseSubtracted = i.upto(s.added), i.upto(s.subtracted)
	for n := i.Uvarint(); n > 0 && i.Err() == nil; n-- {
		g := given{to: i.origin(), amount: i.count()}
		if k := len(s.given); g.amount == 0 || k > 0 && compareOrigins(s.given[k-1].to, g.to) >= 0 {
			i.Reject("rights that were given are out of order, or none")
		}
		s.given = append(s.given, g)
	}
	for r := range s.windows {
		for n := i.upto(maxWindows + 1); n > 0 && i.Err() == nil; n-- {
			b := bucket{i.upto(mostStamp), i.count(), i.count()}
			if k := len(s.windows[r]); k > 0 && s.windows[r][k-1].number >= b.number {
				i.Reject("a window is out of order")
			}
			s.windows[r] = append(s.windows[r], b)
		}
	}
}
