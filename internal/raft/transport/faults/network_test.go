package faults

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFatesFollowFromTheSeed(t *testing.T) {
	play := func(seed uint64, interleave bool) (fates []Fate) {
		f := New(seed)
		f.Drop(0.3)
		f.Duplicate(0.3)
		f.Reorder(0.3, time.Second)
		for range 200 {
			fates = append(fates, f.Fate("a", "b", Batch))
			if interleave {
				f.Fate("b", "a", Batch)
				f.Fate("a", "b", Chunk)
			}
		}
		return fates
	}
	require.Equal(t, play(1, false), play(1, true), "other directions and kinds change nothing")
	require.NotEqual(t, play(1, false), play(2, false))
	var dropped, doubled, late int
	for _, f := range play(1, false) {
		if f.Drop {
			dropped++
		}
		doubled += f.Copies
		if f.Delay > 0 {
			late++
		}
	}
	require.InDelta(t, 60, dropped, 25)
	require.InDelta(t, 60, doubled, 25)
	require.InDelta(t, 60, late, 25)
}
