package raft

import (
	"sync"

	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/raftio"
	"github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/ids"
)

// guardedFactory stands between the transport and dragonboat and drops what would
// make dragonboat panic: messages to nobody, messages that give a replica another
// host than it has, and snapshot chunks for a replica that does not run here (the
// directory that they would be written to does not exist).
type guardedFactory struct {
	inner config.TransportFactory
	host  *Host
}

var _ config.TransportFactory = guardedFactory{}

// Create makes the transport with guarded handlers; the host keeps dragonboat's own
// for what it tells its replicas itself.
func (f guardedFactory) Create(c config.NodeHostConfig, mh raftio.MessageHandler, ch raftio.ChunkHandler) raftio.ITransport {
	f.host.intake = mh
	messages := func(b raftpb.MessageBatch) {
		b.Requests = f.host.acceptable(b)
		if len(b.Requests) > 0 {
			mh(b)
		}
	}
	chunks := func(c raftpb.Chunk) bool {
		r, err := f.host.replica(ids.Group(c.ClusterId))
		if err != nil || uint64(r.spec.ID) != c.NodeId {
			return false
		}
		return r.inbound.chunk(func() bool { return ch(c) })
	}
	return f.inner.Create(c, messages, chunks)
}

// Validate tells whether a host's id is one.
func (f guardedFactory) Validate(target string) bool { return f.inner.Validate(target) }

// acceptable returns the messages of a batch that dragonboat may see; the batch
// itself if it is all of them, which is the rule.
func (h *Host) acceptable(b raftpb.MessageBatch) []raftpb.Message {
	for i := range b.Requests {
		if !h.accepts(&b.Requests[i], ids.Host(b.SourceAddress)) {
			return h.acceptableOf(b)
		}
	}
	return b.Requests
}

func (h *Host) acceptableOf(b raftpb.MessageBatch) []raftpb.Message {
	var kept []raftpb.Message
	for i := range b.Requests {
		if h.accepts(&b.Requests[i], ids.Host(b.SourceAddress)) {
			kept = append(kept, b.Requests[i])
		}
	}
	return kept
}

func (h *Host) accepts(m *raftpb.Message, from ids.Host) bool {
	r, err := h.replica(ids.Group(m.ClusterId))
	return err == nil && m.To == uint64(r.spec.ID) && r.inbound.knows(ids.Replica(m.From), from)
}

// inbound guards what dragonboat takes in for one replica.
type inbound struct {
	// chunks is held shared while a chunk is written, so that shut waits for it.
	chunks sync.RWMutex
	opened bool

	mu    sync.Mutex
	peers map[ids.Replica]ids.Host
}

// knows tells whether a replica's message comes from its host. A replica never
// moves, so the first host heard is it; replica 0 is nobody in particular.
func (i *inbound) knows(id ids.Replica, from ids.Host) bool {
	if id == 0 || from == "" {
		return true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.peers == nil {
		i.peers = make(map[ids.Replica]ids.Host)
	}
	if host, known := i.peers[id]; known {
		return host == from
	}
	i.peers[id] = from
	return true
}

// learn notes the hosts of a membership.
func (i *inbound) learn(voters map[ids.Replica]ids.Host) {
	for id, host := range voters {
		i.knows(id, host)
	}
}

// chunk lets a snapshot chunk in while the replica runs.
func (i *inbound) chunk(take func() bool) bool {
	i.chunks.RLock()
	defer i.chunks.RUnlock()
	return i.opened && take()
}

func (i *inbound) open() { i.set(true) }

// shut returns when no chunk is being written.
func (i *inbound) shut() { i.set(false) }

func (i *inbound) set(open bool) {
	i.chunks.Lock()
	defer i.chunks.Unlock()
	i.opened = open
}
