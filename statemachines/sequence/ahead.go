package sequence

import (
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence/pages"
	"github.com/drumline/drumline/statemachines/sequence/plain"
)

// In a large family each command waits for memory: for the slot of its key, then for the
// sequence, then for the key itself, one after the other. Commands come in batches, and
// what a batch is about is fetched for many commands at once before the first of them is
// applied, so that the waits overlap. Nothing is decided here: a command that was looked at
// is applied as any other.
const (
	// aheadKeys is from how many sequences on this is worth what it costs: fewer are in
	// the processor's caches.
	aheadKeys = 4096
	// aheadLeast is how many commands there must be, aheadMost how many are looked at
	// at once: what they touch fits the first cache.
	aheadLeast, aheadMost = 4, 64
)

// ahead is what looking ahead uses again and again.
type ahead struct {
	// hashes are of what commands want, and of what their clients have in hand.
	hashes [2 * aheadMost]uint64
	found  [2 * aheadMost]pages.ID
	// touched makes a use of what is read only to be fetched.
	touched uint64
}

// lookAhead fetches what commands are about.
func (m *Machine) lookAhead(batch []statemachines.Command) {
	if m.book.Len() < aheadKeys || len(batch) < aheadLeast {
		return
	}
	if m.spare.ahead == nil {
		m.spare.ahead = &ahead{}
	}
	a := m.spare.ahead
	hashes := a.hashes[:0]
	for i := range batch {
		key, number, ok := plain.Peek(batch[i].Data)
		if !ok {
			continue
		}
		hashes = append(hashes, m.book.HashOf(key))
		// A range that is settled goes out of the account of its sequence.
		if c := m.clients[number]; c != nil && len(c.records) > 0 && c.records[0].held.granted > 0 {
			hashes = append(hashes, c.records[0].held.hash)
		}
	}
	a.fetch(m, hashes)
}

func (a *ahead) fetch(m *Machine, hashes []uint64) {
	found := a.found[:len(hashes)]
	a.touched += m.book.Ahead(hashes, found)
	for _, id := range found {
		if id == 0 {
			continue
		}
		if t, x := m.book.Row(id); t.gaps == nil { // one of each line that handing out touches
			a.touched += x.next + x.previous
		}
	}
	for _, id := range found {
		if id == 0 {
			continue
		}
		if key := m.book.Key(id); key != "" {
			a.touched += uint64(key[0])
		}
	}
}
