package must_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/must"
)

func TestHold(t *testing.T) {
	require.NotPanics(t, func() { must.Hold(true, "never") })
	require.PanicsWithValue(t, "invariant violated: index 3 after 5", func() { must.Hold(false, "index %d after %d", 3, 5) })
}

func TestNoError(t *testing.T) {
	require.NotPanics(t, func() { must.NoError(nil, "read") })
	require.PanicsWithValue(t, "read: torn", func() { must.NoError(errors.New("torn"), "read") })
}
