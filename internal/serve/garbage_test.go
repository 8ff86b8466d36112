package serve

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeapGrowsToTheFloor(t *testing.T) {
	for live, want := range map[uint64]int{0: 3100, 4 << 20: 3100, 32 << 20: 300, 64 << 20: 100, 100 << 20: 100, 1 << 30: 100} {
		require.Equal(t, want, percentTo(128<<20, live), "%d MiB alive", live>>20)
	}
}

func TestCollectionsAreDelayedUntilStopped(t *testing.T) {
	t.Setenv("GOGC", "")
	stop := DelayCollections(64 << 30) // more than this process has alive, by far
	runtime.GC()
	require.Greater(t, percent(), usualPercent)
	stop()
	stop()
	require.Equal(t, usualPercent, percent())
	runtime.GC() // what the last one left must not set it again
	runtime.GC()
	require.Equal(t, usualPercent, percent())
}

func TestTheOperatorsWordHolds(t *testing.T) {
	t.Setenv("GOGC", "100")
	DelayCollections(64 << 30)()
	require.Equal(t, usualPercent, percent())
}

// percent is what is set.
func percent() int {
	p := debug.SetGCPercent(usualPercent)
	debug.SetGCPercent(p)
	return p
}
