package hostdir_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/hostdir"
)

func TestADirectoryAgesWithTimeAndWithEveryStart(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	require.Equal(t, uint64(1), d.Age())
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.GrowOlder(ctx) }()
		for _, wait := range []time.Duration{time.Second, 30 * time.Second, 30 * time.Second} {
			before := d.Age()
			time.Sleep(wait + time.Millisecond)
			require.Equal(t, before+1, d.Age())
		}
		cancel()
		require.NoError(t, <-ended)
	})
	require.NoError(t, d.Close())
	d = open(t, path)
	require.Equal(t, uint64(5), d.Age(), "what it was told before is on disk")
	require.Equal(t, uint64(2), d.BootEpoch())
}

// TestACopyIsYoungerThanItsOriginal is what the age is for: the copy is started last,
// after the original, and has the same boot epoch.
func TestACopyIsYoungerThanItsOriginal(t *testing.T) {
	path, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	require.NoError(t, open(t, path).Close())
	require.NoError(t, os.CopyFS(copied, os.DirFS(path)))

	original := open(t, path)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		require.NoError(t, original.GrowOlder(ctx))
	})
	require.NoError(t, original.Close())
	late := open(t, copied)
	require.Equal(t, original.BootEpoch(), late.BootEpoch())
	require.Less(t, late.Age(), original.Age())
}

func TestADirectoryThatCannotBeWrittenDoesNotAge(t *testing.T) {
	d, err := hostdir.Open(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, d.Close())
	synctest.Test(t, func(t *testing.T) {
		require.ErrorContains(t, d.GrowOlder(t.Context()), "note the age of data directory")
	})
	require.Equal(t, uint64(1), d.Age())
}
