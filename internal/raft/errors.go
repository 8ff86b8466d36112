package raft

import (
	"context"
	"errors"
	"time"

	"github.com/lni/dragonboat/v3"

	"github.com/drumline/drumline/internal/fault"
)

// retriable tells whether dragonboat refused a request for a reason that passes;
// it certainly did nothing.
func retriable(err error) bool {
	return errors.Is(err, dragonboat.ErrClusterNotReady) || errors.Is(err, dragonboat.ErrSystemBusy) ||
		errors.Is(err, dragonboat.ErrClusterNotInitialized)
}

// requestFault makes a fault of an error with which dragonboat refused a request,
// before anything of it could happen.
func (r *replica) requestFault(err error) error {
	reason := fault.Internal
	switch {
	case errors.Is(err, dragonboat.ErrClusterNotFound):
		reason = fault.GroupNotFound
	case errors.Is(err, dragonboat.ErrClusterClosed), errors.Is(err, dragonboat.ErrClosed):
		reason = fault.Unavailable
	case errors.Is(err, dragonboat.ErrSystemBusy):
		reason = fault.Busy
	case errors.Is(err, dragonboat.ErrClusterNotReady), errors.Is(err, dragonboat.ErrClusterNotInitialized):
		reason = fault.NoQuorum
	case errors.Is(err, dragonboat.ErrPayloadTooBig):
		reason = fault.TooLarge
	case errors.Is(err, dragonboat.ErrInvalidSession), errors.Is(err, dragonboat.ErrInvalidAddress), errors.Is(err, dragonboat.ErrInvalidTarget):
		reason = fault.Invalid
	case errors.Is(err, dragonboat.ErrTimeout), errors.Is(err, dragonboat.ErrTimeoutTooSmall), errors.Is(err, dragonboat.ErrInvalidDeadline),
		errors.Is(err, dragonboat.ErrCanceled):
		reason = fault.Deadline
	case errors.Is(err, dragonboat.ErrRejected):
		reason = fault.Conflict
	}
	return fault.Wrap(err, reason, "group %s", r.spec.Name).InGroup(r.spec.Name)
}

// wait waits; false means that the context ended first.
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
