package holders

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/tools/bench/measure"
)

func TestHoldersTakeTurns(t *testing.T) {
	c := New(measure.Request{Algorithm: "fair", Clients: 100, Each: 10}, Doorman)
	require.Len(t, c.Names, 10)
	require.Equal(t, "fair-100-10-3-doorman", c.Names[3])
	picked := map[*holder]bool{}
	for range 100 {
		picked[c.pick()] = true
	}
	require.Len(t, picked, 100, "none twice")
	c.holders[42].busy.Store(false)
	require.Same(t, &c.holders[42], c.pick(), "the others are busy")
}
