package sequence

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// Pauses between tries; they double, and a part of each is drawn.
const (
	leastPause = 25 * time.Millisecond
	mostPause  = time.Second
)

// flight is a range on its way.
type flight struct {
	number uint64
	count  uint64
}

// launch sends for as many ranges as are wanted. mu is held.
func (q *Sequence) launch() {
	for !q.closed && !q.final && q.wants() {
		q.flown++
		f := &flight{number: q.flown, count: max(q.size, 1)}
		if q.ahead == 0 {
			f.count = max(q.waiting, q.o.buffer, 1)
		}
		q.flights = append(q.flights, f)
		q.work.Go(func() { q.fly(f) })
	}
}

// wants tells whether another range is needed. Until the mode is known, one at a time is
// sent for. mu is held.
func (q *Sequence) wants() bool {
	n := len(q.ready) + len(q.flights)
	if q.ahead == 0 || !q.known {
		return n == 0 && q.waiting > 0
	}
	return n < q.ahead
}

// fly gets one range.
func (q *Sequence) fly(f *flight) {
	s, err := q.fetch(q.ctx, f.count, false)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flights = slices.DeleteFunc(q.flights, func(o *flight) bool { return o == f })
	defer q.announce()
	if err != nil {
		if q.ctx.Err() == nil {
			q.failed++
			q.err, q.refused = err, max(q.refused, f.number)
			q.final = q.final || final(err)
		}
		return
	}
	s.after = q.flown
	at, _ := slices.BinarySearchFunc(q.ready, s, func(a, b *span) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	q.ready = slices.Insert(q.ready, at, s)
}

// note remembers what a try came to, for the errors of callers who wait.
func (q *Sequence) note(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.trouble = err
}

// land waits for the ranges on their way, for a part of the time that Close has: what
// arrives can be given back.
func (q *Sequence) land(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closing/3)
	defer cancel()
	for {
		q.mu.Lock()
		flights, changed := len(q.flights), q.changed
		q.mu.Unlock()
		if flights == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// backoff pauses between tries.
type backoff struct{ pause time.Duration }

// wait waits longer each time; false when ctx ended.
func (b *backoff) wait(ctx context.Context) bool {
	b.pause = min(max(2*b.pause, leastPause), mostPause)
	return wait(ctx, b.pause/2+rand.N(b.pause/2))
}

// wait waits; false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
