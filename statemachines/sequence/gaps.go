package sequence

import (
	"cmp"
	"time"

	"github.com/google/btree"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
)

// gaps is what a gap-free sequence keeps of the numbers below next that are not
// committed. Numbers are known by their indexes.
type gaps struct {
	held *btree.BTreeG[hold] // reserved, by index
	ends *btree.BTreeG[hold] // the same, by the end of the reservation
	// vacant are the indexes that wait to be reserved again.
	vacant    *btree.BTreeG[uint64]
	committed uint64
}

// hold is one reserved number.
type hold struct {
	index, token uint64
	until        int64 // lease clock, nanoseconds; the reservation is over then
}

func newGaps() *gaps {
	return &gaps{
		held: btree.NewG(degree, func(a, b hold) bool { return a.index < b.index }),
		ends: btree.NewG(degree, func(a, b hold) bool {
			return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.index, b.index)) < 0
		}),
		vacant: btree.NewOrderedG[uint64](degree),
	}
}

// copied shares the trees' nodes until one of the two is changed.
func (g *gaps) copied() *gaps {
	if g == nil {
		return nil
	}
	return &gaps{held: g.held.Clone(), ends: g.ends.Clone(), vacant: g.vacant.Clone(), committed: g.committed}
}

// busy tells whether any number is neither committed nor still to come.
func (g *gaps) busy() bool { return g != nil && g.held.Len()+g.vacant.Len() > 0 }

// drop gives up every number that is not committed, and says how many there were.
func (g *gaps) drop() uint64 {
	if g == nil {
		return 0
	}
	n := uint64(g.held.Len() + g.vacant.Len())
	fresh := newGaps() // others may be reading the old trees
	fresh.committed = g.committed
	*g = *fresh
	return n
}

// sweep makes the numbers of reservations that are over vacant.
func (g *gaps) sweep(now int64) {
	for {
		first, found := g.ends.Min()
		if !found || first.until > now {
			return
		}
		g.remove(first)
		g.vacant.ReplaceOrInsert(first.index)
	}
}

func (g *gaps) add(h hold) {
	g.held.ReplaceOrInsert(h)
	g.ends.ReplaceOrInsert(h)
}

func (g *gaps) remove(h hold) {
	g.held.Delete(h)
	g.ends.Delete(h)
}

// gapFree is the gap-free sequence of a key, with no reservation that is over; or why not.
func (m *Machine) gapFree(key string) (*series, *sequencepb.Result) {
	x, refused := m.find(key)
	if refused != nil {
		return nil, refused
	}
	if x.gaps == nil {
		return nil, refuse(sequencepb.Outcome_OUTCOME_WRONG_MODE, "the sequence is not gap-free: ask it for the next numbers")
	}
	x.gaps.sweep(m.now)
	return x, nil
}

// reserve reserves the least number there is.
func (m *Machine) reserve(r *sequencepb.Reserve) *sequencepb.Result {
	x, refused := m.gapFree(r.GetKey())
	if refused == nil {
		refused = x.stranger(r.GetIncarnation())
	}
	if refused != nil {
		return refused
	}
	if x.gaps.held.Len() >= MaxReservations {
		return refuse(sequencepb.Outcome_OUTCOME_FULL, "%d numbers are reserved, which is all that can be: commit or cancel some", MaxReservations)
	}
	i, again := x.gaps.vacant.DeleteMin()
	if !again {
		if x.left() == 0 {
			return refuse(sequencepb.Outcome_OUTCOME_EXHAUSTED, "the sequence has no number left")
		}
		i = x.next
		x.next++
		x.count(1, m.now)
	}
	lease := x.reservation
	if r.GetForMs() > 0 {
		lease = int64(r.GetForMs()) * int64(time.Millisecond)
	}
	m.tokens++
	x.gaps.add(hold{index: i, token: m.tokens, until: m.now + lease})
	done := ok()
	done.Reservation = &sequencepb.Reservation{Number: x.number(i), Token: m.tokens, ForMs: uint64(lease / int64(time.Millisecond)), Incarnation: x.incarnation}
	return done
}

// finish commits a reserved number, or cancels the reservation.
func (m *Machine) finish(key string, number int64, token uint64, commit bool) *sequencepb.Result {
	x, refused := m.gapFree(key)
	if refused != nil {
		return refused
	}
	i, exact := x.indexOf(number)
	h, found := x.gaps.held.Get(hold{index: i})
	if !exact || !found || h.token != token {
		return refuse(sequencepb.Outcome_OUTCOME_NOT_HELD, "number %d is not reserved with this token: it may be over, and the number somebody else's", number)
	}
	x.gaps.remove(h)
	if commit {
		x.gaps.committed++
	} else {
		x.gaps.vacant.ReplaceOrInsert(i)
	}
	return ok()
}
