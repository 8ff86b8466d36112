// Package reason tells why a call failed, whichever way the error came.
package reason

import (
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/client"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/internal/fault"
)

// Missing is what was not found, in one word: a group, unless the server says otherwise.
func Missing(err error) string {
	var e *client.Error
	if errors.As(err, &e) && e.Missing != "" {
		return e.Missing
	}
	return fault.Group
}

// Listing is the command that lists such things; empty for what no command lists.
func Listing(what string) string {
	return map[string]string{
		fault.Group: "groups list", fault.Host: "hosts list", fault.Operation: "operations list", fault.Drummer: "servers list",
	}[what]
}

// Of classes an error of the client package, or of a raw call.
func Of(err error) (reason hostpb.Reason, group string) {
	var e *client.Error
	if errors.As(err, &e) {
		return e.Reason, e.Group
	}
	st, ok := status.FromError(err)
	if !ok {
		return hostpb.Reason_REASON_UNSPECIFIED, ""
	}
	for _, d := range st.Details() {
		if info, is := d.(*errdetails.ErrorInfo); is {
			name := "REASON_" + strings.TrimPrefix(info.GetReason(), "REASON_")
			return hostpb.Reason(hostpb.Reason_value[name]), info.GetMetadata()["group"]
		}
	}
	switch st.Code() {
	case codes.InvalidArgument:
		return hostpb.Reason_REASON_INVALID, ""
	case codes.NotFound:
		return hostpb.Reason_REASON_GROUP_NOT_FOUND, ""
	case codes.Unavailable, codes.DeadlineExceeded:
		return hostpb.Reason_REASON_UNAVAILABLE, ""
	default:
		return hostpb.Reason_REASON_INTERNAL, ""
	}
}
