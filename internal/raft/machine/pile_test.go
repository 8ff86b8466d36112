package machine

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// due is after how many entries of a size a pile asks, and how often it has asked after
// as many again.
func due(p *pile, size int) (first, asked int) {
	for first = 1; !p.add(size); first++ {
	}
	for range first {
		if p.add(size) {
			asked++
		}
	}
	p.clear()
	return first, asked
}

func TestPileAsksForSnapshots(t *testing.T) {
	p := &pile{every: 100}
	first, asked := due(p, 36)
	require.Equal(t, 100, first, "without a state")
	require.Equal(t, 9, asked, "again and again, but not for each entry")
	p.state.Store(1000)
	first, _ = due(p, 36)
	require.Equal(t, 100, first, "of a small state")
	p.state.Store(100 * 1000)
	first, _ = due(p, 36)
	require.Equal(t, 1000, first, "when the log is as large as the state")
	first, _ = due(p, 936)
	require.Equal(t, 100, first, "sooner with large entries, but not more often than is allowed")
	p.state.Store(1 << 40)
	first, _ = due(p, 36)
	require.Equal(t, 100*mostPile, first, "what a start applies is bounded")
	never := &pile{}
	for range 10_000 {
		require.False(t, never.add(100))
	}
}

// TestSnapshotsArePaced: the machine asks its watcher, and a snapshot begins a new pile
// and is measured.
func TestSnapshotsArePaced(t *testing.T) {
	m := newTestMachine()
	m.SnapshotEvery(10)
	applyAll(m.Adapter, lead(1), open(1, 1, 2))
	serial := uint64(2)
	fill := func(entries int) (asked int) {
		before := m.piled
		for range entries {
			serial++
			applyAll(m.Adapter, commands(1, 1, serial, "some command"))
		}
		return m.piled - before
	}
	require.Zero(t, fill(7))
	require.NotZero(t, fill(10), "the tenth entry, and some later ones")
	require.Zero(t, m.pile.state.Load())
	size := uint64(len(snapshotBytes(t, m.Adapter)))
	require.Equal(t, size, m.pile.state.Load())
	m.pile.state.Store(20 * (entryBytes + 1)) // entries are larger than nothing
	require.Zero(t, fill(10), "the log is smaller than the state")
	require.NotZero(t, fill(20))
	other := newTestMachine()
	require.NoError(t, other.RecoverFromSnapshot(bytes.NewReader(snapshotBytes(t, m.Adapter)), nil, nil))
	require.Equal(t, uint64(len(snapshotBytes(t, m.Adapter))), other.pile.state.Load(), "as large as the one that came")
}
