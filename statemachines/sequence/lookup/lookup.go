// Package lookup finds the sequences of a large family by their keys.
//
// In a family of a million no sequence is in a cache, so what an allocation costs is how
// often it waits for memory. A Table has hash and sequence side by side: a search waits
// for one slot and for the sequence, where Go's map waits for a directory, a table, its
// control word, a slot and the key. And it can be asked ahead (Ahead) for many keys at
// once, whose waits overlap then. It grows a small page at a time, so that no command
// pays for a whole family.
//
// The hash has a secret of its own in each Table: nobody can choose keys that meet in one
// place. Nothing that is told to others depends on it, so replicas may differ in it.
package lookup

import "hash/maphash"

// Named is what a Table holds, by its key, which never changes: a pointer.
type Named interface {
	comparable
	Key() string
}

// room is how many slots a page has, so that with its depth it takes 512 bytes; fill is
// how many of them are taken before the page is split.
const (
	room = 31
	fill = 28
)

// slot is one place; its item is zero while it is free.
type slot[T Named] struct {
	hash uint64
	item T
}

// page has the items whose hashes begin with the same depth bits. A search begins where
// the hash says and goes on to the first free slot.
type page[T Named] struct {
	slots [room]slot[T]
	depth uint8
	// more has what doesn't fit while splitting would not help, as with equal hashes.
	more *page[T]
}

// Table finds items by key. It is for one goroutine that changes it, or many that read.
type Table[T Named] struct {
	seed maphash.Seed
	// mask keeps all bits of hashes, except in tests.
	mask uint64
	// pages by the first bits of hashes; a page that is less deep than this is here
	// several times, side by side.
	pages []*page[T]
	// depth is how many bits tell pages apart.
	depth uint8
	count int
}

// New makes an empty Table.
func New[T Named]() *Table[T] { return &Table[T]{seed: maphash.MakeSeed(), mask: 1<<64 - 1} }

// Len is how many items there are.
func (t *Table[T]) Len() int { return t.count }

// Hash is of a key, in this Table.
func (t *Table[T]) Hash(key string) uint64 { return maphash.String(t.seed, key) & t.mask }

// HashOf is the same of a key that is no string yet.
func (t *Table[T]) HashOf(key []byte) uint64 { return maphash.Bytes(t.seed, key) & t.mask }

// Get is the item of a key with its hash; zero without.
func (t *Table[T]) Get(hash uint64, key string) (item T) {
	if s := t.find(hash, key); s != nil {
		item = s.item
	}
	return item
}

// Ahead looks for many hashes at once: found[i] is the first item of hashes[i], zero
// without. A processor waits for many slots at a time if nothing is decided by them, so they
// are touched first; the sum of what was touched is of no use, but that no compiler
// leaves the touching out.
func (t *Table[T]) Ahead(hashes []uint64, found []T) (touched uint64) {
	var none T
	clear(found)
	if len(t.pages) == 0 {
		return 0
	}
	for _, h := range hashes {
		touched += t.page(h).slots[first(h)].hash
	}
	for i, h := range hashes {
		p, at := t.page(h), first(h)
		for range room {
			s := &p.slots[at]
			if s.item == none || s.hash == h {
				found[i] = s.item
				break
			}
			if at++; at == room {
				at = 0
			}
		}
	}
	return touched
}

// first is where a search in a page begins. Pages are told apart by the other end of hashes.
func first(hash uint64) int { return int(uint64(uint32(hash)) * room >> 32) }

// page is where a hash belongs.
func (t *Table[T]) page(hash uint64) *page[T] {
	if len(t.pages) == 0 {
		return nil
	}
	return t.pages[hash>>(64-t.depth)]
}

func (t *Table[T]) find(hash uint64, key string) *slot[T] {
	var none T
	for p := t.page(hash); p != nil; p = p.more {
		at := first(hash)
		for range room {
			s := &p.slots[at]
			if s.item == none {
				break
			}
			if s.hash == hash && s.item.Key() == key {
				return s
			}
			if at++; at == room {
				at = 0
			}
		}
	}
	return nil
}

// Put takes an item in, in the place of the one that had its key.
func (t *Table[T]) Put(item T) {
	key := item.Key()
	hash := t.Hash(key)
	if s := t.find(hash, key); s != nil {
		s.item = item
		return
	}
	if len(t.pages) == 0 {
		t.pages = []*page[T]{{}}
	}
	for t.page(hash).taken() >= fill && t.splits(t.page(hash)) {
		t.split(hash)
	}
	t.page(hash).add(slot[T]{hash, item})
	t.count++
}

// Delete lets the item of a key go.
func (t *Table[T]) Delete(key string) {
	hash := t.Hash(key)
	gone := t.find(hash, key)
	if gone == nil {
		return
	}
	if t.count--; t.count == 0 {
		t.pages, t.depth = nil, 0
		return
	}
	var none T
	gone.item = none
	old := *t.page(hash)
	*t.page(hash) = page[T]{depth: old.depth}
	old.each(t.page(hash).add) // anew, so that no search ends too early
}

// splits tells whether a full page is worth splitting. Pages of random hashes are; where
// hashes are equal the directory would double and double.
func (t *Table[T]) splits(p *page[T]) bool { return p.depth < t.depth || len(t.pages) <= t.count }

// split makes two pages of the one where a hash belongs.
func (t *Table[T]) split(hash uint64) {
	old := t.page(hash)
	if old.depth == t.depth {
		t.double()
	}
	depth := old.depth + 1
	halves := [2]*page[T]{{depth: depth}, {depth: depth}}
	old.each(func(s slot[T]) { halves[s.hash>>(64-depth)&1].add(s) })
	span := 1 << (t.depth - depth) // how often each half is in the directory
	from := int(hash>>(64-old.depth)) * 2 * span
	for i := range 2 * span {
		t.pages[from+i] = halves[i/span]
	}
}

// double makes room for twice as many pages; each is there twice then.
func (t *Table[T]) double() {
	pages := make([]*page[T], 0, 2*len(t.pages))
	for _, p := range t.pages {
		pages = append(pages, p, p)
	}
	t.pages = pages
	t.depth++
}

// taken is how many slots of a page are.
func (p *page[T]) taken() (n int) {
	var none T
	for i := range p.slots {
		if p.slots[i].item != none {
			n++
		}
	}
	return n
}

// add puts an item into a free slot.
func (p *page[T]) add(s slot[T]) {
	var none T
	at := first(s.hash)
	for range room {
		if p.slots[at].item == none {
			p.slots[at] = s
			return
		}
		at = (at + 1) % room
	}
	if p.more == nil {
		p.more = &page[T]{}
	}
	p.more.add(s)
}

// each passes all items.
func (p *page[T]) each(do func(slot[T])) {
	var none T
	for ; p != nil; p = p.more {
		for i := range p.slots {
			if p.slots[i].item != none {
				do(p.slots[i])
			}
		}
	}
}
