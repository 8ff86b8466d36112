package hibernate

import (
	"github.com/lni/dragonboat/v3/raftpb"

	"github.com/drumline/drumline/internal/ids"
)

// askLeader, as the hint of a NoOP, makes the message one for leaders only. It
// travels: do not renumber.
const askLeader = 1 << 8

// ForLeader tells of a message from a peer that only a leader may see: it would wake
// others too, and they would stand for election.
func ForLeader(m *raftpb.Message) bool { return m.Type == raftpb.NoOP && m.Hint == askLeader }

// Vain tells of a message from a peer that says nothing and keeps its group awake:
// every follower tells its leader in every election timeout that it is not short of
// memory. A follower that falls asleep a little later than the others would wake them,
// again and again. That nobody is short of memory goes without saying: what one said
// of it is forgotten after a while.
func Vain(m *raftpb.Message) bool { return m.Type == raftpb.RateLimit && m.Hint == 0 }

// noop is a message that says nothing to Raft, but ends the sleep of whom it reaches.
func noop(g Group, to ids.Replica, hint uint64) raftpb.Message {
	return raftpb.Message{Type: raftpb.NoOP, ClusterId: uint64(g.ID), From: uint64(g.Self), To: uint64(to), Hint: hint}
}

// Message is what a replica's dragonboat is told on its own host to do an act. It has
// no term, so that it is of every term.
func Message(a Act, g Group) raftpb.Message {
	m := noop(g, g.Self, 0)
	switch {
	case a == Stand:
		// It is what a leader sends to whom it transfers its leadership.
		m.Type = raftpb.TimeoutNow
	case a == Stir && g.Leader != 0 && g.Leader != g.Self:
		// A hint makes it count as a read's heartbeat, which wakes those that fell
		// asleep just now as well. No read has this one.
		m.Type, m.From, m.Hint = raftpb.Heartbeat, uint64(g.Leader), 1
	}
	return m
}
