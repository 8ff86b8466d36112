package hostdir

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRoomOfARealDisk(t *testing.T) {
	dir := t.TempDir()
	n, err := freeOn(dir)
	require.NoError(t, err)
	require.Positive(t, n)
	require.NoError(t, checkRoom(freeOn, 1, []string{dir, ""}))
	require.ErrorIs(t, checkRoom(freeOn, n+1<<40, []string{dir}), ErrDiskFull)
	require.NoError(t, checkRoom(freeOn, 1, []string{filepath.Join(dir, "not made yet")}))
}

func TestTheDiskIsWatched(t *testing.T) {
	each := make(chan time.Time)
	room := make(chan uint64)
	free := func(dir string) (uint64, error) {
		if dir == "broken" {
			return 0, errors.New("EIO")
		}
		return <-room, nil
	}
	ended := make(chan error, 1)
	go func() { ended <- watchRoom(t.Context(), each, free, []string{"data"}) }()
	room <- roomToGoOn
	each <- time.Time{}
	room <- roomToGoOn - 1
	err := <-ended
	require.ErrorIs(t, err, ErrDiskFull)
	require.ErrorContains(t, err, "63 MiB are free on that of data, at least 64 MiB are needed")
	require.ErrorContains(t, watchRoom(t.Context(), each, free, []string{"broken"}), "EIO")

	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- watchRoom(ctx, each, free, []string{"data"}) }()
	room <- roomToGoOn
	cancel()
	require.NoError(t, <-ended)
}
