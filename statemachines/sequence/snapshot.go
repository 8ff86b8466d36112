package sequence

import (
	"cmp"
	"io"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines/sequence/lent"
	"github.com/drumline/drumline/statemachines/snapshot"
)

// format is the version of the snapshot's format: the head, the shapes that series
// share, the series by key, the clients by number. A new format gets the next number
// and Restore goes on reading this one.
const format = 1

// maxAnswer bounds an answer that is remembered; the longest is a refusal with a key in it.
const maxAnswer = 4096

func (v *view) write(w io.Writer) (int64, error) {
	o := out{snapshot.NewWriter(w, Name, format)}
	o.head(&v.head)
	shapes, table := v.shapes()
	o.Uvarint(uint64(len(table)))
	for _, s := range table {
		o.shape(s)
	}
	o.Uvarint(uint64(v.book.Len()))
	last, number := v.defaults, 0 // nearly all series of a family have one shape
	v.book.Ascend(func(key string, t *ties, n *numbers) bool {
		x := series{key: key, ties: t, numbers: n}
		if x.shape != last {
			last, number = x.shape, shapes[*x.shape]
		}
		o.Uvarint(uint64(number))
		o.series(x)
		return o.Err() == nil
	})
	o.Uvarint(uint64(v.numbers.Len()))
	v.numbers.Ascend(func(c *client) bool {
		o.client(c)
		return o.Err() == nil
	})
	return o.Close()
}

// shapes numbers the different shapes, those of the group's defaults first.
func (v *view) shapes() (map[shape]int, []*shape) {
	places, table, last := map[shape]int{*v.defaults: 0}, []*shape{v.defaults}, v.defaults
	v.book.Ascend(func(_ string, x *ties, _ *numbers) bool {
		if x.shape == last {
			return true
		}
		last = x.shape
		if _, known := places[*x.shape]; !known {
			places[*x.shape] = len(table)
			table = append(table, x.shape)
		}
		return true
	})
	return places, table
}

// out writes the parts of the state.
type out struct{ *snapshot.Writer }

func (o out) all(numbers ...uint64) {
	for _, n := range numbers {
		o.Uvarint(n)
	}
}

func (o out) signed(numbers ...int64) {
	for _, n := range numbers {
		o.Uvarint(protowire.EncodeZigZag(n))
	}
}

func (o out) head(h *head) {
	o.all(h.generation, protowire.EncodeBool(h.closed), h.margin, uint64(h.now), h.births, h.tokens, h.opened, h.steps)
	// The family came later, and is told above the bit that was there.
	o.all(h.revision, protowire.EncodeBool(h.settings.GetNoAutoCreate())|uint64(h.settings.GetFamily())<<1, h.settings.GetMaxKeys())
}

func (o out) shape(s *shape) {
	o.all(uint64(s.mode), protowire.EncodeBool(s.cycle), s.cache, s.maxRange, s.maxSkip, s.quota.Numbers)
	o.signed(s.step, s.start, s.min, s.max, s.quota.Period, s.reservation)
	o.all(uint64(s.scatterBits), uint64(s.logicalBits), uint64(s.timeBits), uint64(s.workerBits), uint64(s.counterBits), s.epochMS, s.leaseMS)
	o.Bytes([]byte(s.owner))
}

func (o out) series(x series) {
	o.Bytes([]byte(x.key))
	o.signed(x.base, x.window)
	o.all(x.next, x.size, x.incarnation, x.era, x.generation, x.seen)
	o.all(x.issued, x.returned, x.skipped, x.unused, x.lost, x.ranges, x.outstanding, x.current, x.previous)
	if b := &x.bucket; x.quota.Numbers > 0 {
		o.all(b.Tokens, b.Part, uint64(b.Filled))
	}
	if x.gaps != nil {
		o.gaps(x.gaps)
	}
	if x.crew != nil {
		o.crew(x.crew)
	}
}

func (o out) gaps(g *lent.Gaps) {
	o.all(g.Committed, uint64(g.Held.Len()))
	g.Held.Ascend(func(h lent.Hold) bool {
		o.all(h.Index, h.Token, uint64(h.Until))
		return true
	})
	o.Uvarint(uint64(g.Vacant.Len()))
	g.Vacant.Ascend(func(i uint64) bool {
		o.Uvarint(i)
		return true
	})
}

func (o out) crew(c *lent.Crew) {
	o.all(c.Fresh, c.High, c.Floor, uint64(c.Workers.Len()))
	c.Workers.Ascend(func(w lent.Worker) bool {
		o.all(w.Number, w.Token, uint64(w.Until), w.Ceiling)
		return true
	})
}

