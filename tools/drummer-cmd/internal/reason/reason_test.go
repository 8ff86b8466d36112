package reason_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/drumline/drumline/client"
	hostpb "github.com/drumline/drumline/drummerpb/host"
	"github.com/drumline/drumline/tools/drummer-cmd/internal/reason"
)

func TestOf(t *testing.T) {
	told, err := status.New(codes.Unavailable, "x").WithDetails(&errdetails.ErrorInfo{Reason: "NO_QUORUM", Metadata: map[string]string{"group": "kv/a"}})
	require.NoError(t, err)
	for _, c := range []struct {
		err   error
		want  hostpb.Reason
		group string
	}{
		{fmt.Errorf("while at it: %w", &client.Error{Reason: hostpb.Reason_REASON_SEALED, Group: "kv/b"}), hostpb.Reason_REASON_SEALED, "kv/b"},
		{told.Err(), hostpb.Reason_REASON_NO_QUORUM, "kv/a"},
		{status.Error(codes.InvalidArgument, "x"), hostpb.Reason_REASON_INVALID, ""},
		{status.Error(codes.NotFound, "x"), hostpb.Reason_REASON_GROUP_NOT_FOUND, ""},
		{status.Error(codes.DeadlineExceeded, "x"), hostpb.Reason_REASON_UNAVAILABLE, ""},
		{status.Error(codes.DataLoss, "x"), hostpb.Reason_REASON_INTERNAL, ""},
		{errors.New("x"), hostpb.Reason_REASON_UNSPECIFIED, ""},
	} {
		got, group := reason.Of(c.err)
		require.Equal(t, c.want, got, c.err)
		require.Equal(t, c.group, group, c.err)
	}
}

func TestMissing(t *testing.T) {
	for err, want := range map[error]string{
		&client.Error{Reason: hostpb.Reason_REASON_GROUP_NOT_FOUND}:                         "groups list",
		&client.Error{Reason: hostpb.Reason_REASON_GROUP_NOT_FOUND, Missing: "host"}:        "hosts list",
		&client.Error{Reason: hostpb.Reason_REASON_GROUP_NOT_FOUND, Missing: "operation"}:   "operations list",
		&client.Error{Reason: hostpb.Reason_REASON_GROUP_NOT_FOUND, Missing: "drummer"}:     "servers list",
		&client.Error{Reason: hostpb.Reason_REASON_GROUP_NOT_FOUND, Missing: "of a future"}: "",
		status.Error(codes.NotFound, "x"):                                                   "groups list",
	} {
		require.Equal(t, want, reason.Listing(reason.Missing(err)), err)
	}
}
