package coalesce

import (
	"sync"
	"sync/atomic"

	"github.com/drumline/drumline/internal/must"
	"github.com/drumline/drumline/internal/raft/machine"
	"github.com/drumline/drumline/statemachines"
)

// Bounds of one entry. A command larger than MaxBytes goes alone.
const (
	MaxCommands = 1024
	MaxBytes    = 512 << 10
)

// Batch is commands that go, or went, into one entry, or one control entry.
type Batch struct {
	pool *Pool
	// refs counts who may still look at it.
	refs atomic.Int32
	// control, unless nil, goes alone instead of commands.
	control *machine.Entry
	// body is the encoded commands, ends where each of them ends in it.
	body []byte
	ends []int
	// left marks commands whose callers have gone: not proposed again, and not at all
	// if still waiting. It is empty as long as nobody has.
	left map[int]bool
	// sealed: it is in an entry that was, or is about to be, proposed. sent are the
	// numbers of the commands in that entry; nil means all of them.
	sealed bool
	sent   []int

	// done is closed when results and err are there.
	done    chan struct{}
	results []statemachines.Result
	err     error
}

// Pool keeps batches for another use.
type Pool struct{ spare sync.Pool }

// maxSpareBytes keeps a batch with a huge command from being kept for ever.
const maxSpareBytes = 2 * MaxBytes

func (p *Pool) get() *Batch {
	b, ok := p.spare.Get().(*Batch)
	if !ok {
		b = &Batch{pool: p}
	}
	b.done = make(chan struct{})
	b.refs.Store(1)
	return b
}

// put takes a batch that nobody looks at any more.
func (p *Pool) put(b *Batch) {
	if cap(b.body) > maxSpareBytes {
		return
	}
	clear(b.results) // they point to what machines answered
	b.control, b.err, b.done, b.left, b.sealed, b.sent = nil, nil, nil, nil, false, nil
	b.body, b.ends, b.results = b.body[:0], b.ends[:0], b.results[:0]
	p.spare.Put(b)
}

// Retain says that somebody more looks at the batch; it is held already.
func (b *Batch) Retain() { b.refs.Add(1) }

// Release says that a caller does not look at the batch again.
func (b *Batch) Release() {
	if b.refs.Add(-1) == 0 {
		b.pool.put(b)
	}
}

// Done is closed when the batch has its results.
func (b *Batch) Done() <-chan struct{} { return b.done }

// Err tells, after Done, why there are no results; nil means that there are.
func (b *Batch) Err() error { return b.err }

// Result is, after Done and without Err, the result of the command of that number.
func (b *Batch) Result(i int) statemachines.Result { return b.results[i] }

// Sealed tells whether it may be in the log already.
func (b *Batch) Sealed() bool { return b.sealed }

// Control is the control entry that goes alone, or nil.
func (b *Batch) Control() *machine.Entry { return b.control }

// Len is the number of commands.
func (b *Batch) Len() int { return len(b.ends) }

// Leave marks n commands from the one of that number as unwanted; of a control entry
// n is 1.
func (b *Batch) Leave(from, n int) {
	if b.left == nil {
		b.left = make(map[int]bool)
	}
	for i := range n {
		b.left[from+i] = true
	}
}

// Deliver gives every caller its result; of a control entry there is none. results
// are copied.
func (b *Batch) Deliver(results []statemachines.Result) {
	switch {
	case b.control != nil:
	case b.sent == nil:
		must.Hold(len(results) == len(b.ends), "%d results for %d commands", len(results), len(b.ends))
		b.results = append(b.results[:0], results...)
	default:
		must.Hold(len(results) == len(b.sent), "%d results for %d commands", len(results), len(b.sent))
		b.results = make([]statemachines.Result, len(b.ends))
		for i, number := range b.sent {
			b.results[number] = results[i]
		}
	}
	b.end()
}

// Fail tells every caller why there is no result.
func (b *Batch) Fail(err error) {
	b.err = err
	b.end()
}

// end wakes the callers and lets go of the batch.
func (b *Batch) end() {
	close(b.done)
	b.Release()
}

// Seal marks the batch as going into the log and fills in e what it carries: the
// commands whose callers are still there.
func (b *Batch) Seal(e *machine.Entry) {
	b.sealed, b.sent = true, nil
	switch {
	case b.control != nil:
		*e = *b.control
	case len(b.left) == 0:
		*e = machine.Entry{Kind: machine.KindCommands, Packed: b.body, Count: len(b.ends)}
	default:
		*e = machine.Entry{Kind: machine.KindCommands, Packed: b.remaining()}
		e.Count = len(b.sent)
	}
}

// remaining is the body without the commands whose callers have left.
func (b *Batch) remaining() []byte {
	var body []byte
	begin := 0
	for i, end := range b.ends {
		if !b.left[i] {
			body = append(body, b.body[begin:end]...)
			b.sent = append(b.sent, i)
		}
		begin = end
	}
	return body
}

// fits tells whether n commands of together so many bytes may join.
func (b *Batch) fits(n, size int) bool {
	return b.control == nil && len(b.ends)+n <= MaxCommands && len(b.body)+size <= MaxBytes
}

// add appends a command.
func (b *Batch) add(cmd []byte) {
	b.body = machine.AppendCommand(b.body, cmd)
	b.ends = append(b.ends, len(b.body))
}

// weight is what the batch counts for in the queue's bounds.
func (b *Batch) weight() int { return max(1, len(b.ends)) }

// size is its bytes.
func (b *Batch) size() int {
	if b.control != nil {
		return len(b.control.Load.Data)
	}
	return len(b.body)
}

// wanted tells whether any caller is left.
func (b *Batch) wanted() bool { return len(b.left) < b.weight() }
