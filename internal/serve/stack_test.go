package serve

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStackDrainsInReverseWhateverFails(t *testing.T) {
	var s Stack
	var order []string
	cause := errors.New("stuck")
	for _, name := range []string{"a", "b", "c"} {
		s.Push(name, func() error {
			order = append(order, name)
			if name == "a" {
				return nil
			}
			return cause
		})
	}
	err := s.Drain()
	require.Equal(t, []string{"c", "b", "a"}, order)
	require.ErrorIs(t, err, cause)
	require.EqualError(t, err, "stop c: stuck\nstop b: stuck")
	require.NoError(t, s.Drain(), "each runs once")
}

func TestStackTakesWhatATeardownPushes(t *testing.T) {
	var s Stack
	ran := false
	s.Push("outer", func() error {
		s.Push("inner", func() error { ran = true; return nil })
		return nil
	})
	require.NoError(t, s.Drain())
	require.True(t, ran)
}
