package coalesce

import (
	"slices"

	"github.com/drumline/drumline/internal/raft/machine"
)

// Bounds of what waits in a group; beyond them callers are told that it is busy.
const (
	MaxWaiting      = 16 << 10
	MaxWaitingBytes = 32 << 20
)

// Queue is the batches of a group that wait to be sealed, oldest first. Only the
// last one grows. The zero Queue is empty; Pool must be set.
type Queue struct {
	Pool *Pool

	batches  []*Batch
	commands int
	bytes    int
}

// Len is the number of commands that wait.
func (q *Queue) Len() int { return q.commands }

// Full tells whether commands of that size must be refused.
func (q *Queue) Full(size int) bool {
	return q.commands >= MaxWaiting || q.bytes+size > MaxWaitingBytes
}

// Add puts a command into the last batch, or a new one, and returns it with the
// command's number there. The caller releases the batch.
func (q *Queue) Add(cmd []byte) (*Batch, int) {
	b := q.open(1, len(cmd))
	return b, q.join(b, cmd)
}

// AddMany puts commands into one batch, in order, and returns it with the first
// one's number and how many it took: at least one. The caller releases the batch.
func (q *Queue) AddMany(cmds [][]byte) (b *Batch, first, n int) {
	n, size := prefix(cmds)
	b = q.open(n, size)
	first = b.Len()
	for _, cmd := range cmds[:n] {
		q.join(b, cmd)
	}
	b.refs.Add(int32(1 - n))
	return b, first, n
}

// prefix is how many of the commands go into one batch, and their bytes.
func prefix(cmds [][]byte) (n, size int) {
	for _, cmd := range cmds {
		if n > 0 && (n >= MaxCommands || size+len(cmd) > MaxBytes) {
			break
		}
		n, size = n+1, size+len(cmd)
	}
	return n, size
}

// open returns the last batch if so much fits into it, or a new one.
func (q *Queue) open(n, size int) *Batch {
	if len(q.batches) > 0 {
		if b := q.batches[len(q.batches)-1]; b.fits(n, size) {
			return b
		}
	}
	b := q.Pool.get()
	q.batches = append(q.batches, b)
	return b
}

// join adds a command to a batch and returns its number.
func (q *Queue) join(b *Batch, cmd []byte) int {
	before := len(b.body)
	b.add(cmd)
	b.refs.Add(1)
	q.commands++
	q.bytes += len(b.body) - before
	return len(b.ends) - 1
}

// AddControl puts a control entry at the end; it counts as one command. The caller
// releases the batch.
func (q *Queue) AddControl(e *machine.Entry) *Batch {
	b := q.Pool.get()
	b.control = e
	b.refs.Add(1)
	q.batches = append(q.batches, b)
	q.count(b, 1)
	return b
}

// count adds a batch to the bounds, or with -1 takes it off.
func (q *Queue) count(b *Batch, sign int) {
	q.commands += sign * b.weight()
	q.bytes += sign * b.size()
}

// Take removes the oldest batch that has a caller left; nil if there is none. The
// taker ends it.
func (q *Queue) Take() *Batch {
	for len(q.batches) > 0 {
		b := q.batches[0]
		q.batches = slices.Delete(q.batches, 0, 1)
		q.count(b, -1)
		if b.wanted() {
			return b
		}
		b.end()
	}
	return nil
}

// PutBack returns a batch that was taken and surely not applied to the front.
func (q *Queue) PutBack(b *Batch) {
	b.sealed = false
	if !b.wanted() {
		b.end()
		return
	}
	q.batches = slices.Insert(q.batches, 0, b)
	q.count(b, 1)
}

// Drain removes and returns everything.
func (q *Queue) Drain() []*Batch {
	all := q.batches
	q.batches, q.commands, q.bytes = nil, 0, 0
	return all
}
