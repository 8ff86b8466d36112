// Package hold keeps back what the next message of a busy group says anyway: that its
// last entry is committed. Raft tells it to every follower at once, in a message of its
// own, which costs both sides as much as an entry does.
package hold

import (
	"time"

	pb "github.com/lni/dragonboat/v3/raftpb"
)

// Bounds of holding back.
const (
	// busyGap: a group whose entries followed one another within so long will have
	// another one soon.
	busyGap = 50 * time.Millisecond
	// leastHold is the shortest time that is worth a timer.
	leastHold = time.Millisecond
	// keptPaces is from how many groups on those without entries lately are forgotten.
	keptPaces = 1024
)

// Holder keeps commits back for about as long as their group took between its last two
// entries. One goes with whatever else is sent to the same replica, so that a reader
// there never waits for it, and is dropped only when an entry says the same. A Holder is
// one connection's; its owner locks it.
type Holder struct {
	held  map[whom]holding
	next  time.Time         // no held message waits for less long
	paces map[uint64]rhythm // by group
}

// whom is the replica that a message is for.
type whom struct{ group, replica uint64 }

// holding is a message that waits until then.
type holding struct {
	message pb.Message
	until   time.Time
}

// rhythm is when a group's last entry went, and how long after the one before.
type rhythm struct {
	last time.Time
	gap  time.Duration
}

// New holds nothing.
func New() Holder {
	return Holder{held: make(map[whom]holding), paces: make(map[uint64]rhythm)}
}

// Pass appends to out what is to be sent now of messages that are about to be.
func (h *Holder) Pass(now time.Time, messages, out []pb.Message) []pb.Message {
	for i := range messages {
		m := &messages[i]
		to := whom{m.ClusterId, m.To}
		switch {
		case m.Type == pb.Replicate && len(m.Entries) > 0:
			h.note(now, m.ClusterId)
			if old, ok := h.held[to]; ok && (old.message.Term > m.Term || old.message.Commit > m.Commit) {
				out = append(out, old.message)
			}
			delete(h.held, to)
		case m.Type == pb.Replicate:
			if wait := h.wait(now, m.ClusterId); wait > 0 {
				h.hold(to, m, now.Add(wait))
				continue
			}
			delete(h.held, to)
		case len(h.held) > 0:
			if old, ok := h.held[to]; ok {
				out = append(out, old.message)
				delete(h.held, to)
			}
		}
		out = append(out, *m)
	}
	return out
}

// Next is when Due has something to send at the earliest; zero if nothing is held.
func (h *Holder) Next() time.Time {
	if len(h.held) == 0 {
		return time.Time{}
	}
	return h.next
}

// hold keeps a message back; the first of several sets the time.
func (h *Holder) hold(to whom, m *pb.Message, until time.Time) {
	if old, ok := h.held[to]; ok {
		until = old.until
	}
	if len(h.held) == 0 || until.Before(h.next) {
		h.next = until
	}
	h.held[to] = holding{*m, until}
}

// wait is how long a group's commits may wait; 0: not at all.
func (h *Holder) wait(now time.Time, group uint64) time.Duration {
	p, ok := h.paces[group]
	if !ok || p.gap >= busyGap || now.Sub(p.last) >= busyGap {
		return 0
	}
	return max(leastHold, min(2*p.gap, busyGap))
}

// note notes an entry.
func (h *Holder) note(now time.Time, group uint64) {
	p, ok := h.paces[group]
	if !ok {
		h.forget(now)
		p.last = now.Add(-busyGap)
	}
	h.paces[group] = rhythm{last: now, gap: now.Sub(p.last)}
}

// forget makes room for another group.
func (h *Holder) forget(now time.Time) {
	if len(h.paces)&(keptPaces-1) != keptPaces-1 {
		return
	}
	for g, p := range h.paces {
		if now.Sub(p.last) >= busyGap {
			delete(h.paces, g)
		}
	}
}

// Due appends to out what may not wait any longer, and returns how long the rest may; 0
// if there is none.
func (h *Holder) Due(now time.Time, out []pb.Message) ([]pb.Message, time.Duration) {
	var rest time.Duration
	for to, x := range h.held {
		left := x.until.Sub(now)
		if left < leastHold {
			out = append(out, x.message)
			delete(h.held, to)
			continue
		}
		if rest == 0 || left < rest {
			rest, h.next = left, x.until
		}
	}
	return out, rest
}