func (o out) client(c *client) {
	o.all(c.number, c.nonce, c.floor, c.step, uint64(len(c.records)))
	for i := range c.records {
		r := &c.records[i]
		o.all(r.serial, r.mark, r.value)
		o.Bytes(r.answer)
		o.Uvarint(r.held.granted)
		if r.held.granted > 0 {
			o.Bytes([]byte(r.held.key))
			o.all(r.held.incarnation, r.held.era, r.held.index, r.held.count)
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
	in := in{s, fresh}
	in.head()
	table := in.shapes()
	in.series(table)
	in.clients()
	if err := s.Close(); err != nil {
		return err
	}
	fresh.group = m.group // which a snapshot does not tell: a clone is of another group
	fresh.spare = m.spare
	*m = *fresh
	return nil
}

// in reads the parts of the state. Nothing is believed: what could not have been written
// is rejected.
type in struct {
	*snapshot.Reader
	m *Machine
}

func (i in) signed() int64 { return protowire.DecodeZigZag(i.Uvarint()) }

func (i in) bool() bool {
	n := i.Uvarint()
	if n > 1 {
		i.Reject("a yes or no is %d", n)
	}
	return n == 1
}

func (i in) small(limit uint64) uint32 {
	n := i.Uvarint()
	if n > limit {
		i.Reject("a number is %d, at most %d is possible", n, limit)
		return 0
	}
	return uint32(n)
}

// time is a moment of the lease clock, which begins at 0.
func (i in) time() int64 {
	n := int64(i.Uvarint())
	if n < 0 {
		i.Reject("a time is negative")
	}
	return n
}

func (i in) numbers(to ...*uint64) {
	for _, p := range to {
		*p = i.Uvarint()
	}
}

func (i in) head() {
	m := i.m
	i.numbers(&m.generation)
	m.closed = i.bool()
	i.numbers(&m.margin)
	if m.margin > mostMargin {
		i.Reject("its margin is too large")
	}
	m.now = i.time()
	i.numbers(&m.births, &m.tokens, &m.opened, &m.steps, &m.revision)
	flags := i.small(1 | uint64(mostFamily)<<1)
	m.settings = &sequencepb.Settings{NoAutoCreate: flags&1 == 1, Family: sequencepb.Family(flags >> 1), MaxKeys: i.Uvarint()}
	if m.settings.GetMaxKeys() == 0 {
		i.Reject("it may hold no sequence")
	}
}

// shapes reads the table; the first is the group's defaults. A shape must be what its
// own definition makes.
func (i in) shapes() []*shape {
	var table []*shape
	seen := map[shape]bool{}
	for n := i.Uvarint(); n > 0 && i.Err() == nil; n-- {
		s := i.shape()
		same, err := compile(s.definition())
		if i.Err() == nil && (err != nil || *same != *s || seen[*s]) {
			i.Reject("a definition is none")
		}
		seen[*s] = true
		table = append(table, s)
	}
	if len(table) == 0 {
		i.Reject("it has no definition")
	}
	if i.Err() != nil {
		return nil
	}
	i.m.settings.Defaults = table[0].definition()
	i.m.settle(i.m.revision, i.m.settings)
	table[0] = i.m.defaults
	return table
}

func (i in) shape() *shape {
	s := &shape{mode: sequencepb.Mode(i.small(64)), cycle: i.bool()}
	i.numbers(&s.cache, &s.maxRange, &s.maxSkip, &s.quota.Numbers)
	for _, p := range []*int64{&s.step, &s.start, &s.min, &s.max, &s.quota.Period, &s.reservation} {
		*p = i.signed()
	}
	for _, p := range []*uint32{&s.scatterBits, &s.logicalBits, &s.timeBits, &s.workerBits, &s.counterBits} {
		*p = i.small(63)
	}
	i.numbers(&s.epochMS, &s.leaseMS)
	s.owner = string(i.Bytes(MaxOwner))
	return s
}

func (i in) series(table []*shape) {
	last, used := "", 1
	for n, first := i.Uvarint(), true; n > 0 && i.Err() == nil; n, first = n-1, false {
		at := i.Uvarint()
		if i.Err() != nil || at > uint64(used) || at >= uint64(len(table)) {
			i.Reject("a sequence's definition is missing, or out of order")
			return
		}
		if int(at) == used {
			used++ // shapes are numbered as they come up
		}
		key := string(i.Bytes(MaxKey))
		if i.Err() == nil && ((!first && key <= last) || CheckKey(key) != nil) {
			i.Reject("a sequence is out of order")
		}
		if i.Err() != nil {
			return
		}
		last = key
		i.one(i.m.one(i.m.book.Add(key)), table[at])
	}
	if i.Err() == nil && used != len(table) {
		i.Reject("a definition is nobody's")
	}
}

func (i in) one(x series, s *shape) {
	x.base, x.window = i.signed(), i.signed()
	i.numbers(&x.next, &x.size, &x.incarnation, &x.era, &x.generation, &x.seen)
	i.numbers(&x.issued, &x.returned, &x.skipped, &x.unused, &x.lost, &x.ranges, &x.outstanding, &x.current, &x.previous)
	switch {
	case x.next > x.size:
		i.Reject("a sequence is beyond its end")
	case x.seen > i.m.margin:
		i.Reject("a sequence has skipped more than its group")
	}
	x.reshape(s, 0)
	if b := &x.bucket; x.quota.Numbers > 0 {
		b.Tokens, b.Part, b.Filled = i.Uvarint(), i.Uvarint(), i.time()
		if b.Tokens > x.quota.Numbers || b.Part >= uint64(x.quota.Period) || b.Filled > i.m.now {
			i.Reject("a quota is more than full")
		}
	}
	if x.gaps != nil {
		i.gaps(x)
	}
	if x.crew != nil {
		i.crew(x)
	}
}

func (i in) gaps(x series) {
	g := x.gaps
	g.Committed = i.Uvarint()
	next := uint64(0) // the least index that may follow
	for n := i.Uvarint(); n > 0 && i.Err() == nil; n-- {
		h := lent.Hold{Index: i.Uvarint(), Token: i.Uvarint(), Until: i.time()}
		if h.Index < next || h.Index >= x.next {
			i.Reject("a reservation is out of order, or of no number")
		}
		g.Add(h)
		next = h.Index + 1
	}
	next = 0
	for n := i.Uvarint(); n > 0 && i.Err() == nil; n-- {
		v := i.Uvarint()
		if _, both := g.Held.Get(lent.Hold{Index: v}); both || v < next || v >= x.next {
			i.Reject("a vacant number is out of order, reserved, or none")
		}
		g.Vacant.ReplaceOrInsert(v)
		next = v + 1
	}
}

func (i in) crew(x series) {
	c := x.crew
	fresh := i.Uvarint()
	i.numbers(&c.High, &c.Floor)
	next := uint64(0)
	for n := i.Uvarint(); n > 0 && i.Err() == nil; n-- {
		w := lent.Worker{Number: i.Uvarint(), Token: i.Uvarint(), Until: i.time(), Ceiling: i.Uvarint()}
		if w.Number != next || w.Ceiling > c.High {
			i.Reject("a worker is out of order, or beyond all others")
		}
		c.Put(w)
		next++
	}
	if i.Err() == nil && (fresh != c.Fresh || fresh > 1<<x.workerBits) {
		i.Reject("the workers are not those that were leased")
	}
}

func (i in) clients() {
	var all []*client
	last := uint64(0)
	for n := i.Uvarint(); n > 0 && i.Err() == nil; n-- {
		c := &client{epoch: i.m.epoch}
		i.numbers(&c.number, &c.nonce, &c.floor, &c.step)
		i.records(c)
		if c.number <= last || c.number > i.m.opened || c.step > i.m.steps {
			i.Reject("a client is out of order, or newer than the whole")
		}
		last = c.number
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b *client) int { return cmp.Compare(a.step, b.step) })
	for _, c := range all {
		i.m.admit(c)
	}
}

func (i in) records(c *client) {
	last := c.floor
	n := i.Uvarint()
	if n > MaxAnswers {
		i.Reject("a client has %d answers", n)
	}
	for ; n > 0 && i.Err() == nil; n-- {
		r := record{serial: i.Uvarint(), mark: i.Uvarint(), value: i.Uvarint(), answer: i.Bytes(maxAnswer)}
		if r.held.granted = i.Uvarint(); r.held.granted > 0 {
			r.held.key = i.key()
			r.held.hash = i.m.book.Hash(r.held.key)
			i.numbers(&r.held.incarnation, &r.held.era, &r.held.index, &r.held.count)
		}
		if r.serial <= last || r.held.count > r.held.granted {
			i.Reject("an answer is out of order, or about more than was handed out")
		}
		last = r.serial
		c.records = append(c.records, r)
		i.m.answers++
	}
}

// key reads a key; the memory is shared with the sequence of that key, if there is one.
func (i in) key() string {
	k := i.Bytes(MaxKey)
	if x := i.m.at(string(k)); x.exists() {
		return x.key
	}
	return string(k)
}
