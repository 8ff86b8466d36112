package sequence

import (
	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// mostMargin bounds what resumptions skip together, so that sums of margins fit.
const mostMargin = 1 << 63

// administer applies what only an administrator asks for.
func (m *Machine) administer(cmd *sequencepb.Command) *sequencepb.Result {
	switch op := cmd.GetOp().(type) {
	case *sequencepb.Command_Create:
		return m.create(op.Create)
	case *sequencepb.Command_Restart:
		return m.restart(op.Restart)
	case *sequencepb.Command_Set:
		return m.set(op.Set)
	case *sequencepb.Command_Drop:
		return m.drop(op.Drop)
	case *sequencepb.Command_Resume:
		return m.resume(op.Resume)
	case *sequencepb.Command_Configure:
		return m.configure(op.Configure)
	}
	return refuse(sequencepb.Outcome_OUTCOME_INVALID, "only a client can be closed: say which in caller")
}

func (m *Machine) create(c *sequencepb.Create) *sequencepb.Result {
	if m.at(c.GetKey()).exists() {
		return refuse(sequencepb.Outcome_OUTCOME_EXISTS, "there is a sequence %q", c.GetKey())
	}
	s := m.defaults
	if c.GetDefinition() != nil {
		s, _ = compile(c.GetDefinition()) // decode has checked it
	}
	x, refused := m.add(c.GetKey(), s)
	if refused != nil {
		return refused
	}
	r := ok()
	r.Incarnation = x.incarnation
	return r
}

// existing is a sequence that is there and open.
func (m *Machine) existing(key string) (series, *sequencepb.Result) {
	if !m.at(key).exists() {
		return series{}, refuse(sequencepb.Outcome_OUTCOME_NOT_FOUND, "there is no sequence %q", key)
	}
	return m.find(key)
}

func (m *Machine) restart(r *sequencepb.Restart) *sequencepb.Result {
	x, refused := m.existing(r.GetKey())
	if refused != nil {
		return refused
	}
	n := x.start
	if r.With != nil {
		n = r.GetWith()
	}
	return x.jump(n)
}

// jump lets a series go on with number n, as an administrator wants it.
func (x series) jump(n int64) *sequencepb.Result {
	switch {
	case x.logicalBits > 0 || x.timeBits > 0:
		return refuse(sequencepb.Outcome_OUTCOME_WRONG_MODE, "the numbers are made of time, and time does not jump")
	case !x.holds(n):
		return refuse(sequencepb.Outcome_OUTCOME_INVALID, "%d is not between min %d and max %d", n, x.min, x.max)
	}
	x.skipped += x.gaps.Drop()
	if x.left() > 0 {
		x.skipped += x.distance(n)
	}
	x.begin(n)
	return ok()
}

func (m *Machine) set(s *sequencepb.Set) *sequencepb.Result {
	x, refused := m.existing(s.GetKey())
	if refused != nil {
		return refused
	}
	if s.GetDefinition() == nil {
		if s.Next == nil {
			return ok()
		}
		return x.jump(s.GetNext())
	}
	shape, _ := compile(s.GetDefinition()) // decode has checked it
	if refused := x.resists(shape); refused != nil {
		return refused
	}
	if s.Next == nil {
		return x.become(shape, m.now)
	}
	if !shape.holds(s.GetNext()) || !shape.hands() {
		return refuse(sequencepb.Outcome_OUTCOME_INVALID, "%d is not a number that such a sequence can go on with", s.GetNext())
	}
	x.reshape(shape, m.now)
	x.begin(s.GetNext())
	return ok()
}

// resists says why a series cannot get another definition, or nil.
func (x series) resists(s *shape) *sequencepb.Result {
	const wrong = sequencepb.Outcome_OUTCOME_WRONG_MODE
	switch {
	case s.mode != x.mode && (!s.hands() || !x.hands()):
		return refuse(wrong, "a sequence of this mode stays one: drop it and create another")
	case s.scatterBits != x.scatterBits || s.logicalBits != x.logicalBits || s.timeBits != x.timeBits ||
		s.workerBits != x.workerBits || s.counterBits != x.counterBits || s.epochMS != x.epochMS:
		return refuse(wrong, "how numbers are put together cannot be changed: others would come again")
	case s.step != x.step && x.gaps.Busy():
		return refuse(wrong, "numbers are reserved, or wait to be reserved again, and belong to the old step")
	}
	return nil
}

// become gives a series another definition; it goes on with the number that is next.
func (x series) become(s *shape, now int64) *sequencepb.Result {
	at, more := x.upcoming(s.step)
	switch {
	case more && s.holds(at):
	case x.left() == 0:
		more = false // it was at its end, and the new one has nothing beyond
	default:
		return refuse(sequencepb.Outcome_OUTCOME_INVALID, "the next number, %d, is not between min %d and max %d: set it too", at, s.min, s.max)
	}
	same := s.step == x.step
	x.reshape(s, now)
	switch {
	case !more:
		x.size = x.next
	case same && s.room(at) <= mostNumbers-x.next:
		x.size = x.next + s.room(at) // indexes stay, and so do reservations
	case x.gaps.Busy():
		x.size = x.next
	default:
		x.begin(at)
	}
	return ok()
}

// upcoming is the number that would come next if the end were further away; false if
// there is none.
func (x series) upcoming(step int64) (int64, bool) {
	if x.left() > 0 {
		return x.number(x.next), true
	}
	last := x.number(x.next - 1) // the end was reached, so there was one
	at := last + step
	return at, (at > last) == (step > 0)
}

// hands tells whether numbers are handed out as they are counted.
func (s *shape) hands() bool {
	return s.mode == sequencepb.Mode_MODE_DENSE || s.mode == sequencepb.Mode_MODE_CACHED
}

func (m *Machine) drop(d *sequencepb.Drop) *sequencepb.Result {
	x := m.at(d.GetKey())
	if !x.exists() {
		return refuse(sequencepb.Outcome_OUTCOME_NOT_FOUND, "there is no sequence %q", d.GetKey())
	}
	m.book.Drop(x.id)
	return ok()
}

// resume opens what a recovery has closed.
func (m *Machine) resume(r *sequencepb.Resume) *sequencepb.Result {
	if r.Key != nil {
		return m.resumeOne(r)
	}
	if !m.closed {
		return refuse(sequencepb.Outcome_OUTCOME_CONFLICT, "the group is open")
	}
	m.closed = false
	m.margin += min(r.GetMargin(), mostMargin-m.margin)
	return ok()
}

func (m *Machine) resumeOne(r *sequencepb.Resume) *sequencepb.Result {
	x := m.at(r.GetKey())
	if !x.exists() {
		return refuse(sequencepb.Outcome_OUTCOME_NOT_FOUND, "there is no sequence %q", r.GetKey())
	}
	x = m.own(x)
	switch {
	case x.generation == m.generation:
		return refuse(sequencepb.Outcome_OUTCOME_CONFLICT, "sequence %q is open", r.GetKey())
	case r.Floor != nil && x.crew != nil:
		return refuse(sequencepb.Outcome_OUTCOME_WRONG_MODE, "the numbers are made of time: give a margin in milliseconds")
	}
	x.leap(m.margin - x.seen + r.GetMargin())
	if r.Floor != nil && x.left() > 0 {
		x.skip(x.distance(r.GetFloor()))
	}
	x.seen, x.generation = m.margin, m.generation
	return ok()
}

// configure takes newer settings. They are about sequences made from now on.
func (m *Machine) configure(c *sequencepb.Configure) *sequencepb.Result {
	if c.GetRevision() > m.revision {
		settings := c.GetSettings()
		if settings == nil {
			settings = &sequencepb.Settings{}
		}
		m.settle(c.GetRevision(), settings)
	}
	return ok()
}
