// Package lent keeps what a sequence has lent for a time: the numbers that are reserved of
// a gap-free one, and the workers that are leased of one whose numbers are made of time; and
// what its quota still lends.
// Who may borrow is decided by the machine.
package lent

import (
	"cmp"

	"github.com/google/btree"
)

// degree of the trees.
const degree = 32

// Crew is the workers of a time sequence. What makes their numbers unique is not the
// lease but the window: a holder uses time stamps in (floor, ceiling] only, and the next
// holder's floor is not below that ceiling, whatever any clock says.
type Crew struct {
	Workers *btree.BTreeG[Worker] // by number
	ends    *btree.BTreeG[Worker] // the same, by the end of the lease
	// Fresh is how many workers were ever leased: the numbers from there on are new.
	Fresh uint64
	// High is the highest ceiling; Floor is that of workers never leased. Unix milliseconds.
	High, Floor uint64
}

// Worker is one number and its last lease.
type Worker struct {
	Number, Token uint64
	Until         int64  // lease clock, nanoseconds; others may have it from then on
	Ceiling       uint64 // Unix milliseconds
}

// NewCrew is a crew of whom nobody was leased yet.
func NewCrew() *Crew {
	return &Crew{
		Workers: btree.NewG(degree, func(a, b Worker) bool { return a.Number < b.Number }),
		ends: btree.NewG(degree, func(a, b Worker) bool {
			return cmp.Or(cmp.Compare(a.Until, b.Until), cmp.Compare(a.Number, b.Number)) < 0
		}),
	}
}

// Copied shares the trees' nodes until one of the two is changed.
func (c *Crew) Copied() *Crew {
	if c == nil {
		return nil
	}
	fresh := *c
	fresh.Workers, fresh.ends = c.Workers.Clone(), c.ends.Clone()
	return &fresh
}

// Raise keeps everybody away from what may have been used in a life before: all time
// stamps up to ms beyond the highest that is known.
func (c *Crew) Raise(ms uint64) {
	c.Floor = max(c.Floor, c.High+min(ms, 1<<61)) // far less than would overflow
	fresh := NewCrew()                            // the holders are of that life; and others may be reading the old trees
	fresh.High, fresh.Floor = c.High, c.Floor
	*c = *fresh
}

// Put takes a worker's new lease, in the place of the old one.
func (c *Crew) Put(w Worker) {
	if old, found := c.Workers.ReplaceOrInsert(w); found {
		c.ends.Delete(old)
	}
	c.ends.ReplaceOrInsert(w)
	c.Fresh = max(c.Fresh, w.Number+1)
}

// Free is a worker that nobody holds: a new one, or the one that was free for longest.
// Else it says how long it takes until one is.
func (c *Crew) Free(most uint64, now int64) (w Worker, wait int64) {
	if c.Fresh < most {
		return Worker{Number: c.Fresh}, 0
	}
	w, _ = c.ends.Min()
	return w, max(w.Until-now, 0)
}

// Leased is how many workers are leased now.
func (c *Crew) Leased(now int64) (n uint64) {
	c.ends.AscendGreaterOrEqual(Worker{Until: now + 1}, func(Worker) bool {
		n++
		return true
	})
	return n
}
