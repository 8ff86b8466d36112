package lent

import (
	"cmp"

	"github.com/google/btree"
)

// Gaps is what a gap-free sequence keeps of the numbers below next that are not
// committed. Numbers are known by their indexes.
type Gaps struct {
	Held *btree.BTreeG[Hold] // reserved, by index
	ends *btree.BTreeG[Hold] // the same, by the end of the reservation
	// Vacant are the indexes that wait to be reserved again.
	Vacant *btree.BTreeG[uint64]
	// Committed is how many numbers were committed.
	Committed uint64
}

// Hold is one reserved number.
type Hold struct {
	Index, Token uint64
	Until        int64 // lease clock, nanoseconds; the reservation is over then
}

// NewGaps is of a sequence of which nothing is reserved.
func NewGaps() *Gaps {
	return &Gaps{
		Held: btree.NewG(degree, func(a, b Hold) bool { return a.Index < b.Index }),
		ends: btree.NewG(degree, func(a, b Hold) bool {
			return cmp.Or(cmp.Compare(a.Until, b.Until), cmp.Compare(a.Index, b.Index)) < 0
		}),
		Vacant: btree.NewOrderedG[uint64](degree),
	}
}

// Copied shares the trees' nodes until one of the two is changed.
func (g *Gaps) Copied() *Gaps {
	if g == nil {
		return nil
	}
	return &Gaps{Held: g.Held.Clone(), ends: g.ends.Clone(), Vacant: g.Vacant.Clone(), Committed: g.Committed}
}

// Busy tells whether any number is neither committed nor still to come.
func (g *Gaps) Busy() bool { return g != nil && g.Held.Len()+g.Vacant.Len() > 0 }

// Drop gives up every number that is not committed, and says how many there were.
func (g *Gaps) Drop() uint64 {
	if g == nil {
		return 0
	}
	n := uint64(g.Held.Len() + g.Vacant.Len())
	fresh := NewGaps() // others may be reading the old trees
	fresh.Committed = g.Committed
	*g = *fresh
	return n
}

// Sweep makes the numbers of reservations that are over vacant.
func (g *Gaps) Sweep(now int64) {
	for {
		first, found := g.ends.Min()
		if !found || first.Until > now {
			return
		}
		g.Remove(first)
		g.Vacant.ReplaceOrInsert(first.Index)
	}
}

// Add takes a reservation.
func (g *Gaps) Add(h Hold) {
	g.Held.ReplaceOrInsert(h)
	g.ends.ReplaceOrInsert(h)
}

// Remove forgets a reservation.
func (g *Gaps) Remove(h Hold) {
	g.Held.Delete(h)
	g.ends.Delete(h)
}
