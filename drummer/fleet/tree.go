package fleet

import (
	"cmp"

	"github.com/google/btree"
)

// tree holds messages by their number or name. The key stands beside the message, so that
// looking one up makes no message and comparing reads none.
type tree[K cmp.Ordered, M any] struct {
	b     *btree.BTreeG[entry[K, M]]
	keyOf func(M) K
}

type entry[K cmp.Ordered, M any] struct {
	key     K
	message M
}

func newTree[K cmp.Ordered, M any](keyOf func(M) K) *tree[K, M] {
	return &tree[K, M]{btree.NewG(degree, func(a, b entry[K, M]) bool { return a.key < b.key }), keyOf}
}

// Clone shares everything copy-on-write.
func (t *tree[K, M]) Clone() *tree[K, M] { return &tree[K, M]{t.b.Clone(), t.keyOf} }

// Len counts the messages.
func (t *tree[K, M]) Len() int { return t.b.Len() }

// Get returns the message of a key, or none.
func (t *tree[K, M]) Get(key K) M {
	e, _ := t.b.Get(entry[K, M]{key: key})
	return e.message
}

// ReplaceOrInsert puts a message in.
func (t *tree[K, M]) ReplaceOrInsert(m M) { t.b.ReplaceOrInsert(entry[K, M]{t.keyOf(m), m}) }

// Delete takes the message of a key out.
func (t *tree[K, M]) Delete(key K) { t.b.Delete(entry[K, M]{key: key}) }

// Max returns the message of the highest key, if there is one.
func (t *tree[K, M]) Max() (M, bool) {
	e, ok := t.b.Max()
	return e.message, ok
}

// Ascend gives all messages in order until the function has enough.
func (t *tree[K, M]) Ascend(yield func(M) bool) {
	t.b.Ascend(func(e entry[K, M]) bool { return yield(e.message) })
}

// Descend is Ascend from the highest key.
func (t *tree[K, M]) Descend(yield func(M) bool) {
	t.b.Descend(func(e entry[K, M]) bool { return yield(e.message) })
}
