package hostdir_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/hostdir"
)

func TestEveryStartInMemoryIsANewHost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	first, err := hostdir.OpenMemory(path)
	require.NoError(t, err)
	require.NoError(t, first.Book().Learn("nh-other", "127.0.0.1:1", 3))
	require.NoError(t, os.WriteFile(filepath.Join(first.RaftDir(), "left"), nil, 0o600))
	require.NoError(t, first.Close())
	second, err := hostdir.OpenMemory(path)
	require.NoError(t, err)
	require.NotEqual(t, first.Host(), second.Host(), "it has forgotten its votes")
	require.True(t, second.Fresh())
	require.Equal(t, uint64(1), second.BootEpoch())
	require.Empty(t, second.Book().All())
	require.NoFileExists(t, filepath.Join(second.RaftDir(), "left"))
	_, err = hostdir.OpenMemory(path)
	require.ErrorIs(t, err, hostdir.ErrInUse)
	require.NoError(t, second.Close())
}

func TestMemoryAndDiskShareNoDirectory(t *testing.T) {
	disk, memory := t.TempDir(), t.TempDir()
	d := open(t, disk)
	id := d.Host()
	require.NoError(t, d.Close())
	_, err := hostdir.OpenMemory(disk)
	require.ErrorIs(t, err, hostdir.ErrStorage)
	require.ErrorContains(t, err, "holds a host whose replicas are on disk")
	d = open(t, disk)
	require.Equal(t, id, d.Host(), "the refusal left everything as it was")

	m, err := hostdir.OpenMemory(memory)
	require.NoError(t, err)
	require.NoError(t, m.Close())
	_, err = hostdir.Open(memory)
	require.ErrorIs(t, err, hostdir.ErrStorage)
	require.ErrorContains(t, err, "remove the directory")

	stray := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(stray, "raft", "x"), 0o700))
	_, err = hostdir.OpenMemory(stray)
	require.ErrorIs(t, err, hostdir.ErrDamaged, "Raft data of nobody is not thrown away")
}
