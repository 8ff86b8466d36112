// Package pace says how fast a client tries again: the pauses of one call, and the budget of
// all of them.
package pace

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Pace of one call's tries.
const (
	firstPause = 10 * time.Millisecond
	// Long is the longest pause.
	Long = time.Second
	// MaxTries bounds the tries of one call.
	MaxTries = 64
)

// Pauses is the back-off of one call: it doubles from firstPause to Long, each
// pause drawn evenly from its upper half so that callers that failed together do
// not come back together.
type Pauses struct{ next time.Duration }

// Draw returns the next pause.
func (p *Pauses) Draw() time.Duration {
	if p.next == 0 {
		p.next = firstPause
	}
	d := p.next/2 + rand.N(p.next/2+1)
	p.next = min(2*p.next, Long)
	return d
}

// Size of the retry budget: what a client may retry at its own pace, and what each
// call adds to it.
const (
	budgetSize   = 256
	budgetPerAsk = 0.2
)

// Budget limits the retries of all calls of a client together, so that a cluster in
// trouble is not buried under them: while it is empty, retries go at the longest
// pause. In the long run there are at most 1.2 tries a call, and some paced ones.
type Budget struct {
	mu   sync.Mutex
	left float64 // guarded by mu
}

// NewBudget is full.
func NewBudget() *Budget { return &Budget{left: budgetSize} }

// Ask counts a call.
func (b *Budget) Ask() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.left+budgetPerAsk, budgetSize)
}

// Spend takes one retry from the budget and tells whether there was one.
func (b *Budget) Spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// Sleep waits for d and tells whether ctx left time for it. A pause that would
// outlive the deadline is not begun: the caller learns the last error at once.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
