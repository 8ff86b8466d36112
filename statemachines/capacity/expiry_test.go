package capacity

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestExpiriesAreInOrder: whatever is set, set again and dropped, the heap has one moment for each
// slot, and gives them in order.
func TestExpiriesAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e expiries
		want := map[uint32]moment{}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			slot := rapid.Uint32Range(0, 20).Draw(t, "slot")
			if _, has := want[slot]; has && rapid.Bool().Draw(t, "drop") {
				e.drop(slot)
				delete(want, slot)
				continue
			}
			want[slot] = moment{at: rapid.Int64Range(0, 15).Draw(t, "at"), slot: slot}
			e.set(want[slot])
		}
		sorted := slices.SortedFunc(maps.Values(want), func(a, b moment) int {
			if a.before(b) {
				return -1
			}
			return 1
		})
		require.Len(t, e.heap, len(sorted))
		for _, next := range sorted {
			require.Equal(t, next, e.heap[0])
			e.drop(next.slot)
		}
		require.Empty(t, e.heap)
	})
}

// TestWhoAskedAgainIsNotLookedAt: clients that asked again cost nothing when the moment comes
// in which their lease before would have ended.
func TestWhoAskedAgainIsNotLookedAt(t *testing.T) {
	m := New()
	const n = 5000
	for i := range uint32(n) {
		c := m.roster.add(string(rune('a' + i)))
		c.newest.expires = 10
		m.reserve(c)
	}
	m.roster.each(func(c *client) {
		c.newest.expires = 20 + int64(c.slot)
		m.reserve(c)
	})
	m.now = 15
	require.False(t, m.overdue())
	require.Len(t, m.clock.heap, n)
	require.Equal(t, moment{at: 20, slot: 0}, m.clock.heap[0])
	m.now = 30
	m.expire()
	require.Len(t, m.clock.heap, n-10)
}
