package machine

import "sync/atomic"

// Limits of what is applied between two snapshots.
const (
	// entryBytes is what an entry takes in a log besides its command.
	entryBytes = 64
	// mostPile bounds the entries between two snapshots, in units of the least number: a
	// host that starts again applies them all.
	mostPile = 40
	// askAgain is how often another snapshot is asked for until the next is, if none comes.
	askAgain = 10
)

// pile is the log behind the last snapshot. A snapshot writes the whole state, so it is
// due when the log has grown as large as the state was: what snapshots cost for each entry
// does not grow with the state then, and a log takes no more of the disk than a snapshot.
type pile struct {
	// every is the least number of entries between two snapshots; 0: they are never due.
	every uint64
	// entries and bytes are what was applied since the last one was begun.
	entries, bytes uint64
	// asked is at how many entries the next snapshot is asked for again.
	asked uint64
	// state is how many bytes the last snapshot had; 0 before the first.
	state atomic.Uint64
}

// add counts an entry, and tells whether a snapshot is to be asked for.
func (p *pile) add(size int) bool {
	p.entries++
	p.bytes += entryBytes + uint64(size)
	switch {
	case p.every == 0 || p.entries < max(p.every, p.asked):
		return false
	case p.bytes < p.state.Load() && p.entries/mostPile < p.every:
		return false
	}
	p.asked = p.entries + p.every/askAgain + 1
	return true
}

// clear begins anew behind a snapshot.
func (p *pile) clear() { p.entries, p.bytes, p.asked = 0, 0, 0 }
