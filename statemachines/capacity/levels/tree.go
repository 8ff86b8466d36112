// Package levels keeps claims on one capacity in the order of their wants per unit
// of weight, with the sums of what stands before each, so that the water level of
// a fair division is found in as many steps as the tree is deep.
//
// Claims stand in blocks of sixteen in the mean, blocks in blocks of the next level, and so
// on. A hash of its slot says how high a claim is, and a claim begins a block at each level
// below its height. So the blocks depend on nothing but the claims, and every sum is
// built of the same parts in the same order, whatever came and went before: replicas that
// took different roads to one state agree to the last bit.
//
// The tree is flat for the processor's caches: each of a group's replicas decides a little
// and does much else in between, and then all but the way down is in none. A step on the way
// reads memory that is in one piece.
package levels

import "math/bits"

// Claim is what one holder wants, with its weight. Slots differ within a tree.
type Claim struct {
	Slot   uint32
	Weight uint32 // at least 1
	Wants  float64
}

func (c *Claim) ratio() float64 { return c.Wants / float64(c.Weight) }

func (c *Claim) key() key { return key{ratio: c.ratio(), slot: c.Slot} }

// key is what claims are ordered by.
type key struct {
	ratio float64
	slot  uint32
}

// before is the order of claims.
func (k key) before(o key) bool { return k.ratio < o.ratio || (k.ratio == o.ratio && k.slot < o.slot) }

// beforeAll stands before every claim.
const beforeAll = -1

// widthBits is how many bits of a hash make a claim one level higher, width how much is in a
// block in the mean.
const (
	widthBits = 4
	width     = 1 << widthBits
)

// height is below which level a claim with that slot begins a block.
func height(slot uint32) int {
	z := uint64(slot) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return bits.TrailingZeros64(z^z>>31) / widthBits
}

// newcomer is a claim that comes or goes.
type newcomer struct {
	Claim
	key    key
	height int
}

func newcomerOf(c Claim) newcomer { return newcomer{Claim: c, key: c.key(), height: height(c.Slot)} }

// Tree of claims. The zero value is not ready; make one with New.
type Tree struct {
	root  *block
	level int // of the root: as high as the highest claim
	all   sum
}

// New makes an empty tree.
func New() *Tree { return &Tree{root: &block{}} }

// Wants is the sum of all wants.
func (t *Tree) Wants() float64 { return t.all.wants }

// Weight is the sum of all weights.
func (t *Tree) Weight() float64 { return float64(t.all.weight) }

// Insert adds a claim.
func (t *Tree) Insert(c Claim) {
	n := newcomerOf(c)
	for ; t.level < n.height; t.level++ {
		t.root = &block{kids: []kid{{head: key{ratio: beforeAll}, sum: t.all, block: t.root}}}
	}
	t.all, _ = t.root.insert(n, t.level)
}

// Delete removes a claim, which must be the very one that was inserted.
func (t *Tree) Delete(c Claim) {
	n := newcomerOf(c)
	if n.height > 0 && !t.has(n.key) {
		return
	}
	t.all = t.root.remove(n, t.level)
	for ; t.level > 0 && len(t.root.kids) == 1; t.level-- {
		t.root = t.root.kids[0].block
	}
}

// has tells whether a claim of that key is there.
func (t *Tree) has(k key) bool {
	b := t.root
	for range t.level {
		b = b.kids[b.kid(k)].block
	}
	_, found := b.place(k)
	return found
}

// Level is how much each unit of weight gets when capacity is divided max-min
// fairly: claims get the smaller of their wants and level times their weight.
// limited is false when there is enough for everybody.
func (t *Tree) Level(capacity float64) (level float64, limited bool) {
	if t.all.wants <= capacity {
		return 0, false
	}
	// met tells whether there is enough for a claim, given what those before it want, and as much
	// for each unit of the others' weight.
	met := func(before sum, ratio float64) bool {
		return before.wants+float64(ratio*float64(t.all.weight-before.weight)) <= capacity
	}
	b, before := t.root, sum{}
	for range t.level {
		at := 0
		for next := before; at+1 < len(b.kids); at++ {
			if next = next.plus(b.kids[at].sum); !met(next, b.kids[at+1].head.ratio) {
				break
			}
			before = next
		}
		b = b.kids[at].block
	}
	for i := 0; i < len(b.claims) && met(before, b.claims[i].ratio()); i++ {
		before.add(&b.claims[i])
	}
	if before.weight >= t.all.weight { // rounding met everybody
		return 0, false
	}
	return max(0, capacity-before.wants) / float64(t.all.weight-before.weight), true
}

// Below sums the claims up that want less than ratio per unit of weight.
func (t *Tree) Below(ratio float64) (wants, weight float64) {
	b, s := t.root, sum{}
	for range t.level {
		at := 0
		for ; at+1 < len(b.kids) && b.kids[at+1].head.ratio < ratio; at++ {
			s = s.plus(b.kids[at].sum)
		}
		b = b.kids[at].block
	}
	for i := 0; i < len(b.claims) && b.claims[i].ratio() < ratio; i++ {
		s.add(&b.claims[i])
	}
	return s.wants, float64(s.weight)
}
