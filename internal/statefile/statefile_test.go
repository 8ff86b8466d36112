package statefile_test

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	statepb "github.com/drumline/drumline/drummerpb/state"
	"github.com/drumline/drumline/internal/statefile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func header() *statepb.Header {
	return &statepb.Header{Name: "kv/a", App: "kv", Group: 1001, Replica: 3, Applied: 77, Version: 1, Generation: 9}
}

// file is a state as a file.
func file(t require.TestingT, state []byte) []byte {
	var b bytes.Buffer
	send, err := statefile.Into(&b)
	require.NoError(t, err)
	w, err := statefile.NewWriter(header(), send)
	require.NoError(t, err)
	_, err = w.Write(state)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func read(file []byte) (*statepb.Header, []byte, error) {
	next, err := statefile.From(bytes.NewReader(file))
	if err != nil {
		return nil, nil, err
	}
	r, err := statefile.NewReader(next)
	if err != nil {
		return nil, nil, err
	}
	state, err := io.ReadAll(r)
	return r.Header(), state, err
}

func TestAStateComesBack(t *testing.T) {
	for _, size := range []int{0, 1, 256<<10 - 1, 256 << 10, 256<<10 + 1, 1 << 20} {
		state := bytes.Repeat([]byte{7}, size)
		h, got, err := read(file(t, state))
		require.NoError(t, err)
		require.True(t, proto.Equal(header(), h))
		require.True(t, bytes.Equal(state, got))
	}
}

func TestWhatIsNotTheStateIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := file(t, rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "state"))
		hurt := slices.Clone(whole)
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 0:
			hurt = hurt[:rapid.IntRange(0, len(hurt)-1).Draw(t, "length")]
		case 1:
			hurt[rapid.IntRange(0, len(hurt)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		default:
			hurt = append(hurt, rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "more")...)
		}
		_, _, err := read(hurt)
		require.Error(t, err)
	})
}

func TestCopyPassesAllPiecesOn(t *testing.T) {
	state := bytes.Repeat([]byte("abc"), 200_000)
	whole := file(t, state)
	next, err := statefile.From(bytes.NewReader(whole))
	require.NoError(t, err)
	var b bytes.Buffer
	send, err := statefile.Into(&b)
	require.NoError(t, err)
	h, err := statefile.Copy(next, send)
	require.NoError(t, err)
	require.Equal(t, "kv/a", h.GetName())
	require.True(t, bytes.Equal(whole, b.Bytes()))
}

func TestAStateCutShortIsDamaged(t *testing.T) {
	whole := file(t, []byte("state"))
	_, _, err := read(whole[:len(whole)-3])
	require.ErrorIs(t, err, statefile.ErrDamaged)
	_, _, err = read([]byte("no state at all"))
	require.ErrorIs(t, err, statefile.ErrDamaged)
}
