package limit

import (
	"context"
	"errors"
	"fmt"

	"github.com/drumline/drumline/client/capacity"
)

// ErrLimited is the error of a call that NoWait refused.
var ErrLimited = errors.New("limit: no capacity left now")

// ErrClosed is the error of calls on a limiter whose resource was released.
var ErrClosed = errors.New("limit: the resource is released")

// Limiter lets calls through as far as a resource's capacity goes.
type Limiter interface {
	// Acquire waits until one call may be made. The caller runs done, once, when the
	// call is over. It fails when ctx ends first.
	Acquire(ctx context.Context) (done func(), err error)
	// TryAcquire is Acquire without waiting; ok tells whether the call may be made.
	TryAcquire() (done func(), ok bool)
}

// Source is where a limiter finds out what it may let through; a capacity.Resource is one.
type Source interface {
	// State is what may be used now.
	State() capacity.State
	// Watch is State, with a channel that is closed when it changes.
	Watch() (capacity.State, <-chan struct{})
}

var _ Source = (*capacity.Resource)(nil)

// noWait is a limiter that never waits.
type noWait struct{ Limiter }

// NoWait makes a limiter refuse with ErrLimited what it would have to let wait: what a
// server does, whose clients rather hear "no" at once.
func NoWait(l Limiter) Limiter { return noWait{l} }

// Acquire refuses instead of waiting.
func (n noWait) Acquire(ctx context.Context) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	done, ok := n.TryAcquire()
	if !ok {
		return nil, ErrLimited
	}
	return done, nil
}

// nothing is what there is to do at the end of a call that holds nothing.
func nothing() {}

// ended is the error of a wait that its context ended.
func ended(ctx context.Context) error { return fmt.Errorf("limit: %w", context.Cause(ctx)) }
