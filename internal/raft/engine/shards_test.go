package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShardsAreChosenOnce(t *testing.T) {
	dir := t.TempDir()
	first, err := ChooseShards(dir, false)
	require.NoError(t, err)
	path := filepath.Join(dir, shardsFile)
	require.NoError(t, writeShards(path, Shards{Exec: 8, Log: 4}))
	second, err := ChooseShards(dir, false)
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	require.Equal(t, Shards{Exec: 8, Log: 4}, second)
	for _, text := range []string{`{"exec_shards":4,"logdb_shards":6}`, `{"exec_shards":0,"logdb_shards":1}`, `{"exec_shards":65,"logdb_shards":1}`, `x`} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := ChooseShards(dir, false)
		require.Error(t, err, text)
	}
}

func TestShardsAreChosenForTheCores(t *testing.T) {
	for cores, exec := range map[int]uint64{1: 2, 2: 2, 3: 2, 4: 4, 7: 4, 8: 8, 64: 8} {
		s := chooseFor(cores)
		require.Equal(t, Shards{Exec: exec, Log: 1, Cores: cores}, s)
		require.NoError(t, s.check("x"))
	}
}
