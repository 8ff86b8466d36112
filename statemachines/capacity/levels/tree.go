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
	Weight float64 // a whole number, at least 1
	Wants  float64
}

// ratio is what claims are ordered by.
func (c Claim) ratio() float64 { return c.Wants / c.Weight }

// none is the index of no node.
const none = 0

// node of the tree. Nodes live in one slice and name each other by index, which
// spares the collector a walk over them.
type node struct {
	ratio       float64
	wants       float64
	weight      float64
	wantsBelow  float64 // sum over the subtree
	weightBelow float64
	slot        uint32
	left, right uint32
}

// Tree of claims. The zero value is not ready; make one with New.
type Tree struct {
	nodes []node // nodes[0] is none: its sums are zero
	spare []uint32
	root  uint32
}

// New makes an empty tree.
func New() *Tree { return &Tree{nodes: make([]node, 1)} }

// Wants is the sum of all wants.
func (t *Tree) Wants() float64 { return t.nodes[t.root].wantsBelow }

// Weight is the sum of all weights.
func (t *Tree) Weight() float64 { return t.nodes[t.root].weightBelow }

// Insert adds a claim.
func (t *Tree) Insert(c Claim) {
	n := node{ratio: c.ratio(), wants: c.Wants, weight: c.Weight, slot: c.Slot}
	at := uint32(len(t.nodes))
	if last := len(t.spare) - 1; last >= 0 {
		at, t.spare = t.spare[last], t.spare[:last]
		t.nodes[at] = n
	} else {
		t.nodes = append(t.nodes, n)
	}
	t.root = t.insert(t.root, at)
}

// Delete removes a claim, which must be the very one that was inserted.
func (t *Tree) Delete(c Claim) {
	t.root = t.remove(t.root, c.ratio(), c.Slot)
}

// Level is how much each unit of weight gets when capacity is divided max-min
// fairly: claims get the smaller of their wants and level times their weight.
// limited is false when there is enough for everybody.
func (t *Tree) Level(capacity float64) (level float64, limited bool) {
	if t.Wants() <= capacity {
		return 0, false
	}
	met, rest := 0.0, t.Weight() // what those before want, the weight of the others
	for at := t.root; at != none; {
		n := &t.nodes[at]
		l := &t.nodes[n.left]
		wants := met + l.wantsBelow + n.wants
		weight := rest - l.weightBelow - n.weight
		if wants+float64(n.ratio*weight) <= capacity {
			met, rest, at = wants, weight, n.right
		} else {
			at = n.left
		}
	}
	if rest <= 0 { // rounding met everybody
		return 0, false
	}
	return max(0, capacity-met) / rest, true
}

// Below sums the claims up that want less than ratio per unit of weight.
func (t *Tree) Below(ratio float64) (wants, weight float64) {
	for at := t.root; at != none; {
		n := &t.nodes[at]
		if n.ratio < ratio {
			l := &t.nodes[n.left]
			wants += l.wantsBelow + n.wants
			weight += l.weightBelow + n.weight
			at = n.right
		} else {
			at = n.left
		}
	}
	return wants, weight
}

// before is the order of the tree.
func (n *node) before(ratio float64, slot uint32) bool {
	return n.ratio < ratio || (n.ratio == ratio && n.slot < slot)
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

func (t *Tree) insert(root, at uint32) uint32 {
	if root == none {
		return t.sum(at)
	}
	n := &t.nodes[at]
	if t.above(at, root) {
		n.left, n.right = t.split(root, n.ratio, n.slot)
		return t.sum(at)
	}
	r := &t.nodes[root]
	if r.before(n.ratio, n.slot) {
		r.right = t.insert(r.right, at)
	} else {
		r.left = t.insert(r.left, at)
	}
	return t.sum(root)
}

// split cuts a subtree into what stands before a key and what stands behind it.
func (t *Tree) split(root uint32, ratio float64, slot uint32) (before, behind uint32) {
	if root == none {
		return none, none
	}
	r := &t.nodes[root]
	if r.before(ratio, slot) {
		r.right, behind = t.split(r.right, ratio, slot)
		return t.sum(root), behind
	}
	before, r.left = t.split(r.left, ratio, slot)
	return before, t.sum(root)
}

func (t *Tree) remove(root uint32, ratio float64, slot uint32) uint32 {
	if root == none {
		return none
	}
	r := &t.nodes[root]
	switch {
	case r.ratio == ratio && r.slot == slot:
		joined := t.join(r.left, r.right)
		*r = node{}
		t.spare = append(t.spare, root)
		return joined
	case r.before(ratio, slot):
		r.right = t.remove(r.right, ratio, slot)
	default:
		r.left = t.remove(r.left, ratio, slot)
	}
	return t.sum(root)
}

// join makes one subtree of two, all of the first before all of the second.
func (t *Tree) join(a, b uint32) uint32 {
	switch {
	case a == none:
		return b
	case b == none:
		return a
	case t.above(a, b):
		t.nodes[a].right = t.join(t.nodes[a].right, b)
		return t.sum(a)
	}
	t.nodes[b].left = t.join(a, t.nodes[b].left)
	return t.sum(b)
}

// sum brings the sums of a node up to date; the children's are.
func (t *Tree) sum(at uint32) uint32 {
	n := &t.nodes[at]
	l, r := &t.nodes[n.left], &t.nodes[n.right]
	n.wantsBelow = l.wantsBelow + n.wants + r.wantsBelow
	n.weightBelow = l.weightBelow + n.weight + r.weightBelow
	return at
}
