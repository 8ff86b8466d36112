package raft

import (
	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/raftio"
	"github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/hibernate"
	"github.com/drumline/drumline/internal/raft/intake"
	"github.com/drumline/drumline/internal/raft/mail"
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
		if err != nil || r.nap.leaving.Load() {
			// The snapshot comes again.
			f.host.depot.knock(ids.Group(c.ClusterId), ids.Replica(c.NodeId))
			return false
		}
		return uint64(r.spec.ID) == c.NodeId && r.inbound.Chunk(func() bool { return ch(c) })
	}
	t := f.inner.Create(c, messages, chunks)
	f.host.depot.office.Transport = t
	return t
}

// Validate tells whether a host's id is one.
func (f guardedFactory) Validate(target string) bool { return f.inner.Validate(target) }

// acceptable returns the messages of a batch, which is used up, that dragonboat may see.
func (h *Host) acceptable(b raftpb.MessageBatch) []raftpb.Message {
	from := ids.Host(b.SourceAddress)
	return intake.Keep(b.Requests, func(m *raftpb.Message) bool { return h.accepts(m, from) })
}

func (h *Host) accepts(m *raftpb.Message, from ids.Host) bool {
	if hibernate.Vain(m) {
		return false
	}
	r, err := h.replica(ids.Group(m.ClusterId))
	if err != nil || r.nap.leaving.Load() {
		if mail.Rouses(m) {
			h.depot.knock(ids.Group(m.ClusterId), ids.Replica(m.To))
		}
		return false
	}
	if m.To != uint64(r.spec.ID) || !r.inbound.Knows(ids.Replica(m.From), from) {
		return false
	}
	r.nap.touch(h)
	if hibernate.ForLeader(m) {
		return r.leads()
	}
	if c, ok := mail.Read(m); ok {
		h.depot.called(r, c, from)
		return false
	}
	return true
}
