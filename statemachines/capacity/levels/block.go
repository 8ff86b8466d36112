package levels

import "slices"

// block is claims that stand beside each other, or blocks of the level below. It begins
// with a claim that is high enough for it, and the first of a level before all claims.
type block struct {
	claims []Claim // at level 0
	kids   []kid   // above
}

// kid is a block of the level below, by the key of its first claim.
type kid struct {
	head  key
	sum   sum
	block *block
}

// sum of the wants and weights of claims. Weights are whole numbers, which add up exactly.
type sum struct {
	wants  float64
	weight uint64
}

func (s sum) plus(o sum) sum { return sum{wants: s.wants + o.wants, weight: s.weight + o.weight} }

// add sums a claim up, too.
func (s *sum) add(c *Claim) {
	s.wants += c.Wants
	s.weight += uint64(c.Weight)
}

// sum adds up what is in the block: the even places and the odd ones by themselves, so that
// an addition need not wait for the one before.
func (b *block) sum() sum {
	if b.kids != nil {
		return sumOfKids(b.kids)
	}
	var even, odd float64
	var weight uint64
	c := b.claims
	for ; len(c) > 1; c = c[2:] {
		even, odd = even+c[0].Wants, odd+c[1].Wants
		weight += uint64(c[0].Weight) + uint64(c[1].Weight)
	}
	if len(c) > 0 {
		even, weight = even+c[0].Wants, weight+uint64(c[0].Weight)
	}
	return sum{wants: even + odd, weight: weight}
}

func sumOfKids(k []kid) sum {
	var even, odd float64
	var weight uint64
	for ; len(k) > 1; k = k[2:] {
		even, odd = even+k[0].sum.wants, odd+k[1].sum.wants
		weight += k[0].sum.weight + k[1].sum.weight
	}
	if len(k) > 0 {
		even, weight = even+k[0].sum.wants, weight+k[0].sum.weight
	}
	return sum{wants: even + odd, weight: weight}
}

// place is where a claim of that key stands, or would.
func (b *block) place(k key) (at int, found bool) {
	for at < len(b.claims) && b.claims[at].key().before(k) {
		at++
	}
	return at, at < len(b.claims) && b.claims[at].key() == k
}

// kid is the place of the block in which a claim of that key stands, or would.
func (b *block) kid(k key) int {
	at := 0
	for at+1 < len(b.kids) && !k.before(b.kids[at+1].head) {
		at++
	}
	return at
}

// insert adds a claim to a block. One that is higher than the level begins a block there,
// which takes what stands behind the claim and is returned.
func (b *block) insert(n newcomer, level int) (s sum, split *block) {
	if level == 0 {
		at, _ := b.place(n.key)
		if n.height == 0 {
			b.claims = slices.Insert(b.claims, at, n.Claim)
			return b.sum(), nil
		}
		split = &block{claims: make([]Claim, 1, 2*width)}
		split.claims[0] = n.Claim
		split.claims = append(split.claims, b.claims[at:]...)
		b.claims = b.claims[:at]
		return b.sum(), split
	}
	at := b.kid(n.key)
	var below *block
	if b.kids[at].sum, below = b.kids[at].block.insert(n, level-1); below == nil {
		return b.sum(), nil
	}
	fresh := kid{head: n.key, sum: below.sum(), block: below}
	if n.height == level {
		b.kids = slices.Insert(b.kids, at+1, fresh)
		return b.sum(), nil
	}
	split = &block{kids: append([]kid{fresh}, b.kids[at+1:]...)}
	b.kids = slices.Delete(b.kids, at+1, len(b.kids))
	return b.sum(), split
}

// remove takes a claim out of a block. At its own height stands the last block that it
// begins: what is left of that joins the one before.
func (b *block) remove(n newcomer, level int) sum {
	at := b.kid(n.key)
	switch {
	case level > n.height:
		b.kids[at].sum = b.kids[at].block.remove(n, level-1)
	case level > 0:
		before := &b.kids[at-1]
		before.block.join(b.kids[at].block)
		before.sum = before.block.sum()
		b.kids = slices.Delete(b.kids, at, at+1)
	default:
		if place, found := b.place(n.key); found {
			b.claims = slices.Delete(b.claims, place, place+1)
		}
	}
	return b.sum()
}

// join takes over what is in the block behind this one, but for the claim that begins it.
func (b *block) join(o *block) {
	if b.kids == nil {
		b.claims = append(b.claims, o.claims[1:]...)
		return
	}
	last := &b.kids[len(b.kids)-1]
	last.block.join(o.kids[0].block)
	last.sum = last.block.sum()
	b.kids = append(b.kids, o.kids[1:]...)
}
