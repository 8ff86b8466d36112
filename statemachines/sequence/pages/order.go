package pages

import "slices"

// idsInBlock makes a block fill 1,024 bytes.
const idsInBlock = 252

// block has rows by their keys. It has no pointers.
type block struct {
	epoch uint64
	size  int
	ids   [idsInBlock]ID
}

// order is all rows by their keys, in blocks: none is empty.
type order struct {
	*life
	blocks []*block
}

// namer tells keys.
type namer interface{ Key(ID) string }

// find is the first row whose key is not less than that one: its block and its place in
// it. It may be behind the last of a block.
func (o *order) find(names namer, key string) (n, at int) {
	n, _ = slices.BinarySearchFunc(o.blocks, key, func(b *block, key string) int {
		if names.Key(b.ids[0]) <= key {
			return -1
		}
		return 1
	})
	if n == 0 { // less than all
		return 0, 0
	}
	b := o.blocks[n-1]
	at, _ = slices.BinarySearchFunc(b.ids[:b.size], key, func(id ID, key string) int {
		if names.Key(id) < key {
			return -1
		}
		return 1
	})
	return n - 1, at
}

// own is a block to be changed.
func (o *order) own(n int) *block {
	b := o.blocks[n]
	if !o.private(b.epoch) {
		c := *b
		b = &c
		o.blocks[n] = b
	}
	b.epoch = o.epoch
	return b
}

// insert takes in a row whose key is not there yet.
func (o *order) insert(names namer, id ID) {
	n, at := o.find(names, names.Key(id))
	switch {
	case len(o.blocks) == 0:
		o.blocks = append(o.blocks, &block{epoch: o.epoch})
	case o.blocks[n].size < idsInBlock:
	case at == idsInBlock && n == len(o.blocks)-1: // keys that ascend, as in a snapshot, fill blocks
		o.blocks = append(o.blocks, &block{epoch: o.epoch})
		n, at = n+1, 0
	default:
		o.split(n)
		if half := o.blocks[n].size; at > half {
			n, at = n+1, at-half
		}
	}
	b := o.own(n)
	copy(b.ids[at+1:b.size+1], b.ids[at:b.size])
	b.ids[at] = id
	b.size++
}

// split makes two blocks of one.
func (o *order) split(n int) {
	b := o.own(n)
	second := &block{epoch: o.epoch}
	second.size = copy(second.ids[:], b.ids[b.size/2:b.size])
	b.size -= second.size
	o.blocks = slices.Insert(o.blocks, n+1, second)
}

// remove lets a row go, whose key is still told.
func (o *order) remove(names namer, id ID) {
	n, at := o.find(names, names.Key(id))
	b := o.own(n)
	copy(b.ids[at:], b.ids[at+1:b.size])
	b.size--
	switch {
	case b.size == 0:
		o.blocks = slices.Delete(o.blocks, n, n+1)
	case n > 0 && b.size+o.blocks[n-1].size < idsInBlock/2: // else many would be nearly empty
		before := o.own(n - 1)
		before.size += copy(before.ids[before.size:], b.ids[:b.size])
		o.blocks = slices.Delete(o.blocks, n, n+1)
	}
}

// ascend passes rows from a key on, until do returns false.
func (o *order) ascend(names namer, from string, do func(ID) bool) {
	n, at := o.find(names, from)
	for ; n < len(o.blocks); n, at = n+1, 0 {
		b := o.blocks[n]
		for _, id := range b.ids[min(at, b.size):b.size] {
			if !do(id) {
				return
			}
		}
	}
}
