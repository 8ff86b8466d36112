package source_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/drumline/drumline/tools/drummer-cmd/internal/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endless is a stream without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestRead(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(name, []byte("four"), 0o600))
	got, err := source.Read(name, nil, 4)
	require.NoError(t, err)
	require.Equal(t, "four", string(got))
	got, err = source.Read("-", strings.NewReader("in"), 4)
	require.NoError(t, err)
	require.Equal(t, "in", string(got))

	_, err = source.Read(name, nil, 3)
	require.EqualError(t, err, "read "+name+": it has more than 3 bytes, at most so many are read")
	_, err = source.Read("-", endless{}, 1000)
	require.EqualError(t, err, "read standard input: it has more than 1000 bytes, at most so many are read")
	_, err = source.Read(dir, nil, 4)
	require.EqualError(t, err, "read "+dir+": is a directory")
	_, err = source.Read(name+"x", nil, 4)
	require.EqualError(t, err, "read "+name+"x: no such file or directory")
	require.ErrorIs(t, err, os.ErrNotExist)
}
