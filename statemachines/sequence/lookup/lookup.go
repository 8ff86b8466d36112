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

// ID is what a Table holds: the number of something that has a key. 0 is nothing.
type ID uint32

// Names tells the key of what a Table holds; it never changes.
type Names interface{ Key(ID) string }

// room is how many slots a page has, so that with its depth it takes 512 bytes; fill is
// how many of them are taken before the page is split.
const (
	room = 31
	fill = 28
)

// slot is one place; its item is 0 while it is free.
type slot struct {
	hash uint64
	item ID
}

// page has the items whose hashes begin with the same depth bits. A search begins where
// the hash says and goes on to the first free slot.
type page struct {
	// more has what doesn't fit while splitting would not help, as with equal hashes. It is
	// in front, because the garbage collector reads a page up to its last pointer.
	more  *page
	depth uint8
	slots [room]slot
}

// Table finds items by key. It is for one goroutine that changes it, or many that read.
type Table struct {
	seed  maphash.Seed
	names Names
	// mask keeps all bits of hashes, except in tests.
	mask uint64
	// pages by the first bits of hashes; a page that is less deep than this is here
	// several times, side by side.
	pages []*page
	// depth is how many bits tell pages apart.
	depth uint8
	count int
}

// New makes an empty Table.
func New(names Names) *Table { return &Table{seed: maphash.MakeSeed(), names: names, mask: 1<<64 - 1} }

// Len is how many items there are.
func (t *Table) Len() int { return t.count }

// Hash is of a key, in this Table.
func (t *Table) Hash(key string) uint64 { return maphash.String(t.seed, key) & t.mask }

// HashOf is the same of a key that is no string yet.
func (t *Table) HashOf(key []byte) uint64 { return maphash.Bytes(t.seed, key) & t.mask }

// Get is the item of a key with its hash; 0 without.
func (t *Table) Get(hash uint64, key string) (item ID) {
	if s := t.find(hash, key); s != nil {
		item = s.item
	}
	return item
}

// Ahead looks for many hashes at once: found[i] is the first item of hashes[i], 0
// without. A processor waits for many slots at a time if nothing is decided by them, so they
// are touched first; the sum of what was touched is of no use, but that no compiler
// leaves the touching out.
func (t *Table) Ahead(hashes []uint64, found []ID) (touched uint64) {
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
			if s.item == 0 || s.hash == h {
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
func (t *Table) page(hash uint64) *page {
	if len(t.pages) == 0 {
		return nil
	}
	return t.pages[hash>>(64-t.depth)]
}

func (t *Table) find(hash uint64, key string) *slot {
	for p := t.page(hash); p != nil; p = p.more {
		at := first(hash)
		for range room {
			s := &p.slots[at]
			if s.item == 0 {
				break
			}
			if s.hash == hash && t.names.Key(s.item) == key {
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
func (t *Table) Put(item ID) {
	key := t.names.Key(item)
	hash := t.Hash(key)
	if s := t.find(hash, key); s != nil {
		s.item = item
		return
	}
	if len(t.pages) == 0 {
		t.pages = []*page{{}}
	}
	for t.page(hash).taken() >= fill && t.splits(t.page(hash)) {
		t.split(hash)
	}
	t.page(hash).add(slot{hash, item})
	t.count++
}

// Delete lets the item of a key go.
func (t *Table) Delete(key string) {
	hash := t.Hash(key)
	gone := t.find(hash, key)
	if gone == nil {
		return
	}
	if t.count--; t.count == 0 {
		t.pages, t.depth = nil, 0
		return
	}
	gone.item = 0
	old := *t.page(hash)
	*t.page(hash) = page{depth: old.depth}
	old.each(t.page(hash).add) // anew, so that no search ends too early
}

// splits tells whether a full page is worth splitting. Pages of random hashes are; where
// hashes are equal the directory would double and double.
func (t *Table) splits(p *page) bool { return p.depth < t.depth || len(t.pages) <= t.count }

// split makes two pages of the one where a hash belongs.
func (t *Table) split(hash uint64) {
	old := t.page(hash)
	if old.depth == t.depth {
		t.double()
	}
	depth := old.depth + 1
	halves := [2]*page{{depth: depth}, {depth: depth}}
	old.each(func(s slot) { halves[s.hash>>(64-depth)&1].add(s) })
	span := 1 << (t.depth - depth) // how often each half is in the directory
	from := int(hash>>(64-old.depth)) * 2 * span
	for i := range 2 * span {
		t.pages[from+i] = halves[i/span]
	}
}

// double makes room for twice as many pages; each is there twice then.
func (t *Table) double() {
	pages := make([]*page, 0, 2*len(t.pages))
	for _, p := range t.pages {
		pages = append(pages, p, p)
	}
	t.pages = pages
	t.depth++
}

// taken is how many slots of a page are.
func (p *page) taken() (n int) {
	for i := range p.slots {
		if p.slots[i].item != 0 {
			n++
		}
	}
	return n
}

// add puts an item into a free slot.
func (p *page) add(s slot) {
	at := first(s.hash)
	for range room {
		if p.slots[at].item == 0 {
			p.slots[at] = s
			return
		}
		at = (at + 1) % room
	}
	if p.more == nil {
		p.more = &page{}
	}
	p.more.add(s)
}

// each passes all items.
func (p *page) each(do func(slot)) {
	for ; p != nil; p = p.more {
		for i := range p.slots {
			if p.slots[i].item != 0 {
				do(p.slots[i])
			}
		}
	}
}
