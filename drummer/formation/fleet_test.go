package formation

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFleetIsTheMapsOwn(t *testing.T) {
	a := Members{1: "x", 2: "y", 3: "z"}
	require.Len(t, a.Fleet(), 16)
	require.Equal(t, a.Fleet(), Members{3: "z", 1: "x", 2: "y"}.Fleet())
	require.NotEqual(t, a.Fleet(), Members{1: "x", 2: "y", 3: "w"}.Fleet())
	require.NotEqual(t, a.Fleet(), Members{1: "y", 2: "x", 3: "z"}.Fleet())
}
