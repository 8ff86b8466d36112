package replicas

import (
	"cmp"
	"slices"

	"github.com/drumline/drumline/internal/ids"
)

// tombs remembers what was destroyed here, the newest ones.
type tombs struct {
	byKey map[Key]Tombstone
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

func (t *tombs) load(m map[Key]Tombstone) {
	t.byKey = make(map[Key]Tombstone, len(m))
	t.generations = make(map[ids.Group]buried)
	for k, s := range m {
		t.byKey[k] = s
		t.order = append(t.order, k)
		t.last = max(t.last, s.Sequence)
		t.count(k.Group, s.Generation)
	}
	slices.SortFunc(t.order, func(a, b Key) int { return cmp.Compare(m[a].Sequence, m[b].Sequence) })
}

func (t *tombs) count(g ids.Group, generation uint64) {
	b := t.generations[g]
	t.generations[g] = buried{max(b.generation, generation), b.count + 1}
}

func (t *tombs) has(k Key) bool {
	_, ok := t.byKey[k]
	return ok
}

// generation is the newest that an order for a buried replica of the group carried.
func (t *tombs) generation(g ids.Group) uint64 { return t.generations[g].generation }

// add buries a replica, or lifts the generation of its tombstone.
func (t *tombs) add(k Key, generation uint64) Tombstone {
	s, again := t.byKey[k]
	if again {
		s.Generation = max(s.Generation, generation)
		b := t.generations[k.Group]
		b.generation = max(b.generation, generation)
		t.generations[k.Group] = b
	} else {
		t.last++
		s = Tombstone{Group: k.Group, Replica: k.Replica, Generation: generation, Sequence: t.last}
		t.order = append(t.order, k)
		t.count(k.Group, generation)
	}
	t.byKey[k] = s
	return s
}

// trim forgets the oldest above the limit and returns them.
func (t *tombs) trim(limit int) []Key {
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
