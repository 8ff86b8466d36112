package pages_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/drumline/drumline/statemachines/sequence/pages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ties has a pointer to what a copy must not share.
type ties struct{ count *int }

func (t ties) Copied() ties {
	if t.count == nil {
		return t
	}
	n := *t.count
	return ties{&n}
}

// fact is what a test remembers of a row.
type fact struct{ row, tied int }

type book = pages.Book[ties, int]

// set gives a key a value, and makes its row if there is none.
func set(b *book, key string, value int) {
	id := b.Find(b.Hash(key), key)
	if id == 0 {
		id = b.Add(key)
	}
	t, r := b.Own(id)
	*r = value
	if t.count == nil {
		t.count = new(int)
	}
	*t.count++
}

// shown is all that a Book has, and in which order.
func shown(b *book) (keys []string, facts map[string]fact) {
	facts = map[string]fact{}
	b.Ascend("", func(id pages.ID) bool {
		t, r := b.Row(id)
		keys = append(keys, b.Key(id))
		facts[b.Key(id)] = fact{*r, *t.count}
		return true
	})
	return keys, facts
}

// seen is all that a View has.
func seen(v *pages.View[ties, int]) (keys []string, facts map[string]fact) {
	facts = map[string]fact{}
	v.Ascend(func(key string, t *ties, r *int) bool {
		keys = append(keys, key)
		facts[key] = fact{*r, *t.count}
		return true
	})
	return keys, facts
}

// look is a View, and what it must go on telling.
type look struct {
	view *pages.View[ties, int]
	want map[string]fact
}

// TestBookIsAMap: whatever comes, changes and goes, a Book has what a map would have, in
// the order of keys, and each View what there was when it was made, as long as it is open.
func TestBookIsAMap(t *testing.T) { rapid.Check(t, againstMap) }

// againstMap makes runs of keys come, change and go.
func againstMap(t *rapid.T) {
	b, want := pages.New[ties, int](), map[string]fact{}
	var looks []look
	for turn := range rapid.IntRange(1, 10).Draw(t, "turns") {
		for _, k := range some(t, "set") {
			set(b, k, turn)
			want[k] = fact{turn, want[k].tied + 1}
		}
		for _, k := range some(t, "drop") {
			if id := b.Find(b.Hash(k), k); id != 0 {
				b.Drop(id)
			}
			delete(want, k)
		}
		same(t, want)(shown(b))
		for _, l := range looks {
			same(t, l.want)(seen(l.view))
		}
		switch rapid.IntRange(0, 2).Draw(t, "view") {
		case 0:
			looks = append(looks, look{b.Freeze(), maps.Clone(want)})
		case 1:
			if len(looks) > 0 {
				looks[0].view.Close()
				looks = looks[1:]
			}
		}
	}
}

// some is keys that follow each other; most are of several pages and blocks.
func some(t *rapid.T, what string) (keys []string) {
	from := rapid.IntRange(0, 699).Draw(t, what)
	for i := range rapid.IntRange(0, 700-from).Draw(t, "many") {
		keys = append(keys, strconv.Itoa((from+i)*37%700))
	}
	return keys
}

func same(t *rapid.T, want map[string]fact) func([]string, map[string]fact) {
	return func(keys []string, facts map[string]fact) {
		if !maps.Equal(want, facts) {
			t.Fatalf("it has %v, want %v", facts, want)
		}
		if !slices.Equal(keys, slices.Sorted(maps.Keys(want))) {
			t.Fatalf("keys are out of order: %q", keys)
		}
	}
}

// TestAscendFrom: a walk begins at any key, there or not, and ends when it is told to.
func TestAscendFrom(t *testing.T) {
	b := pages.New[ties, int]()
	b.Ascend("", func(pages.ID) bool {
		t.Fatal("nothing is there")
		return false
	})
	for i := range 1000 {
		b.Add(fmt.Sprintf("%04d", i*7919%1000*2))
	}
	for _, from := range []int{0, 1, 2, 503, 504, 505, 1000, 1997, 1998, 1999, 5000} {
		var got []string
		b.Ascend(fmt.Sprintf("%04d", from), func(id pages.ID) bool {
			got = append(got, b.Key(id))
			return len(got) < 300
		})
		var want []string
		for k := (from + 1) / 2; k < 1000 && len(want) < 300; k++ {
			want = append(want, fmt.Sprintf("%04d", 2*k))
		}
		require.Equal(t, want, got, "from %d", from)
	}
}

// TestReadersBesideChanges: a View is read while the Book changes, and once it is closed
// rows are changed where they are.
func TestReadersBesideChanges(t *testing.T) {
	b := pages.New[ties, int]()
	const size = 2000
	for i := range size {
		set(b, strconv.Itoa(i), 1)
	}
	var readers sync.WaitGroup
	for turn := 2; turn < 5; turn++ {
		v := b.Freeze()
		require.Equal(t, size, v.Len())
		readers.Go(func() {
			defer v.Close()
			v.Ascend(func(_ string, t *ties, r *int) bool { return *r == turn-1 && *t.count == turn-1 })
			_, facts := seen(v)
			for _, f := range facts {
				if f != (fact{turn - 1, turn - 1}) {
					t.Errorf("a row is %v in turn %d", f, turn)
				}
			}
		})
		for i := range size {
			set(b, strconv.Itoa(i), turn)
		}
	}
	readers.Wait()
	id := b.Find(b.Hash("7"), "7")
	_, before := b.Row(id)
	_, after := b.Own(id)
	require.Same(t, before, after, "nobody reads the View any more")
	v := b.Freeze()
	_, copied := b.Own(id)
	require.NotSame(t, before, copied)
	v.Close()
	v.Close()
	_, again := b.Own(id)
	require.Same(t, copied, again)
}

// TestAhead: what is asked ahead is what is found.
func TestAhead(t *testing.T) {
	b := pages.New[ties, int]()
	var hashes []uint64
	var want []pages.ID
	for i := range 5000 {
		key := strings.Repeat("k", i%7) + strconv.Itoa(i)
		want = append(want, b.Add(key))
		hashes = append(hashes, b.HashOf([]byte(key)))
	}
	found := make([]pages.ID, len(hashes))
	require.NotZero(t, b.Ahead(hashes, found))
	require.Equal(t, want, found)
}
