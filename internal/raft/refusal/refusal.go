// Package refusal says what dragonboat's errors mean, those with which it refuses a
// request before anything of it could happen, and those of our own machine.
package refusal

import (
	"errors"

	"github.com/lni/dragonboat/v3"

	"github.com/drumline/drumline/internal/fault"
)

// Passes tells whether dragonboat refused a request for a reason that passes; it
// certainly did nothing.
func Passes(err error) bool {
	return errors.Is(err, dragonboat.ErrClusterNotReady) || errors.Is(err, dragonboat.ErrSystemBusy) ||
		errors.Is(err, dragonboat.ErrClusterNotInitialized)
}

// Reason is the fault's reason for an error of dragonboat's.
func Reason(err error) fault.Reason {
	switch {
	case errors.Is(err, dragonboat.ErrClusterNotFound):
		return fault.GroupNotFound
	case errors.Is(err, dragonboat.ErrClusterClosed), errors.Is(err, dragonboat.ErrClosed):
		return fault.Unavailable
	case errors.Is(err, dragonboat.ErrSystemBusy):
		return fault.Busy
	case errors.Is(err, dragonboat.ErrClusterNotReady), errors.Is(err, dragonboat.ErrClusterNotInitialized):
		return fault.NoQuorum
	case errors.Is(err, dragonboat.ErrPayloadTooBig):
		return fault.TooLarge
	case errors.Is(err, dragonboat.ErrInvalidSession), errors.Is(err, dragonboat.ErrInvalidAddress), errors.Is(err, dragonboat.ErrInvalidTarget):
		return fault.Invalid
	case errors.Is(err, dragonboat.ErrTimeout), errors.Is(err, dragonboat.ErrTimeoutTooSmall), errors.Is(err, dragonboat.ErrInvalidDeadline),
		errors.Is(err, dragonboat.ErrCanceled):
		return fault.Deadline
	case errors.Is(err, dragonboat.ErrRejected):
		return fault.Conflict
	}
	return fault.Internal
}
