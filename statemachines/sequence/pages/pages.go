// Package pages keeps the sequences of a large family, each by its key.
//
// A family may have a million, and two things must not look at all of them then: Go's
// garbage collector, and a snapshot's copying. So sequences are rows of pages: all that has
// pointers stands at a page's beginning, where the collector stops reading, and keys of a
// page are one string. And what a snapshot reads is copied, a page at a time, only while
// somebody reads it: when the snapshot is written, rows are changed in place again.
package pages

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/drumline/drumline/statemachines/sequence/lookup"
)

// ID names a row while its key is there. None is 0.
type ID = lookup.ID

// rowsInPage makes a page of rows of 160 bytes fit one of the sizes that Go allocates.
const rowsInPage = 32

// Tied is what a row has pointers in.
type Tied[T any] interface {
	// Copied is a copy that can be changed while the original is read.
	Copied() T
}

// page has rows. What has pointers comes first: the collector reads no further.
type page[T Tied[T], R any] struct {
	keys  string
	ties  [rowsInPage]T
	epoch uint64
	// taken has a bit for each row that has a key.
	taken uint32
	rows  [rowsInPage]row[R]
}

// row is one, with the place of its key.
type row[R any] struct {
	at, size uint32
	value    R
}

// life tells what may be changed in place.
type life struct {
	// epoch grows with each View: what was touched in an older one may be a View's.
	epoch uint64
	// views are those that are not closed yet.
	views atomic.Int64
}

// private tells whether what was last touched in that epoch is nobody else's.
func (l *life) private(epoch uint64) bool { return epoch == l.epoch || l.views.Load() == 0 }

// Book has rows by their keys: R is of what has no pointers, T of what has. It is for one
// goroutine that changes it or many that read, and Views are read beside that.
type Book[T Tied[T], R any] struct {
	*life
	index *lookup.Table
	order order
	pages []*page[T, R]
	// free are rows whose keys are gone, to be used again.
	free []ID
}

// New makes an empty Book.
func New[T Tied[T], R any]() *Book[T, R] {
	l := &life{epoch: 1}
	b := &Book[T, R]{life: l, order: order{life: l}}
	b.index = lookup.New(b)
	return b
}

// Len is how many keys there are.
func (b *Book[T, R]) Len() int { return b.index.Len() }

// Hash is of a key, in this Book.
func (b *Book[T, R]) Hash(key string) uint64 { return b.index.Hash(key) }

// HashOf is the same of a key that is no string yet.
func (b *Book[T, R]) HashOf(key []byte) uint64 { return b.index.HashOf(key) }

// Find is the row of a key with its hash; 0 without.
func (b *Book[T, R]) Find(hash uint64, key string) ID { return b.index.Get(hash, key) }

func place(id ID) (page, at int) { return int(id-1) / rowsInPage, int(id-1) % rowsInPage }

// Key implements lookup.Names.
func (b *Book[T, R]) Key(id ID) string {
	n, at := place(id)
	return b.pages[n].key(at)
}

func (p *page[T, R]) key(at int) string {
	r := &p.rows[at]
	return p.keys[r.at : r.at+r.size]
}

// Row is a row to be read, until the Book is changed.
func (b *Book[T, R]) Row(id ID) (*T, *R) {
	n, at := place(id)
	p := b.pages[n]
	return &p.ties[at], &p.rows[at].value
}

// Own is a row to be changed, until the next View is made. It makes others of Row stale.
func (b *Book[T, R]) Own(id ID) (*T, *R) {
	n, at := place(id)
	p := b.own(n)
	return &p.ties[at], &p.rows[at].value
}

func (b *Book[T, R]) own(n int) *page[T, R] {
	p := b.pages[n]
	if !b.private(p.epoch) {
		p = p.copied()
		b.pages[n] = p
	}
	p.epoch = b.epoch
	return p
}

func (p *page[T, R]) copied() *page[T, R] {
	c := *p
	for i := range c.ties {
		c.ties[i] = c.ties[i].Copied()
	}
	return &c
}

// Add makes an empty row, to be changed, of a key that has none.
func (b *Book[T, R]) Add(key string) ID {
	id := b.room()
	n, at := place(id)
	p := b.own(n)
	p.rows[at] = row[R]{at: uint32(len(p.keys)), size: uint32(len(key))}
	p.keys += key
	p.taken |= 1 << at
	b.index.Put(id)
	b.order.insert(b, id)
	return id
}

// room is a row that has no key.
func (b *Book[T, R]) room() ID {
	if len(b.free) == 0 {
		first := ID(len(b.pages)*rowsInPage) + 1
		b.pages = append(b.pages, &page[T, R]{epoch: b.epoch})
		for i := range ID(rowsInPage) {
			b.free = append(b.free, first+rowsInPage-1-i)
		}
	}
	id := b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	return id
}

// Drop lets a row and its key go.
func (b *Book[T, R]) Drop(id ID) {
	b.order.remove(b, id)
	b.index.Delete(b.Key(id))
	n, at := place(id)
	p := b.own(n)
	var none T
	p.ties[at], p.rows[at] = none, row[R]{}
	p.taken &^= 1 << at
	p.pack()
	b.free = append(b.free, id)
}

// pack writes the keys of a page anew, without those that are gone.
func (p *page[T, R]) pack() {
	var keys strings.Builder
	for at := range p.rows {
		if p.taken&(1<<at) == 0 {
			continue
		}
		key := p.key(at)
		p.rows[at].at = uint32(keys.Len())
		keys.WriteString(key)
	}
	p.keys = keys.String()
}

// Ascend passes rows by their keys, from one on, until do returns false.
func (b *Book[T, R]) Ascend(from string, do func(ID) bool) { b.order.ascend(b, from, do) }

// Ahead looks for many hashes at once, as lookup.Table.Ahead does, and fetches what a
// look at a row and its key begins with.
func (b *Book[T, R]) Ahead(hashes []uint64, found []ID) (touched uint64) {
	touched = b.index.Ahead(hashes, found)
	for _, id := range found {
		if id != 0 {
			n, at := place(id)
			touched += b.pages[n].epoch + uint64(b.pages[n].rows[at].at)
		}
	}
	return touched
}

// View is all rows as they were when it was made.
type View[T Tied[T], R any] struct {
	pages  []*page[T, R]
	blocks []*block
	count  int
	life   *life
}

// Freeze makes a View, which costs 8 bytes for each page; its user closes it.
func (b *Book[T, R]) Freeze() *View[T, R] {
	b.epoch++
	b.views.Add(1)
	return &View[T, R]{pages: slices.Clone(b.pages), blocks: slices.Clone(b.order.blocks), count: b.Len(), life: b.life}
}

// Len is how many rows there are.
func (v *View[T, R]) Len() int { return v.count }

// Ascend passes all rows by their keys, until do returns false. They must not be changed.
func (v *View[T, R]) Ascend(do func(key string, ties *T, row *R) bool) {
	for _, b := range v.blocks {
		for _, id := range b.ids[:b.size] {
			n, at := place(id)
			p := v.pages[n]
			if !do(p.key(at), &p.ties[at], &p.rows[at].value) {
				return
			}
		}
	}
}

// Close lets the Book change in place what the View has; it may be called again.
func (v *View[T, R]) Close() {
	if v.life != nil {
		v.life.views.Add(-1)
	}
	v.pages, v.blocks, v.life = nil, nil, nil
}
