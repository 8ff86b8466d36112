package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
)

// errorDomain is the domain of the ErrorInfo that Drumline's servers attach.
const errorDomain = "drumline"

// Outcome tells what is known of the command of a call that failed.
type Outcome int

const (
	// NotApplied means that the command was surely not applied: doing it again is safe.
	NotApplied Outcome = iota
	// Unknown means that the command may or may not be applied, now or a little
	// later: only the application can tell whether doing it again is right.
	Unknown
)

// String is "not applied" or "unknown".
func (o Outcome) String() string {
	if o == Unknown {
		return "unknown"
	}
	return "not applied"
}

// Error is what every call of this package returns when it fails.
type Error struct {
	// Reason classes the error; programs branch on it.
	Reason hostpb.Reason
	// Outcome tells whether a command may have been applied. Reads have none: NotApplied.
	Outcome Outcome
	// Text says what failed, why, and what to do.
	Text string
	// Group is the name or number of the group concerned; may be empty.
	Group string
	// Missing is what was not found when it is no group: host, operation or drummer.
	Missing string
	// Leader is the gRPC address that the server named as the one to ask; may be empty.
	Leader string
	// Server is the address that answered last; empty when none did.
	Server string
	// Attempts is how often the call was sent, or tried to be sent.
	Attempts int

	code     codes.Code
	cause    error
	answered bool // a server said it, and not the lack of one
}

// Error is the sentence; an unknown outcome is always said.
func (e *Error) Error() string {
	if e.Outcome == Unknown && e.Reason != hostpb.Reason_REASON_UNKNOWN_OUTCOME {
		return e.Text + " (the command may have been applied)"
	}
	return e.Text
}

// Unwrap returns the cause: the context's error when the context ended the call.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus lets status.FromError and status.Code see the error as what it was on the wire.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.code, e.Error()) }

// OutcomeOf tells what is known of the command of a call that failed with err. An
// error that is not of this package is Unknown, to be on the safe side; nil is NotApplied.
func OutcomeOf(err error) Outcome {
	var e *Error
	switch {
	case err == nil:
		return NotApplied
	case errors.As(err, &e):
		return e.Outcome
	default:
		return Unknown
	}
}

// ReasonOf returns the reason of an error of this package, unspecified for nil and
// internal for any other error.
func ReasonOf(err error) hostpb.Reason {
	var e *Error
	switch {
	case err == nil:
		return hostpb.Reason_REASON_UNSPECIFIED
	case errors.As(err, &e):
		return e.Reason
	default:
		return hostpb.Reason_REASON_INTERNAL
	}
}

// failure makes an Error of this package's own.
func failure(reason hostpb.Reason, code codes.Code, format string, args ...any) *Error {
	return &Error{Reason: reason, code: code, Text: fmt.Sprintf(format, args...)}
}

// effect says what it means for a call to have been sent without an answer.
type effect int

const (
	// reads change nothing: sent again at will.
	reads effect = iota
	// repeats change something, but the server recognises a repetition.
	repeats
	// writes change something each time they arrive.
	writes
)

// attempted is one try of a call: where it went and whether it left this process.
type attempted struct {
	server string
	effect effect
	sent   bool
}

// decode makes an Error of what one attempt returned.
func decode(err error, a attempted) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	st := status.Convert(err)
	e := &Error{code: st.Code(), Text: st.Message(), Server: a.server}
	if info := errorInfo(st); info != nil {
		e.answered = true
		decodeInfo(e, info)
	} else {
		decodeTransport(e, st, a)
	}
	if a.effect == reads {
		e.Outcome = NotApplied
	}
	return e
}

// errorInfo returns the ErrorInfo that a Drumline server attached, or nil.
func errorInfo(st *status.Status) *errdetails.ErrorInfo {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			return info
		}
	}
	return nil
}

