package refusal

import (
	"errors"
	"fmt"
	"testing"

	"github.com/lni/dragonboat/v3"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/fault"
)

func TestReasons(t *testing.T) {
	for err, want := range map[error]fault.Reason{
		dragonboat.ErrClusterNotFound: fault.GroupNotFound,
		dragonboat.ErrClusterClosed:   fault.Unavailable,
		dragonboat.ErrClosed:          fault.Unavailable,
		dragonboat.ErrSystemBusy:      fault.Busy,
		dragonboat.ErrClusterNotReady: fault.NoQuorum,
		dragonboat.ErrPayloadTooBig:   fault.TooLarge,
		dragonboat.ErrInvalidSession:  fault.Invalid,
		dragonboat.ErrTimeout:         fault.Deadline,
		dragonboat.ErrRejected:        fault.Conflict,
		errors.New("something else"):  fault.Internal,
	} {
		require.Equal(t, want, Reason(fmt.Errorf("ask: %w", err)), "%v", err)
	}
}

func TestPasses(t *testing.T) {
	for _, err := range []error{dragonboat.ErrClusterNotReady, dragonboat.ErrSystemBusy, dragonboat.ErrClusterNotInitialized} {
		require.True(t, Passes(err), "%v", err)
	}
	require.False(t, Passes(dragonboat.ErrClosed))
	require.False(t, Passes(nil))
}
