package serve

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
)

// The whole table: what a client sees of each reason, and that it comes back.
func TestEveryReasonThereAndBack(t *testing.T) {
	want := map[fault.Reason]struct {
		code    codes.Code
		reason  string
		outcome string
	}{
		fault.Invalid:        {codes.InvalidArgument, "INVALID", "not_applied"},
		fault.GroupNotFound:  {codes.NotFound, "GROUP_NOT_FOUND", "not_applied"},
		fault.NotLeader:      {codes.Unavailable, "NOT_LEADER", "not_applied"},
		fault.NoQuorum:       {codes.Unavailable, "NO_QUORUM", "not_applied"},
		fault.NotOpen:        {codes.Unavailable, "NOT_OPEN", "not_applied"},
		fault.Sealed:         {codes.FailedPrecondition, "SEALED", "not_applied"},
		fault.Busy:           {codes.ResourceExhausted, "BUSY", "not_applied"},
		fault.UnknownOutcome: {codes.Unknown, "UNKNOWN_OUTCOME", "unknown"},
		fault.SessionGone:    {codes.FailedPrecondition, "SESSION_GONE", "not_applied"},
		fault.TooLarge:       {codes.InvalidArgument, "TOO_LARGE", "not_applied"},
		fault.Exists:         {codes.AlreadyExists, "EXISTS", "not_applied"},
		fault.Conflict:       {codes.FailedPrecondition, "CONFLICT", "not_applied"},
		fault.NotSupervisor:  {codes.Unavailable, "NOT_SUPERVISOR", "not_applied"},
		fault.Unavailable:    {codes.Unavailable, "UNAVAILABLE", "not_applied"},
		fault.Internal:       {codes.Internal, "INTERNAL", "unknown"},
		fault.HostRefused:    {codes.FailedPrecondition, "HOST_REFUSED", "not_applied"},
		fault.Limit:          {codes.ResourceExhausted, "LIMIT", "not_applied"},
		fault.Deadline:       {codes.DeadlineExceeded, "DEADLINE", "not_applied"},
	}
	for n := range hostpb.Reason_name {
		reason := fault.Reason(n)
		if reason == hostpb.Reason_REASON_UNSPECIFIED {
			continue
		}
		w, ok := want[reason]
		require.True(t, ok, "no line for %s", reason)
		sent := &fault.Error{Reason: reason, Text: "what to do", Group: "kv/a", Missing: "host", Leader: "h:1", LeaderHost: "id"}
		st := Status(fmt.Errorf("while at it: %w", sent))
		require.Equal(t, w.code, st.Code(), reason)
		require.Equal(t, "while at it: what to do", st.Message())
		require.Len(t, st.Details(), 1)
		info, ok := st.Details()[0].(*errdetails.ErrorInfo)
		require.True(t, ok)
		require.Equal(t, "drumline", info.GetDomain())
		require.Equal(t, w.reason, info.GetReason())
		require.Equal(t, map[string]string{"outcome": w.outcome, "group": "kv/a", "missing": "host", "leader": "h:1", "leader_host": "id"}, info.GetMetadata())

		for _, back := range []error{Fault(st.Err()), ReadFault(st.Err())} {
			got := fault.Of(back)
			require.NotNil(t, got)
			require.Equal(t, reason, got.Reason)
			require.Equal(t, "while at it: what to do", got.Text)
			require.Equal(t, []string{"kv/a", "host", "h:1", "id"}, []string{got.Group, got.Missing, got.Leader, got.LeaderHost})
			require.Equal(t, w.code, Status(back).Code(), "a second hop changed the code")
		}
	}
}