// decodeInfo takes over what the server said of its error. A reason that this
// program does not know yet says nothing of the outcome but through the metadata.
func decodeInfo(e *Error, info *errdetails.ErrorInfo) {
	name := strings.TrimPrefix(info.GetReason(), "REASON_")
	reason, known := hostpb.Reason_value["REASON_"+name]
	e.Reason = hostpb.Reason(reason)
	if !known {
		e.Reason = hostpb.Reason_REASON_INTERNAL
	}
	md := info.GetMetadata()
	e.Group, e.Missing, e.Leader = md["group"], md["missing"], md["leader"]
	switch {
	case md["outcome"] == "unknown",
		md["outcome"] == "" && e.Reason == hostpb.Reason_REASON_INTERNAL,
		e.Reason == hostpb.Reason_REASON_UNKNOWN_OUTCOME:
		e.Outcome = Unknown
	}
}

// decodeTransport classes what no handler of ours has said: what was never sent, or
// was refused before a handler saw it, is surely not applied; all else is unknown.
func decodeTransport(e *Error, st *status.Status, a attempted) {
	switch st.Code() {
	case codes.InvalidArgument, codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied:
		e.Reason = hostpb.Reason_REASON_INVALID
		return
	case codes.NotFound:
		e.Reason = hostpb.Reason_REASON_GROUP_NOT_FOUND
		return
	case codes.ResourceExhausted:
		// This client takes answers of any size, so it was the server that found
		// the request too large, before it looked at it.
		if strings.Contains(st.Message(), "larger than max") {
			e.Reason = hostpb.Reason_REASON_TOO_LARGE
			return
		}
	}
	decodeSilence(e, st, a)
}

// decodeSilence classes a call that nobody answered.
func decodeSilence(e *Error, st *status.Status, a attempted) {
	if a.sent && a.effect != reads {
		e.Reason, e.Outcome = hostpb.Reason_REASON_UNKNOWN_OUTCOME, Unknown
		e.Text = fmt.Sprintf("no answer from %s, so it is unknown whether the command was applied: %s", a.server, st.Message())
		return
	}
	switch st.Code() {
	case codes.DeadlineExceeded, codes.Canceled:
		e.Reason = hostpb.Reason_REASON_DEADLINE
	default:
		e.Reason, e.code = hostpb.Reason_REASON_UNAVAILABLE, codes.Unavailable
	}
	e.Text = fmt.Sprintf("no answer from %s: %s", a.server, st.Message())
}

// retryable tells whether a later or another try may succeed.
func (e *Error) retryable(eff effect) bool {
	if e.Outcome == Unknown && eff == writes {
		return false
	}
	switch e.Reason {
	case hostpb.Reason_REASON_NOT_LEADER, hostpb.Reason_REASON_NO_QUORUM,
		hostpb.Reason_REASON_NOT_OPEN, hostpb.Reason_REASON_BUSY,
		hostpb.Reason_REASON_NOT_SUPERVISOR, hostpb.Reason_REASON_UNAVAILABLE,
		hostpb.Reason_REASON_UNKNOWN_OUTCOME, hostpb.Reason_REASON_DEADLINE:
		return true
	case hostpb.Reason_REASON_INVALID:
		// A server of the other kind: the service is not there, another server has it.
		return e.code == codes.Unimplemented
	default:
		return false
	}
}

// elsewhere tells whether another server may well do what this one did not.
func (e *Error) elsewhere() bool {
	switch e.Reason {
	case hostpb.Reason_REASON_UNAVAILABLE, hostpb.Reason_REASON_NOT_LEADER,
		hostpb.Reason_REASON_NOT_SUPERVISOR, hostpb.Reason_REASON_DEADLINE,
		hostpb.Reason_REASON_UNKNOWN_OUTCOME, hostpb.Reason_REASON_INVALID:
		return true
	default:
		return false
	}
}

// ended gives the last error of a call that its context ended.
func ended(ctx context.Context, last *Error) *Error {
	cause := context.Cause(ctx)
	if errors.Is(cause, errClosed) {
		return closedError()
	}
	if last == nil {
		last = failure(hostpb.Reason_REASON_DEADLINE, codes.DeadlineExceeded, "the call ended before any server was reached")
		if errors.Is(ctx.Err(), context.Canceled) {
			last.code = codes.Canceled
		}
	}
	if cause == nil {
		cause = context.DeadlineExceeded
	}
	last.cause = cause
	return last
}
