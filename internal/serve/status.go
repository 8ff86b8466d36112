package serve

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
)

// Domain is the domain of every ErrorInfo that this project sends.
const Domain = "drumline"

// reasonPrefix is cut from the enum's names: the wire carries NOT_LEADER.
const reasonPrefix = "REASON_"

// Outcomes of a failed call, in the metadata of its ErrorInfo.
const (
	outcomeNotApplied = "not_applied"
	outcomeUnknown    = "unknown"
)

// Status turns a handler's error into what the wire carries. Faults get the code
// of their reason and an ErrorInfo; statuses pass; an error of the context, which
// says nothing about what was applied, is an unknown outcome; anything else is
// internal.
func Status(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	if f := fault.Of(err); f != nil {
		return faultStatus(f, err.Error())
	}
	if st, ok := status.FromError(err); ok {
		return st
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return faultStatus(&fault.Error{Reason: fault.UnknownOutcome, Cause: err}, err.Error())
	}
	return faultStatus(&fault.Error{Reason: fault.Internal, Cause: err}, err.Error())
}

// faultStatus builds the status; text is the whole chain's sentence.
func faultStatus(f *fault.Error, text string) *status.Status {
	info := &errdetails.ErrorInfo{
		Reason:   strings.TrimPrefix(f.Reason.String(), reasonPrefix),
		Domain:   Domain,
		Metadata: map[string]string{"outcome": outcomeNotApplied},
	}
	if fault.MayHaveApplied(f) {
		info.Metadata["outcome"] = outcomeUnknown
	}
	for k, v := range map[string]string{"group": f.Group, "missing": f.Missing, "leader": f.Leader, "leader_host": f.LeaderHost} {
		if v != "" {
			info.Metadata[k] = v
		}
	}
	st := status.New(codeOf(f), strings.ToValidUTF8(text, "\uFFFD"))
	detailed, err := st.WithDetails(info)
	if err != nil {
		return st // the code and the sentence still say what happened
	}
	return detailed
}

// codeOf is the code of a fault. Unavailable is for what is worth trying again at
// once or elsewhere and was not applied: generic gRPC clients retry on it, so an
// unknown outcome must never carry it. An unknown outcome is DeadlineExceeded or
// Canceled when that is what ended the wait, else Unknown.
func codeOf(f *fault.Error) codes.Code {
	switch f.Reason {
	case fault.Invalid, fault.TooLarge:
		return codes.InvalidArgument
	case fault.GroupNotFound:
		return codes.NotFound
	case fault.NotLeader, fault.NoQuorum, fault.NotOpen, fault.Unavailable, fault.NotSupervisor:
		return codes.Unavailable
	case fault.Busy, fault.Limit:
		return codes.ResourceExhausted
	case fault.Sealed, fault.SessionGone, fault.Conflict, fault.HostRefused:
		return codes.FailedPrecondition
	case fault.Exists:
		return codes.AlreadyExists
	case fault.Deadline:
		return codes.DeadlineExceeded
	case fault.UnknownOutcome:
		return unknownCode(f.Cause)
	case fault.Internal, hostpb.Reason_REASON_UNSPECIFIED:
		return codes.Internal
	}
	return codes.Internal
}

func unknownCode(cause error) codes.Code {
	switch {
	case errors.Is(cause, context.DeadlineExceeded), status.Code(cause) == codes.DeadlineExceeded:
		return codes.DeadlineExceeded
	case errors.Is(cause, context.Canceled), status.Code(cause) == codes.Canceled:
		return codes.Canceled
	}
	return codes.Unknown
}

// Fault turns the error of a call to another server back into the fault that it
// sent. A failure below that (a cut connection, a deadline of ours) becomes an
// unknown outcome, because the other may have got the request: right for whatever
// changes something. Refusals of identity or right pass as they are.
func Fault(err error) error { return toFault(err, fault.UnknownOutcome) }

// ReadFault is Fault for a call that changes nothing: a failure below it is
// Unavailable, so that the caller may ask again.
func ReadFault(err error) error { return toFault(err, fault.Unavailable) }

func toFault(err error, transport fault.Reason) error {
	if err == nil {
		return nil
	}
	if f := fault.Of(err); f != nil {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return fault.Wrap(err, transport, "call another server")
	}
	if f := sentFault(st, err); f != nil {
		return f
	}
	switch st.Code() { //nolint:exhaustive // all others come from the transport
	case codes.PermissionDenied, codes.Unauthenticated:
		return err
	case codes.InvalidArgument, codes.Unimplemented:
		return fault.Wrap(err, fault.Invalid, "call another server")
	}
	return fault.Wrap(err, transport, "call another server")
}

// sentFault rebuilds the fault of a status of ours, or nil.
func sentFault(st *status.Status, cause error) *fault.Error {
	for _, d := range st.Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != Domain {
			continue
		}
		reason, known := hostpb.Reason_value[reasonPrefix+info.GetReason()]
		f := &fault.Error{
			Reason: fault.Reason(reason), Text: st.Message(), Group: info.GetMetadata()["group"], Missing: info.GetMetadata()["missing"],
			Leader: info.GetMetadata()["leader"], LeaderHost: info.GetMetadata()["leader_host"],
		}
		if !known { // a newer server's: keep what matters, whether it may have been applied
			if f.Reason = fault.Unavailable; info.GetMetadata()["outcome"] != outcomeNotApplied {
				f.Reason = fault.UnknownOutcome
			}
		}
		if f.Reason == fault.UnknownOutcome {
			f.Cause = sentCause(cause)
		}
		return f
	}
	return nil
}

// sentCause keeps the code of a forwarded unknown outcome, and none of its text,
// which is in the fault already.
func sentCause(err error) error {
	return remoteCause{code: status.Code(err)}
}

// remoteCause is why another server did not know the outcome.
type remoteCause struct{ code codes.Code }

func (c remoteCause) Error() string { return "forwarded: " + c.code.String() }

// GRPCStatus lets status.Code see the code.
func (c remoteCause) GRPCStatus() *status.Status { return status.New(c.code, c.Error()) }
