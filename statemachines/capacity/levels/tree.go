// Package levels keeps claims on one capacity in the order of their wants per unit
// of weight, with the sums of what stands before each, so that the water level of
// a fair division is found in as many steps as the tree is deep.
//
// The tree is a treap: the weight of a claim in the balance is a hash of its slot.
// So its shape depends on nothing but the claims in it, and every sum is built of
// the same parts in the same order, whatever came and went before: replicas that
// took different roads to one state agree to the last bit.
package levels

// Claim is what one holder wants, with its weight. Slots differ within a tree.
type Claim struct {
	Slot   uint32
	Weight uint32 // at least 1
	Wants  float64
}

// none is the index of no node.
const none = 0

// node of the tree. Nodes live in one slice and name each other by index, which
// spares the collector a walk over them. A node knows the sums of both its
// subtrees, so that a way down or up touches no node beside it: a node is less than
// a cache line, and what is beside the way most often is in no cache.
type node struct {
	wants       float64
	left, right side
	weight      uint32
	slot        uint32
}

// side is a subtree of a node, with its sums.
type side struct {
	wants  float64
	weight float64
	root   uint32
}

// Tree of claims. The zero value is not ready; make one with New.
type Tree struct {
	nodes []node // nodes[0] is none
	spare []uint32
	all   side
}

// New makes an empty tree.
func New() *Tree { return &Tree{nodes: make([]node, 1)} }

// Wants is the sum of all wants.
func (t *Tree) Wants() float64 { return t.all.wants }

// Weight is the sum of all weights.
func (t *Tree) Weight() float64 { return t.all.weight }

// Insert adds a claim.
func (t *Tree) Insert(c Claim) {
	n := node{wants: c.Wants, weight: c.Weight, slot: c.Slot}
	at := uint32(len(t.nodes))
	if last := len(t.spare) - 1; last >= 0 {
		at, t.spare = t.spare[last], t.spare[:last]
		t.nodes[at] = n
	} else {
		t.nodes = append(t.nodes, n)
	}
	t.all = t.insert(t.all, at)
}

// Delete removes a claim, which must be the very one that was inserted.
func (t *Tree) Delete(c Claim) {
	t.all = t.remove(t.all, key{ratio: c.Wants / float64(c.Weight), slot: c.Slot})
}

// Level is how much each unit of weight gets when capacity is divided max-min
// fairly: claims get the smaller of their wants and level times their weight.
// limited is false when there is enough for everybody.
func (t *Tree) Level(capacity float64) (level float64, limited bool) {
	if t.all.wants <= capacity {
		return 0, false
	}
	met, rest := 0.0, t.all.weight // what those before want, the weight of the others
	for at := t.all.root; at != none; {
		n := &t.nodes[at]
		wants := met + n.left.wants + n.wants
		weight := rest - n.left.weight - float64(n.weight)
		if wants+float64(n.ratio()*weight) <= capacity {
			met, rest, at = wants, weight, n.right.root
		} else {
			at = n.left.root
		}
	}
	if rest <= 0 { // rounding met everybody
		return 0, false
	}
	return max(0, capacity-met) / rest, true
}

// Below sums the claims up that want less than ratio per unit of weight.
func (t *Tree) Below(ratio float64) (wants, weight float64) {
	for at := t.all.root; at != none; {
		n := &t.nodes[at]
		if n.ratio() < ratio {
			wants += n.left.wants + n.wants
			weight += n.left.weight + float64(n.weight)
			at = n.right.root
		} else {
			at = n.left.root
		}
	}
	return wants, weight
}

// key is what claims are ordered by.
type key struct {
	ratio float64
	slot  uint32
}

func (n *node) ratio() float64 { return n.wants / float64(n.weight) }

func (n *node) key() key { return key{ratio: n.ratio(), slot: n.slot} }

// before is the order of the tree.
func (k key) before(o key) bool { return k.ratio < o.ratio || (k.ratio == o.ratio && k.slot < o.slot) }

// side sums a subtree up by its root.
func (t *Tree) side(at uint32) side {
	n := &t.nodes[at]
	return side{
		wants:  n.left.wants + n.wants + n.right.wants,
		weight: n.left.weight + float64(n.weight) + n.right.weight,
		root:   at,
	}
}

// above tells whether node a belongs nearer to the root than node b.
func (t *Tree) above(a, b uint32) bool { return hash(t.nodes[a].slot) > hash(t.nodes[b].slot) }

// hash is a bijection, so that two slots never weigh the same.
func hash(slot uint32) uint64 {
	z := uint64(slot) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (t *Tree) insert(s side, at uint32) side {
	if s.root == none {
		return t.side(at)
	}
	n, r := &t.nodes[at], &t.nodes[s.root]
	switch {
	case t.above(at, s.root):
		n.left, n.right = t.split(s, n.key())
		return t.side(at)
	case r.key().before(n.key()):
		r.right = t.insert(r.right, at)
	default:
		r.left = t.insert(r.left, at)
	}
	return t.side(s.root)
}

// split cuts a subtree into what stands before a key and what stands behind it.
func (t *Tree) split(s side, k key) (before, behind side) {
	if s.root == none {
		return side{}, side{}
	}
	r := &t.nodes[s.root]
	if r.key().before(k) {
		r.right, behind = t.split(r.right, k)
		return t.side(s.root), behind
	}
	before, r.left = t.split(r.left, k)
	return before, t.side(s.root)
}

func (t *Tree) remove(s side, k key) side {
	if s.root == none {
		return side{}
	}
	r := &t.nodes[s.root]
	switch mine := r.key(); {
	case mine == k:
		joined := t.join(r.left, r.right)
		*r = node{}
		t.spare = append(t.spare, s.root)
		return joined
	case mine.before(k):
		r.right = t.remove(r.right, k)
	default:
		r.left = t.remove(r.left, k)
	}
	return t.side(s.root)
}

// join makes one subtree of two, all of the first before all of the second.
func (t *Tree) join(a, b side) side {
	switch {
	case a.root == none:
		return b
	case b.root == none:
		return a
	case t.above(a.root, b.root):
		n := &t.nodes[a.root]
		n.right = t.join(n.right, b)
		return t.side(a.root)
	}
	n := &t.nodes[b.root]
	n.left = t.join(a, n.left)
	return t.side(b.root)
}
