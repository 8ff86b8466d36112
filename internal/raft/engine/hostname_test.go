package engine

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/lni/dragonboat/v3/raftpb"
	"github.com/stretchr/testify/require"
)

func TestHostnameRepairIsCarefulAndIdempotent(t *testing.T) {
	write := func(t *testing.T, host string) string {
		t.Helper()
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "old", "data"), 0o700))
		status, err := readFlag(filepath.Join(dir, flagFile))
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.Nil(t, status)
		st := &raftpb.RaftDataStatus{Hostname: host}
		require.NoError(t, writeFlag(filepath.Join(dir, flagFile), st))
		return dir
	}
	t.Run("interrupted after the move", func(t *testing.T) {
		dir := write(t, "old")
		require.NoError(t, moveTree(dir, "old", "new"))
		require.NoError(t, renameHost(dir, "new", slog.New(slog.DiscardHandler)))
		require.NoError(t, renameHost(dir, "new", slog.New(slog.DiscardHandler)))
		require.DirExists(t, filepath.Join(dir, "new", "data"))
		st, err := readFlag(filepath.Join(dir, flagFile))
		require.NoError(t, err)
		require.Equal(t, "new", st.Hostname)
	})
	t.Run("and back", func(t *testing.T) {
		dir := write(t, "old")
		require.NoError(t, renameHost(dir, "new", slog.New(slog.DiscardHandler)))
		require.NoError(t, renameHost(dir, "old", slog.New(slog.DiscardHandler)))
		require.DirExists(t, filepath.Join(dir, "old", "data"))
	})
	t.Run("empty directories of a refused start give way", func(t *testing.T) {
		dir := write(t, "old")
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "new", "00000000000000000001"), 0o700))
		require.NoError(t, renameHost(dir, "new", slog.New(slog.DiscardHandler)))
		require.DirExists(t, filepath.Join(dir, "new", "data"))
	})
	t.Run("files do not", func(t *testing.T) {
		dir := write(t, "old")
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "new"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "new", "precious"), nil, 0o600))
		require.ErrorContains(t, renameHost(dir, "new", slog.New(slog.DiscardHandler)), "precious is in the way")
		require.FileExists(t, filepath.Join(dir, "new", "precious"))
	})
	t.Run("a damaged flag file is an error", func(t *testing.T) {
		dir := write(t, "old")
		require.NoError(t, os.WriteFile(filepath.Join(dir, flagFile), []byte("damaged"), 0o600))
		err := renameHost(dir, "new", slog.New(slog.DiscardHandler))
		require.Error(t, err)
		require.NotErrorIs(t, err, fs.ErrNotExist)
	})
}
