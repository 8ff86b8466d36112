package snapshot_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/statemachines/snapshot"
)

func write(t testing.TB, app string, version uint64) []byte {
	var out bytes.Buffer
	s := snapshot.NewWriter(&out, app, version)
	s.Uvarint(1 << 40)
	s.Bytes([]byte("text"))
	s.Bytes(nil)
	n, err := s.Close()
	require.NoError(t, err)
	require.EqualValues(t, out.Len(), n)
	return out.Bytes()
}

func read(data []byte) (uint64, []byte, error) {
	s, err := snapshot.NewReader(bytes.NewReader(data), "app", 2)
	if err != nil {
		return 0, nil, err
	}
	n, text := s.Uvarint(), s.Bytes(10)
	s.Bytes(10)
	return n, text, s.Close()
}

func TestRoundTrip(t *testing.T) {
	n, text, err := read(write(t, "app", 2))
	require.NoError(t, err)
	require.EqualValues(t, 1<<40, n)
	require.Equal(t, "text", string(text))
}

func TestVersionIsTold(t *testing.T) {
	s, err := snapshot.NewReader(bytes.NewReader(write(t, "app", 1)), "app", 2)
	require.NoError(t, err)
	require.EqualValues(t, 1, s.Version())
}

func TestRefusals(t *testing.T) {
	good := write(t, "app", 1)
	for name, c := range map[string]struct {
		data     []byte
		sentence string
	}{
		"another app":     {write(t, "other", 1), `of app "other"`},
		"newer version":   {write(t, "app", 3), "format version is 3"},
		"version nought":  {write(t, "app", 0), "format version is 0"},
		"something else":  {bytes.Repeat([]byte("x"), 100), "does not begin like a snapshot"},
		"nothing":         {nil, "cut short"},
		"bytes behind it": {append(bytes.Clone(good), 'x'), "bytes follow"},
		"checksum":        {append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1), "checksum"},
	} {
		_, _, err := read(c.data)
		require.ErrorIs(t, err, snapshot.ErrCorrupt, name)
		require.ErrorContains(t, err, c.sentence, name)
	}
	for i := range good {
		_, _, err := read(good[:i])
		require.ErrorIs(t, err, snapshot.ErrCorrupt)
	}
}

func TestLongFieldsAreNotAllocated(t *testing.T) {
	var out bytes.Buffer
	w := snapshot.NewWriter(&out, "app", 1)
	w.Uvarint(1 << 62)
	_, err := w.Close()
	require.NoError(t, err)
	s, err := snapshot.NewReader(&out, "app", 1)
	require.NoError(t, err)
	require.Nil(t, s.Bytes(1<<20))
	require.ErrorContains(t, s.Err(), "at most 1048576 are allowed")
	require.Zero(t, s.Uvarint())
	require.ErrorIs(t, s.Close(), snapshot.ErrCorrupt)
}

func TestRejectKeepsTheFirstReason(t *testing.T) {
	s, err := snapshot.NewReader(bytes.NewReader(write(t, "app", 1)), "app", 2)
	require.NoError(t, err)
	s.Reject("key %d is out of order", 7)
	s.Reject("something later")
	require.ErrorContains(t, s.Close(), "key 7 is out of order")
}

func TestStreamErrorsArePassedOn(t *testing.T) {
	boom := errors.New("boom")
	_, err := snapshot.NewReader(iotest.ErrReader(boom), "app", 1)
	require.ErrorIs(t, err, boom)
	require.NotErrorIs(t, err, snapshot.ErrCorrupt)
	s := snapshot.NewWriter(failing{boom}, "app", 1)
	s.Bytes(make([]byte, 1<<20))
	require.ErrorIs(t, s.Err(), boom)
	_, err = s.Close()
	require.ErrorIs(t, err, boom)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
