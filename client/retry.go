package client

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Pace of one call's tries.
const (
	firstPause  = 10 * time.Millisecond
	longPause   = time.Second
	maxAttempts = 64
)

// pauses is the back-off of one call: it doubles from firstPause to longPause, each
// pause drawn evenly from its upper half so that callers that failed together do
// not come back together.
type pauses struct{ next time.Duration }

// draw returns the next pause.
func (p *pauses) draw() time.Duration {
	if p.next == 0 {
		p.next = firstPause
	}
	d := p.next/2 + rand.N(p.next/2+1)
	p.next = min(2*p.next, longPause)
	return d
}

// Size of the retry budget: what a client may retry at its own pace, and what each
// call adds to it.
const (
	budgetSize   = 256
	budgetPerAsk = 0.2
)

// budget limits the retries of all calls of a client together, so that a cluster in
// trouble is not buried under them: while it is empty, retries go at the longest
// pause. In the long run there are at most 1.2 tries a call, and some paced ones.
type budget struct {
	mu   sync.Mutex
	left float64 // guarded by mu
}

// newBudget is full.
func newBudget() *budget { return &budget{left: budgetSize} }

// ask counts a call.
func (b *budget) ask() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.left+budgetPerAsk, budgetSize)
}

// spend takes one retry from the budget and tells whether there was one.
func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// sleep waits for d and tells whether ctx left time for it. A pause that would
// outlive the deadline is not begun: the caller learns the last error at once.
func sleep(ctx context.Context, d time.Duration) bool {
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
