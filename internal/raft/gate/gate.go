// Package gate serialises what is done to the replica of one group on a host: its
// start, stop, destruction, unloading and loading.
package gate

import (
	"context"
	"sync"

	"github.com/drumline/drumline/internal/fault"
	"github.com/drumline/drumline/internal/ids"
)

// Gates has a gate per group. A gate in use costs a map entry, any other nothing.
type Gates struct {
	mu   sync.Mutex
	held map[ids.Group]chan struct{} // closed when the holder is done
}

// New makes gates that are all open.
func New() *Gates { return &Gates{held: make(map[ids.Group]chan struct{})} }

// Enter waits for the group's gate; the caller calls leave.
func (g *Gates) Enter(ctx context.Context, group ids.Group) (leave func(), err error) {
	for {
		busy := g.take(group)
		if busy == nil {
			return func() { g.leave(group) }, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, fault.Wrap(ctx.Err(), fault.Deadline, "another change of the replica of group %d is under way", group)
		}
	}
}

// take takes the gate, or returns what is closed when its holder is done.
func (g *Gates) take(group ids.Group) (busy <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if held, busy := g.held[group]; busy {
		return held
	}
	g.held[group] = make(chan struct{})
	return nil
}

func (g *Gates) leave(group ids.Group) {
	g.mu.Lock()
	mine := g.held[group]
	delete(g.held, group)
	g.mu.Unlock()
	close(mine)
}
