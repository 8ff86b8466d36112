package tombs

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/internal/ids"
)

func TestKeysOnDiskAreReadAndInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64()
		a, b := KeyOf(n.Draw(t, "group"), n.Draw(t, "replica")), KeyOf(n.Draw(t, "other group"), n.Draw(t, "other replica"))
		back, err := KeyFrom(a.Bytes())
		require.NoError(t, err)
		require.Equal(t, a, back)
		require.Equal(t, a.Compare(b) < 0, string(a.Bytes()) < string(b.Bytes()))
	})
	_, err := KeyFrom([]byte("abc"))
	require.ErrorContains(t, err, "3 bytes, want 16")
}

// What is read from disk again knows what it knew, whatever was buried and forgotten before.
func TestTombsOutliveTheProcess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var now Tombs
		now.Load(nil)
		disk := map[Key]Stone{}
		small := rapid.Uint64Range(1, 4)
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			k := KeyOf(small.Draw(t, "group"), small.Draw(t, "replica"))
			before := now.Generation(k.Group)
			generation := rapid.Uint64Range(1, 9).Draw(t, "generation")
			s := now.Add(k, generation)
			disk[s.Key()] = s
			require.True(t, now.Has(k))
			require.Equal(t, max(before, generation), now.Generation(k.Group))
			for _, old := range now.Trim(6) {
				delete(disk, old)
				require.False(t, now.Has(old))
			}
			require.LessOrEqual(t, len(disk), 6)
		}
		var again Tombs
		again.Load(disk)
		require.Equal(t, now.order, again.order, "the same ones are forgotten next")
		require.Equal(t, now.last, again.last)
		for k := range disk {
			require.True(t, again.Has(k))
		}
		for g := ids.Group(1); g <= 4; g++ {
			require.LessOrEqual(t, again.Generation(g), now.Generation(g), "one that was forgotten may have had the newest")
		}
	})
}
