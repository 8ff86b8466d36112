// Package tombs remembers the replicas that a host has destroyed, so that none of them is
// ever made again by an order that was on its way. Pure.
package tombs

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/drumline/drumline/internal/ids"
)

// Key names a replica.
type Key struct {
	Group   ids.Group
	Replica ids.Replica
}

// KeyOf makes a Key of the wire's numbers.
func KeyOf(group, replica uint64) Key { return Key{ids.Group(group), ids.Replica(replica)} }

// String is group.replica, as logs show it.
func (k Key) String() string { return fmt.Sprintf("%d.%d", k.Group, k.Replica) }

// Compare orders keys by group, then replica.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Group, o.Group), cmp.Compare(k.Replica, o.Replica))
}

// Bytes are the key on disk, in the same order.
func (k Key) Bytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(k.Group))
	return binary.BigEndian.AppendUint64(b, uint64(k.Replica))
}

// KeyFrom reads what Bytes wrote; an error says what is wrong with it.
func KeyFrom(b []byte) (Key, error) {
	if len(b) != 16 {
		return Key{}, fmt.Errorf("manifest: key of %d bytes, want 16", len(b))
	}
	return KeyOf(binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])), nil
}

// Stone remembers a replica that was destroyed here. Its JSON form is on disk.
type Stone struct {
	Group      ids.Group   `json:"group"`
	Replica    ids.Replica `json:"replica"`
	Generation uint64      `json:"generation"`
	// Sequence ascends: the lowest is forgotten first when there are too many.
	Sequence uint64 `json:"sequence"`
}

// Key of the replica destroyed.
func (s Stone) Key() Key { return Key{s.Group, s.Replica} }

// Tombs are what was destroyed here, the newest ones. Load them before use.
type Tombs struct {
	byKey map[Key]Stone
	// generations is the newest generation buried of each group, with the count of
	// its tombstones.
	generations map[ids.Group]buried
	// order is the keys by sequence, oldest first.
	order []Key
	last  uint64
}

type buried struct {
	generation uint64
	count      int
}

// Load takes what was found on disk, once.
func (t *Tombs) Load(m map[Key]Stone) {
	t.byKey = make(map[Key]Stone, len(m))
	t.generations = make(map[ids.Group]buried)
	for k, s := range m {
		t.byKey[k] = s
		t.order = append(t.order, k)
		t.last = max(t.last, s.Sequence)
		t.count(k.Group, s.Generation)
	}
	slices.SortFunc(t.order, func(a, b Key) int { return cmp.Compare(m[a].Sequence, m[b].Sequence) })
}

func (t *Tombs) count(g ids.Group, generation uint64) {
	b := t.generations[g]
	t.generations[g] = buried{max(b.generation, generation), b.count + 1}
}

// Has tells whether a replica was destroyed here.
func (t *Tombs) Has(k Key) bool {
	_, ok := t.byKey[k]
	return ok
}

// Generation is the newest that an order for a buried replica of the group carried.
func (t *Tombs) Generation(g ids.Group) uint64 { return t.generations[g].generation }

// Add buries a replica, or lifts the generation of its tombstone.
func (t *Tombs) Add(k Key, generation uint64) Stone {
	s, again := t.byKey[k]
	if again {
		s.Generation = max(s.Generation, generation)
		b := t.generations[k.Group]
		b.generation = max(b.generation, generation)
		t.generations[k.Group] = b
	} else {
		t.last++
		s = Stone{Group: k.Group, Replica: k.Replica, Generation: generation, Sequence: t.last}
		t.order = append(t.order, k)
		t.count(k.Group, generation)
	}
	t.byKey[k] = s
	return s
}

// Trim forgets the oldest above the limit and returns them.
func (t *Tombs) Trim(limit int) []Key {
	over := len(t.order) - limit
	if over <= 0 {
		return nil
	}
	old := slices.Clone(t.order[:over])
	t.order = t.order[over:]
	for _, k := range old {
		delete(t.byKey, k)
		b := t.generations[k.Group]
		if b.count--; b.count == 0 {
			delete(t.generations, k.Group)
		} else {
			t.generations[k.Group] = b
		}
	}
	return old
}
