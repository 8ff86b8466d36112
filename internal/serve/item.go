package serve

import (
	"strings"

	"google.golang.org/grpc/codes"

	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
)

// ItemFault is Status for an item of a batch or stream: the same content, in a message
// of our own. nil makes nil.
func ItemFault(err error) *hostpb.Fault {
	if err == nil {
		return nil
	}
	f := fault.Of(err)
	if f == nil {
		f = fault.Of(Fault(Status(err).Err()))
	}
	if f == nil {
		f = &fault.Error{Reason: fault.Unavailable}
	}
	return &hostpb.Fault{
		Reason: f.Reason, Unknown: fault.MayHaveApplied(f), Text: strings.ToValidUTF8(err.Error(), "\uFFFD"),
		Group: strings.ToValidUTF8(f.Group, "\uFFFD"), Leader: f.Leader, LeaderHost: f.LeaderHost, Code: uint32(codeOf(f)),
	}
}

// FromItem turns an item's fault back into what was said; nil for nil.
func FromItem(sent *hostpb.Fault) error {
	if sent == nil {
		return nil
	}
	f := &fault.Error{Reason: sent.GetReason(), Text: sent.GetText(), Group: sent.GetGroup(), Leader: sent.GetLeader(), LeaderHost: sent.GetLeaderHost()}
	if _, known := hostpb.Reason_name[int32(sent.GetReason())]; !known || sent.GetReason() == hostpb.Reason_REASON_UNSPECIFIED {
		// A newer server's: keep what matters, whether it may have been applied.
		if f.Reason = fault.Unavailable; sent.GetUnknown() {
			f.Reason = fault.UnknownOutcome
		}
	}
	if f.Reason == fault.UnknownOutcome {
		f.Cause = remoteCause{code: codes.Code(sent.GetCode())}
	}
	return f
}
