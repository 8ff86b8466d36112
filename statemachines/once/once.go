// Package once is a bounded, replicated memory of commands under idempotency keys: a
// command that comes again under its key is answered, not applied.
//
// What falls out of the memory is decided by the log alone: the oldest key when there
// are too many, and every key that is too old. A key that says when it was made is
// refused from then on, so a late retry is never applied a second time. A key that does
// not say so is dated by its arrival, and is new again when it is forgotten.
package once

import (
	"cmp"

	"github.com/google/btree"

	"github.com/drumline/drumline/statemachines/snapshot"
)

// degree of the tree.
const degree = 32

// Key is an idempotency key.
type Key struct{ High, Low uint64 }

// Entry is a command that was applied.
type Entry struct {
	Key Key
	// Made is when the key was made, in the caller's unit of time. Dated tells that the
	// key said so itself.
	Made  uint64
	Dated bool
	// Mark is of the command's bytes: the same key with another command is a mistake.
	Mark uint64
	// Value and Version are the answer.
	Value   int64
	Version uint64
}

func before(a, b Entry) bool {
	return cmp.Or(cmp.Compare(a.Made, b.Made), cmp.Compare(a.Key.High, b.Key.High), cmp.Compare(a.Key.Low, b.Key.Low)) < 0
}

// Verdict is what the memory knows of a key.
type Verdict int

// Verdicts.
const (
	// Fresh is a key under which nothing was applied.
	Fresh Verdict = iota
	// Known is one whose command was applied.
	Known
	// Conflict is one under which another command was applied.
	Conflict
	// TooOld is one that may have been forgotten.
	TooOld
)

// Memory remembers commands. It is not safe for use from several goroutines; a View of it
// may be read beside it.
type Memory struct {
	View
	places map[Key]uint64 // when each key was made
}

// View is a frozen Memory.
type View struct {
	order *btree.BTreeG[Entry]
	// horizon is the age up to which dated keys are refused.
	horizon uint64
}

// New makes an empty Memory.
func New() *Memory {
	return &Memory{View: View{order: btree.NewG(degree, before)}, places: map[Key]uint64{}}
}

// Len is how many keys are remembered.
func (v *View) Len() int { return v.order.Len() }

// Freeze returns the Memory as it is now; it takes O(1).
func (m *Memory) Freeze() View { return View{order: m.order.Clone(), horizon: m.horizon} }

// Find tells what is known of the key of a command that is about to be applied.
func (m *Memory) Find(e Entry) (Entry, Verdict) {
	made, known := m.places[e.Key]
	if !known {
		if e.Dated && e.Made <= m.horizon {
			return Entry{}, TooOld
		}
		return Entry{}, Fresh
	}
	old, _ := m.order.Get(Entry{Key: e.Key, Made: made})
	if old.Mark != e.Mark {
		return old, Conflict
	}
	return old, Known
}

// Remember keeps a command that was applied under a fresh key, and at most limit in all.
func (m *Memory) Remember(e Entry, limit uint64) {
	m.put(e)
	for uint64(m.order.Len()) > limit {
		m.forget()
	}
}

func (m *Memory) put(e Entry) {
	m.places[e.Key] = e.Made
	m.order.ReplaceOrInsert(e)
}

// Expire forgets what was made up to then.
func (m *Memory) Expire(until uint64) {
	for {
		oldest, ok := m.order.Min()
		if !ok || oldest.Made > until {
			break
		}
		m.forget()
	}
	m.horizon = max(m.horizon, until)
}

func (m *Memory) forget() {
	e, _ := m.order.DeleteMin()
	delete(m.places, e.Key)
	if e.Dated {
		m.horizon = max(m.horizon, e.Made)
	}
}

// WriteTo writes what is remembered into a snapshot.
func (v *View) WriteTo(w *snapshot.Writer) {
	w.Uvarint(v.horizon)
	w.Uvarint(uint64(v.order.Len()))
	v.order.Ascend(func(e Entry) bool {
		dated := uint64(0)
		if e.Dated {
			dated = 1
		}
		for _, n := range []uint64{e.Made, e.Key.High, e.Key.Low, dated, e.Mark, uint64(e.Value), e.Version} {
			w.Uvarint(n)
		}
		return w.Err() == nil
	})
}

// Read reads what WriteTo wrote. Nothing is believed.
func Read(r *snapshot.Reader) *Memory {
	m := New()
	m.horizon = r.Uvarint()
	var last Entry
	for n, first := r.Uvarint(), true; n > 0 && r.Err() == nil; n, first = n-1, false {
		e := Entry{Made: r.Uvarint(), Key: Key{r.Uvarint(), r.Uvarint()}}
		dated := r.Uvarint()
		e.Dated, e.Mark, e.Value, e.Version = dated == 1, r.Uvarint(), int64(r.Uvarint()), r.Uvarint()
		_, twice := m.places[e.Key]
		if !first && !before(last, e) || dated > 1 || twice {
			r.Reject("an idempotency key is out of order, or there twice")
			return m
		}
		last = e
		m.put(e)
	}
	return m
}
