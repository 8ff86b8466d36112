package raft

import (
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/statemachines"
)

// Bounds of coalescing. A batch's age is bounded by the entries in flight: it waits
// only while all of them are.
const (
	// maxInFlight is the number of entries of a group that are proposed and not yet
	// applied; one is being written while the next one's commands gather.
	maxInFlight = 4
	// maxBatchCommands and maxBatchBytes bound one entry. A command larger than the
	// latter goes alone.
	maxBatchCommands = 1024
	maxBatchBytes    = 512 << 10
	// maxWaitingCommands and maxWaitingBytes bound what waits in a group; beyond
	// them callers are told that it is busy.
	maxWaitingCommands = 16 << 10
	maxWaitingBytes    = 32 << 20
)

// ticket is one caller's command on its way.
type ticket struct {
	cmd    []byte
	batch  *batch
	result statemachines.Result
	// left: the caller has gone; not proposed again, and not at all if still waiting.
	left bool
}

// batch is commands that go, or went, into one entry. Its replica's mutex guards
// it; done is closed when every ticket has its result, or err says why not.
type batch struct {
	tickets []*ticket
	bytes   int
	// control, unless nil, is an entry that goes alone instead of commands.
	control *machine.Entry
	// abandoned: the caller of the control entry has gone.
	abandoned bool
	// sealed: it is in an entry that was, or is about to be, proposed.
	sealed bool
	done   chan struct{}
	err    error
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// finish tells every caller.
func (b *batch) finish(err error) {
	b.err = err
	close(b.done)
}

// deliver hands each ticket its result and tells every caller.
func (b *batch) deliver(results []statemachines.Result) {
	for i, t := range b.tickets {
		t.result = results[i]
	}
	b.finish(nil)
}

// compact drops the tickets whose callers have left and tells whether any remains.
func (b *batch) compact() bool {
	if b.control != nil {
		return !b.abandoned
	}
	kept := b.tickets[:0]
	b.bytes = 0
	for _, t := range b.tickets {
		if !t.left {
			kept = append(kept, t)
			b.bytes += len(t.cmd)
		}
	}
	clear(b.tickets[len(kept):])
	b.tickets = kept
	return len(kept) > 0
}

// commands lists the commands, for the entry.
func (b *batch) commands() [][]byte {
	cmds := make([][]byte, len(b.tickets))
	for i, t := range b.tickets {
		cmds[i] = t.cmd
	}
	return cmds
}

// queue is the batches of a group that wait to be sealed, oldest first. Only the
// last one grows. Its replica's mutex guards it.
type queue struct {
	batches  []*batch
	commands int
	bytes    int
}

// full tells whether a command of that size must be refused.
func (q *queue) full(size int) bool {
	return q.commands >= maxWaitingCommands || q.bytes+size > maxWaitingBytes
}

// add puts a command into the last batch, or a new one.
func (q *queue) add(cmd []byte) *ticket {
	b := q.last()
	if b == nil || b.control != nil || len(b.tickets) >= maxBatchCommands || b.bytes+len(cmd) > maxBatchBytes {
		b = newBatch()
		q.batches = append(q.batches, b)
	}
	t := &ticket{cmd: cmd, batch: b}
	b.tickets = append(b.tickets, t)
	b.bytes += len(cmd)
	q.commands++
	q.bytes += len(cmd)
	return t
}

// addControl puts a control entry at the end; it counts as one command.
func (q *queue) addControl(e *machine.Entry) *batch {
	b := newBatch()
	b.control = e
	b.bytes = len(e.Load.Data)
	q.batches = append(q.batches, b)
	q.commands++
	q.bytes += b.bytes
	return b
}

func (q *queue) last() *batch {
	if len(q.batches) == 0 {
		return nil
	}
	return q.batches[len(q.batches)-1]
}

// weight is what a batch counts for in the queue's bounds.
func (b *batch) weight() int {
	if b.control != nil {
		return 1
	}
	return len(b.tickets)
}

// take removes the oldest batch that has a caller left.
func (q *queue) take() *batch {
	for len(q.batches) > 0 {
		b := q.batches[0]
		q.batches[0] = nil
		q.batches = q.batches[1:]
		q.commands -= b.weight()
		q.bytes -= b.bytes
		if b.compact() {
			return b
		}
	}
	return nil
}

// putBack returns a batch that was not applied to the front, without its callers
// that have left.
func (q *queue) putBack(b *batch) {
	b.sealed = false
	if !b.compact() {
		return
	}
	q.batches = append([]*batch{b}, q.batches...)
	q.commands += b.weight()
	q.bytes += b.bytes
}

// drain removes and returns everything.
func (q *queue) drain() []*batch {
	bs := q.batches
	*q = queue{}
	return bs
}
