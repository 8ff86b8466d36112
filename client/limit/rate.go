package limit

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/drumline/drumline/client/capacity"
)

// burstTime is the time whose calls may come at once: timers are some milliseconds late
// on a busy machine, and what they miss must not be lost.
const burstTime = 10 * time.Millisecond

// rateOptions of NewRate.
type rateOptions struct{ burst int }

// RateOption changes a Rate.
type RateOption func(*rateOptions)

// WithBurst sets how many calls may come at once after a silence: at least 1. By default
// it is the number of calls of ten milliseconds.
func WithBurst(n int) RateOption { return func(o *rateOptions) { o.burst = max(n, 1) } }

// Rate lets through as many calls a second as the capacity says. It is exact: over ten
// seconds it is within 2 % or one call, whatever the rate and however it changes. It has
// no goroutine and nothing to close.
type Rate struct {
	source Source
	burst  int // 0 for burstTime's calls
	bucket *rate.Limiter
	// turn is held by the caller whose call is next. Only that one has a reservation, so
	// that a change of the rate finds no queue of reservations made at the old one.
	turn chan struct{}

	mu    sync.Mutex
	limit float64 // guarded by mu: the bucket's
}

var _ Limiter = (*Rate)(nil)

// NewRate limits to the capacity of a source, in calls a second.
func NewRate(source Source, opts ...RateOption) *Rate {
	var o rateOptions
	for _, opt := range opts {
		opt(&o)
	}
	return &Rate{source: source, burst: o.burst, bucket: rate.NewLimiter(0, 1), turn: make(chan struct{}, 1), limit: -1}
}

// Acquire waits for the call's time; done has nothing to do.
func (r *Rate) Acquire(ctx context.Context) (done func(), err error) { return nothing, r.Wait(ctx) }

// TryAcquire is Allow.
func (r *Rate) TryAcquire() (done func(), ok bool) { return nothing, r.Allow() }

// Allow tells whether a call may be made now, and counts it if so. Those that wait go first.
func (r *Rate) Allow() bool {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	default:
		return false
	}
	s := r.source.State()
	if s.Unlimited() {
		return true
	}
	return s.Capacity > 0 && r.follow(s.Capacity) && r.bucket.Allow()
}

// Wait waits for the time of one call. Callers go in the order in which they came.
func (r *Rate) Wait(ctx context.Context) error { return r.WaitN(ctx, 1) }

// WaitN waits for the time of n calls.
func (r *Rate) WaitN(ctx context.Context, n int) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return ended(ctx)
	}
	defer func() { <-r.turn }()
	for n > 0 {
		took, err := r.next(ctx, n)
		if err != nil {
			return err
		}
		n -= took
	}
	return nil
}

// next waits for the time of some of n calls, or for a change, and tells how many.
func (r *Rate) next(ctx context.Context, n int) (int, error) {
	s, changed := r.source.Watch()
	switch {
	case s.Basis == capacity.Released:
		return 0, ErrClosed
	case s.Unlimited():
		return n, nil
	case s.Capacity == 0:
		return 0, await(ctx, nil, changed)
	}
	r.follow(s.Capacity)
	n = min(n, r.bucket.Burst())
	booked := r.bucket.ReserveN(time.Now(), n)
	delay := booked.Delay()
	if delay == 0 {
		return n, nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	err := await(ctx, timer.C, changed)
	// The lease may have ended while the timer ran, by either clock.
	if now := r.source.State(); err == nil && now.Capacity == s.Capacity && booked.Delay() == 0 {
		return n, nil
	}
	booked.Cancel()
	return 0, err
}

// await waits for one of two things.
func await(ctx context.Context, timer <-chan time.Time, changed <-chan struct{}) error {
	select {
	case <-timer:
	case <-changed:
	case <-ctx.Done():
		return ended(ctx)
	}
	return nil
}

// follow sets the bucket to a capacity; always true.
func (r *Rate) follow(limit float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if limit == r.limit {
		return true
	}
	burst := r.burst
	if burst == 0 {
		burst = int(min(max(1, limit*burstTime.Seconds()), math.MaxInt32))
	}
	now := time.Now()
	r.bucket.SetLimitAt(now, rate.Limit(limit))
	r.bucket.SetBurstAt(now, burst)
	r.limit = limit
	return true
}