func TestStatusOfOtherErrors(t *testing.T) {
	require.Equal(t, codes.OK, Status(nil).Code())
	for _, c := range []struct {
		err    error
		code   codes.Code
		reason string
	}{
		{errors.New("defect"), codes.Internal, "INTERNAL"},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "UNKNOWN_OUTCOME"},
		{context.Canceled, codes.Canceled, "UNKNOWN_OUTCOME"},
		{fault.Wrap(context.DeadlineExceeded, fault.UnknownOutcome, "propose"), codes.DeadlineExceeded, "UNKNOWN_OUTCOME"},
		{fault.Wrap(context.Canceled, fault.UnknownOutcome, "propose"), codes.Canceled, "UNKNOWN_OUTCOME"},
		{fault.Wrap(context.DeadlineExceeded, fault.Deadline, "wait"), codes.DeadlineExceeded, "DEADLINE"},
		{fault.New(fault.Invalid, "name \xff"), codes.InvalidArgument, "INVALID"},
		{fault.New(99, "a reason of tomorrow"), codes.Internal, "99"},
	} {
		st := Status(c.err)
		require.Equal(t, c.code, st.Code(), c.err)
		require.Len(t, st.Details(), 1, c.err)
		info, ok := st.Details()[0].(*errdetails.ErrorInfo)
		require.True(t, ok)
		require.Equal(t, c.reason, info.GetReason())
	}
}

func TestStatusesPass(t *testing.T) {
	st := status.New(codes.PermissionDenied, "no")
	require.Equal(t, st, Status(st.Err()))
	require.Equal(t, codes.PermissionDenied, status.Code(Fault(st.Err())))
	require.Equal(t, codes.Unauthenticated, status.Code(ReadFault(status.Error(codes.Unauthenticated, "who"))))
}

// A failure below the other server's answer is unknown for a write, and may be
// asked again for a read. None may look like "not applied" to a writer.
func TestFaultOfTransportFailures(t *testing.T) {
	require.NoError(t, Fault(nil))
	require.NoError(t, ReadFault(nil))
	for _, err := range []error{
		status.Error(codes.Unavailable, "connection reset"),
		status.Error(codes.DeadlineExceeded, "slow"),
		status.Error(codes.Canceled, "gone"),
		status.Error(codes.ResourceExhausted, "message too large"),
		status.Error(codes.Internal, "stream"),
		status.Error(codes.Unknown, "?"),
		errors.New("eof"),
		context.DeadlineExceeded,
	} {
		require.Equal(t, fault.UnknownOutcome, fault.ReasonOf(Fault(err)), err)
		require.Equal(t, fault.Unavailable, fault.ReasonOf(ReadFault(err)), err)
		require.NotEqual(t, codes.Unavailable, Status(Fault(err)).Code(), "a client would retry it")
	}
	require.Equal(t, codes.DeadlineExceeded, Status(Fault(status.Error(codes.DeadlineExceeded, "slow"))).Code())
	require.Equal(t, fault.Invalid, fault.ReasonOf(Fault(status.Error(codes.Unimplemented, "no such method"))))
	f := fault.New(fault.Busy, "mine")
	require.Equal(t, error(f), Fault(f), "a fault stays what it is")
}

// Reasons of a newer server keep whether the command may have been applied.
func TestFaultOfAnUnknownReason(t *testing.T) {
	for outcome, want := range map[string]fault.Reason{"not_applied": fault.Unavailable, "unknown": fault.UnknownOutcome, "": fault.UnknownOutcome} {
		st, err := status.New(codes.Unavailable, "x").WithDetails(&errdetails.ErrorInfo{
			Reason: "MOON_PHASE", Domain: Domain, Metadata: map[string]string{"outcome": outcome},
		})
		require.NoError(t, err)
		require.Equal(t, want, fault.ReasonOf(Fault(st.Err())), outcome)
	}
	foreign, err := status.New(codes.Unavailable, "x").WithDetails(&errdetails.ErrorInfo{Reason: "INVALID", Domain: "elsewhere"})
	require.NoError(t, err)
	require.Equal(t, fault.UnknownOutcome, fault.ReasonOf(Fault(foreign.Err())))
}
