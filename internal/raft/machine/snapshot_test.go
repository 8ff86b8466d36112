package machine

import (
	"bytes"
	"io"
	"strings"
	"testing"

	sm "github.com/lni/dragonboat/v3/statemachine"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/raft/ledger"
	"github.com/drumline/drumline/statemachines"
)

func sampleSnapshot(t testing.TB) []byte {
	r := newTestMachine()
	applyAll(r.Adapter, lead(1), open(1, 1, 1), stamped(1, 1, 2, 100, "a", strings.Repeat("b", 3*maxFrame)))
	return snapshotBytes(t, r.Adapter)
}

func restoreTest(b io.Reader) (restored, *ledger.Ledger, error) {
	l := &ledger.Ledger{}
	s, err := readSnapshot(b, l)
	return s, l, err
}

func TestSnapshotHeaderBytesAreFixed(t *testing.T) {
	l := life{applied: 300, commands: 2, term: 3, lead: 4, led: true, serial: 9, clock: 5, opened: true, version: 6, generation: 7}
	require.Equal(t, []byte("DRUMSNAP\x01\x00\x0e\x00\x00\x00\xac\x02\x02\x03\x04\x09\x05\x05\x06\x07\x03k/a"),
		appendSnapshotHeader(nil, "k/a", &l)[:snapshotFixed+14])
}

// Every single cut and every flipped byte is noticed: a damaged snapshot never
// becomes a state.
func TestSnapshotDamageIsNoticed(t *testing.T) {
	r := newTestMachine()
	applyAll(r.Adapter, lead(1), open(1, 1, 1), stamped(1, 1, 2, 100, "a", "bc"))
	b := snapshotBytes(t, r.Adapter)
	for i := range b {
		_, _, err := restoreTest(bytes.NewReader(b[:i]))
		require.Error(t, err, "cut at %d of %d", i, len(b))
		flipped := bytes.Clone(b)
		flipped[i] ^= 0x40
		_, _, err = restoreTest(bytes.NewReader(flipped))
		require.Error(t, err, "flipped at %d of %d", i, len(b))
	}
}

func TestSnapshotReadsInSmallPieces(t *testing.T) {
	b := sampleSnapshot(t)
	_, whole, err := restoreTest(bytes.NewReader(b))
	require.NoError(t, err)
	_, pieces, err := restoreTest(io.LimitReader(iotestOneByte{bytes.NewReader(b)}, int64(len(b))))
	require.NoError(t, err)
	require.Equal(t, whole.Lines, pieces.Lines)
	require.Len(t, whole.Lines, 2)
}

type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return o.r.Read(p[:1])
}

// A snapshot of our own that does not decode ends the process.
func TestRestoreOfADamagedSnapshotPanics(t *testing.T) {
	b := sampleSnapshot(t)
	b[len(b)-1] ^= 1
	require.Panics(t, func() { _ = newTestMachine().RecoverFromSnapshot(bytes.NewReader(b), nil, nil) })
	other := &recorder{codes: map[uint64]Code{}}
	other.Adapter = New(ledger.App(3), statemachines.Group{ID: 1000, Name: "ledger/other"}, other)
	require.Panics(t, func() { _ = other.RecoverFromSnapshot(bytes.NewReader(sampleSnapshot(t)), nil, nil) })
	stopped := make(chan struct{})
	close(stopped)
	require.ErrorIs(t, newTestMachine().RecoverFromSnapshot(bytes.NewReader(b), nil, stopped), sm.ErrSnapshotStopped,
		"a replica that is being stopped is no reason to panic")
}

func TestSaveSnapshotStops(t *testing.T) {
	r := newTestMachine()
	f, err := r.PrepareSnapshot()
	require.NoError(t, err)
	stopped := make(chan struct{})
	close(stopped)
	require.ErrorIs(t, r.SaveSnapshot(f, io.Discard, nil, stopped), sm.ErrSnapshotStopped)
}

func FuzzSnapshot(f *testing.F) {
	r := newTestMachine()
	applyAll(r.Adapter, lead(1), open(1, 1, 1), stamped(1, 1, 2, 100, "a", "b"))
	f.Add(snapshotBytes(f, r.Adapter))
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _, err := restoreTest(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := readSnapshotHeader(bytes.NewReader(appendSnapshotHeader(nil, s.name, &s.life)))
		require.NoError(t, err)
		require.Equal(t, s.name, again.name)
		require.Equal(t, s.life, again.life)
	})
}
