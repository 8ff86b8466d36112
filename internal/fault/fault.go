// Package fault is the errors that cross rooms: a reason that programs branch on,
// whether the command may have been applied, where to go next, and a sentence that
// tells a person what to do. internal/serve turns them into gRPC statuses, in one
// place, and back for forwarded calls.
package fault

import (
	"errors"
	"fmt"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// Reason is a fault's class; the wire's enum serves the whole project.
type Reason = hostpb.Reason

// Reasons, under the names that code reads.
const (
	Invalid        = hostpb.Reason_REASON_INVALID
	GroupNotFound  = hostpb.Reason_REASON_GROUP_NOT_FOUND
	NotLeader      = hostpb.Reason_REASON_NOT_LEADER
	NoQuorum       = hostpb.Reason_REASON_NO_QUORUM
	NotOpen        = hostpb.Reason_REASON_NOT_OPEN
	Sealed         = hostpb.Reason_REASON_SEALED
	Busy           = hostpb.Reason_REASON_BUSY
	UnknownOutcome = hostpb.Reason_REASON_UNKNOWN_OUTCOME
	SessionGone    = hostpb.Reason_REASON_SESSION_GONE
	TooLarge       = hostpb.Reason_REASON_TOO_LARGE
	Exists         = hostpb.Reason_REASON_EXISTS
	Conflict       = hostpb.Reason_REASON_CONFLICT
	NotSupervisor  = hostpb.Reason_REASON_NOT_SUPERVISOR
	Unavailable    = hostpb.Reason_REASON_UNAVAILABLE
	Internal       = hostpb.Reason_REASON_INTERNAL
	Deadline       = hostpb.Reason_REASON_DEADLINE
	HostRefused    = hostpb.Reason_REASON_HOST_REFUSED
	Limit          = hostpb.Reason_REASON_LIMIT
)

// What GroupNotFound did not find. These are words of the wire: do not change them.
const (
	Group     = "group"
	Host      = "host"
	Operation = "operation"
	Drummer   = "drummer"
)

// Error is a fault. Its zero Outcome is "not applied": only UnknownOutcome means
// that a command may have been applied.
type Error struct {
	// Reason classes the fault.
	Reason Reason
	// Text says what failed, why, and what to do.
	Text string
	// Group is the name or number of the group concerned; may be empty.
	Group string
	// Missing is what was not found, in one word; empty for a group.
	Missing string
	// Leader is the gRPC address to try next; may be empty.
	Leader string
	// LeaderHost is the id of the host to try next; may be empty.
	LeaderHost string
	// Cause may be nil.
	Cause error
}

// New makes a fault.
func New(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// NotFound makes the fault of something that there is not; what is empty for a group.
func NotFound(what, format string, args ...any) *Error {
	return &Error{Reason: GroupNotFound, Missing: what, Text: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault of an error.
func Wrap(cause error, reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Text: fmt.Sprintf(format, args...), Cause: cause}
}

// Error is the sentence, with the cause behind it.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Text
	}
	return e.Text + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// InGroup names the group concerned and returns the fault.
func (e *Error) InGroup(group string) *Error {
	e.Group = group
	return e
}

// TryAt names the gRPC address to try next and returns the fault.
func (e *Error) TryAt(api string) *Error {
	e.Leader = api
	return e
}

// Of returns the fault in err's chain, or nil.
func Of(err error) *Error {
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return nil
}

// ReasonOf returns the reason of the fault in err's chain: unspecified for nil,
// internal for an error that is no fault.
func ReasonOf(err error) Reason {
	if err == nil {
		return hostpb.Reason_REASON_UNSPECIFIED
	}
	if f := Of(err); f != nil {
		return f.Reason
	}
	return Internal
}

// Is tells whether err is a fault of that reason.
func Is(err error, reason Reason) bool { return err != nil && ReasonOf(err) == reason }

// MayHaveApplied tells whether the command that failed with err may have been
// applied all the same: after an unknown outcome and after an internal error.
func MayHaveApplied(err error) bool {
	r := ReasonOf(err)
	return r == UnknownOutcome || r == Internal
}
