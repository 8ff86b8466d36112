package limit

import (
	"context"
	"sync"

	"github.com/drumline/drumline/client/capacity"
)

// InFlight lets as many calls be under way at a time as the capacity says, rounded down.
// Calls that are under way when the capacity falls end by themselves; new ones wait until
// there is room. It has no goroutine and nothing to close.
type InFlight struct {
	source Source
	// turn is held by the caller that is next, so that calls go in order.
	turn chan struct{}

	mu    sync.Mutex
	count int           // guarded by mu: calls under way
	freed chan struct{} // guarded by mu: closed when the next call ends
}

var _ Limiter = (*InFlight)(nil)

// NewInFlight limits to the capacity of a source, in calls under way.
func NewInFlight(source Source) *InFlight {
	return &InFlight{source: source, turn: make(chan struct{}, 1), freed: make(chan struct{})}
}

// Count is the number of calls under way.
func (f *InFlight) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// Acquire waits for room. done may be run more than once.
func (f *InFlight) Acquire(ctx context.Context) (done func(), err error) {
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	defer func() { <-f.turn }()
	for {
		s, changed := f.source.Watch()
		if s.Basis == capacity.Released {
			return nil, ErrClosed
		}
		free, freed := f.take(s)
		if free {
			return f.leave(), nil
		}
		select {
		case <-changed:
		case <-freed:
		case <-ctx.Done():
			return nil, ended(ctx)
		}
	}
}

// TryAcquire takes room if there is some and nobody waits for it.
func (f *InFlight) TryAcquire() (done func(), ok bool) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	default:
		return nothing, false
	}
	if free, _ := f.take(f.source.State()); !free {
		return nothing, false
	}
	return f.leave(), true
}

// take counts a call in if there is room; if not, freed is closed when one ends.
func (f *InFlight) take(s capacity.State) (ok bool, freed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if float64(f.count+1) > s.Capacity {
		return false, f.freed
	}
	f.count++
	return true, nil
}

// leave returns what counts a call out.
func (f *InFlight) leave() func() {
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.count--
		close(f.freed)
		f.freed = make(chan struct{})
	})
}
