package lookup

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names are keys of things, whose IDs count from 1.
type names []string

func (n *names) Key(id ID) string { return (*n)[id-1] }

// add names one more thing.
func (n *names) add(key string) ID {
	*n = append(*n, key)
	return ID(len(*n))
}

// masks make hashes bad: pages that can't be told apart, places that are all one, and
// hashes that are equal.
var masks = map[string]uint64{
	"random": 1<<64 - 1, "two pages": 1<<63 | 1<<32 - 1, "one place": (1<<32 - 1) << 32, "few": 7 << 61, "equal": 0,
}

// TestTableIsAMap: whatever comes and goes, and whatever hashes are like.
func TestTableIsAMap(t *testing.T) {
	for name, mask := range masks {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			var all names
			table, want := New(&all), map[string]ID{}
			table.mask = mask
			// Each turn brings a run of keys and takes another.
			for range rapid.IntRange(0, 8).Draw(t, "turns") {
				for _, k := range some(t, "come") {
					want[k] = all.add(k)
					table.Put(want[k])
				}
				for _, k := range some(t, "go") {
					table.Delete(k)
					delete(want, k)
				}
				same(t, table, want)
			}
		}))
	}
}

// most is how many keys there are.
const most = 200

// some is keys that follow each other.
func some(t *rapid.T, what string) (keys []string) {
	from := rapid.IntRange(0, most-1).Draw(t, what)
	for i := range rapid.IntRange(0, most-from).Draw(t, "many") {
		keys = append(keys, strconv.Itoa(from+i))
	}
	return keys
}

func same(t *rapid.T, table *Table, want map[string]ID) {
	if table.Len() != len(want) {
		t.Fatalf("%d items, want %d", table.Len(), len(want))
	}
	for i := range most {
		k := strconv.Itoa(i)
		if got := table.Get(table.Hash(k), k); got != want[k] {
			t.Fatalf("key %s: %v, want %v", k, got, want[k])
		}
	}
}

// TestLargeTable: it grows page by page, and what is asked ahead is what is found, in
// nearly all cases at the first look.
func TestLargeTable(t *testing.T) {
	const size = 100_000
	var keys names
	table, all := New(&keys), make([]ID, size)
	for i := range all {
		all[i] = keys.add(fmt.Sprintf("user/%d", i))
		table.Put(all[i])
	}
	require.Equal(t, size, table.Len())
	require.Less(t, len(table.pages), size, "a directory has a place for several keys")
	hashes, found := make([]uint64, size), make([]ID, size)
	for i, key := range keys {
		hashes[i] = table.Hash(key)
		require.Equal(t, all[i], table.Get(hashes[i], key))
		require.Equal(t, hashes[i], table.HashOf([]byte(key)))
	}
	require.Zero(t, table.Get(table.Hash("nobody"), "nobody"))
	table.Ahead(hashes, found)
	require.Equal(t, all, found)
	for _, key := range keys {
		table.Delete(key)
	}
	require.Zero(t, table.Len())
	require.Empty(t, table.pages, "an empty table takes nothing")
	found[0] = all[0]
	require.Zero(t, table.Ahead(hashes[:1], found[:1]))
	require.Zero(t, found[0])
}

// TestEqualHashes: keys that can't be told apart by their hashes are slow, and do not make the
// directory double for ever.
func TestEqualHashes(t *testing.T) {
	var all names
	table := New(&all)
	table.mask = 0
	for i := range 2000 {
		table.Put(all.add(fmt.Sprintf("k%d", i)))
	}
	require.Equal(t, 2000, table.Len())
	require.LessOrEqual(t, len(table.pages), 4000)
	require.NotZero(t, table.Get(table.Hash("k1999"), "k1999"))
}
