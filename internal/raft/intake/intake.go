// Package intake guards what one replica takes in from other hosts: dragonboat panics
// when two hosts say that they have the same replica, and when a snapshot comes for a
// replica without a directory.
package intake

import (
	"sync"

	pb "github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/ids"
)

// Guard is one replica's; the zero value refuses snapshots until Open.
type Guard struct {
	// chunks is held shared while a chunk is written, so that Shut waits for it.
	chunks sync.RWMutex
	opened bool

	mu    sync.Mutex
	peers map[ids.Replica]ids.Host
}

// Knows tells whether a replica's message comes from its host. A replica never
// moves, so the first host heard is it; replica 0 is nobody in particular.
func (g *Guard) Knows(id ids.Replica, from ids.Host) bool {
	if id == 0 || from == "" {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.peers == nil {
		g.peers = make(map[ids.Replica]ids.Host)
	}
	if host, known := g.peers[id]; known {
		return host == from
	}
	g.peers[id] = from
	return true
}

// Learn notes the hosts of a membership.
func (g *Guard) Learn(voters map[ids.Replica]ids.Host) {
	for id, host := range voters {
		g.Knows(id, host)
	}
}

// Chunk lets a snapshot chunk in while the replica runs.
func (g *Guard) Chunk(take func() bool) bool {
	g.chunks.RLock()
	defer g.chunks.RUnlock()
	return g.opened && take()
}

// Open lets chunks in.
func (g *Guard) Open() { g.set(true) }

// Shut returns when no chunk is being written.
func (g *Guard) Shut() { g.set(false) }

func (g *Guard) set(open bool) {
	g.chunks.Lock()
	defer g.chunks.Unlock()
	g.opened = open
}

// Keep keeps, in their place, the messages that ok says yes to. A message is as large
// as a cache line or four, and most batches stay as they are: none is copied for a look.
func Keep(messages []pb.Message, ok func(*pb.Message) bool) []pb.Message {
	n := 0
	for i := range messages {
		if !ok(&messages[i]) {
			continue
		}
		if n < i {
			messages[n] = messages[i]
		}
		n++
	}
	clear(messages[n:])
	return messages[:n]
}
