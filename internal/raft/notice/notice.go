// Package notice merges what happens to replicas until somebody has time for it: at
// most one notice of a kind per replica waits, so that nothing here can fill up or
// block who gives notice, however slow the reader is.
package notice

import (
	"sync"

	"github.com/drumline/drumline/internal/ids"
)

// Notice is that something of a kind, below 16, happened to a replica.
type Notice struct {
	Kind    uint8
	Group   ids.Group
	Replica ids.Replica
}

// Board has the notices that wait.
type Board struct {
	// Wake, of capacity 1, tells the reader that there are some.
	Wake chan struct{}
	// kinds is the order in which a replica's notices are read.
	kinds []uint8

	mu      sync.Mutex
	pending map[key]uint16 // bit per kind
	order   []key
}

type key struct {
	group   ids.Group
	replica ids.Replica
}

// New makes a board for those kinds, which are read in that order.
func New(kinds ...uint8) *Board {
	return &Board{Wake: make(chan struct{}, 1), kinds: kinds, pending: make(map[key]uint16)}
}

// Add gives notice, and takes back what waits of the replica of kinds that this one
// makes untrue; it never waits.
func (b *Board) Add(n Notice, untrue ...uint8) {
	k := key{n.Group, n.Replica}
	b.mu.Lock()
	if b.pending[k] == 0 {
		b.order = append(b.order, k)
	}
	for _, kind := range untrue {
		b.pending[k] &^= 1 << kind
	}
	b.pending[k] |= 1 << n.Kind
	b.mu.Unlock()
	select {
	case b.Wake <- struct{}{}:
	default:
	}
}

// Take returns all that waits; replicas in the order of their first notice.
func (b *Board) Take() []Notice {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Notice
	for _, k := range b.order {
		for _, kind := range b.kinds {
			if b.pending[k]&(1<<kind) != 0 {
				out = append(out, Notice{Kind: kind, Group: k.group, Replica: k.replica})
			}
		}
	}
	clear(b.pending)
	b.order = b.order[:0]
	return out
}
