package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
)

func TestReasonTravelsThroughWrapping(t *testing.T) {
	cause := errors.New("disk gone")
	err := fmt.Errorf("put: %w", fault.Wrap(cause, fault.Busy, "group %s is busy", "kv/a").InGroup("kv/a").TryAt("h:1"))
	require.Equal(t, fault.Busy, fault.ReasonOf(err))
	require.True(t, fault.Is(err, fault.Busy))
	require.ErrorIs(t, err, cause)
	require.Equal(t, "kv/a", fault.Of(err).Group)
	require.Equal(t, "h:1", fault.Of(err).Leader)
	require.Equal(t, "put: group kv/a is busy: disk gone", err.Error())
}

func TestForeignErrorsAreInternal(t *testing.T) {
	require.Nil(t, fault.Of(errors.New("x")))
	require.Equal(t, fault.Internal, fault.ReasonOf(errors.New("x")))
	require.False(t, fault.Is(nil, fault.Internal))
	require.Zero(t, fault.ReasonOf(nil))
}

func TestOnlyUnknownAndInternalMayHaveApplied(t *testing.T) {
	for _, r := range []fault.Reason{
		fault.Invalid, fault.GroupNotFound, fault.NotLeader, fault.NoQuorum, fault.NotOpen, fault.Sealed, fault.Busy,
		fault.SessionGone, fault.TooLarge, fault.Exists, fault.Conflict, fault.NotSupervisor, fault.Unavailable, fault.Deadline, fault.HostRefused,
	} {
		require.False(t, fault.MayHaveApplied(fault.New(r, "x")), r)
	}
	require.True(t, fault.MayHaveApplied(fault.New(fault.UnknownOutcome, "x")))
	require.True(t, fault.MayHaveApplied(errors.New("a defect")))
	require.False(t, fault.MayHaveApplied(nil))
}
