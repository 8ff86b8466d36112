package raft

import (
	"github.com/lni/dragonboat/v3/raftio"

	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/engine"
	"github.com/drumline/drumline/internal/raft/notice"
)

// events are what waits for the dispatcher.
type events struct{ *notice.Board }

func newEvents() *events {
	var kinds []uint8
	for _, k := range eventOrder() {
		kinds = append(kinds, uint8(k))
	}
	return &events{notice.New(kinds...)}
}

// eventOrder is the order in which a replica's merged events are delivered.
func eventOrder() [8]EventKind {
	return [...]EventKind{EventLoaded, EventReady, EventMembership, EventLeader, EventServing, EventLife, EventUnloaded, EventStopped}
}

// add notes an event; it never waits.
func (e *events) add(k EventKind, spec Replica) {
	n := notice.Notice{Kind: uint8(k), Group: spec.Group, Replica: spec.ID}
	switch k { // of being unloaded and loaded only the last counts
	case EventUnloaded:
		e.Add(n, uint8(EventLoaded))
	case EventLoaded:
		e.Add(n, uint8(EventUnloaded))
	default:
		e.Add(n)
	}
}

// dispatch delivers events until the host closes; then what is left.
func (h *Host) dispatch() {
	defer close(h.dispatched)
	defer h.looks.Stop()
	for {
		select {
		case <-h.events.Wake:
			h.deliver()
		case <-h.looks.C:
			h.tell(h.refreshMembers())
		case <-h.closing:
			h.deliver()
			return
		}
	}
}

func (h *Host) deliver() {
	var out []Event
	members := false
	for _, n := range h.events.Take() {
		k := EventKind(n.Kind)
		out = append(out, Event{Kind: k, Group: n.Group, Replica: n.Replica})
		members = members || k == EventReady || k == EventMembership
	}
	if members && h.looks.Now() {
		h.refreshMembers()
	}
	h.tell(out)
}

func (h *Host) tell(out []Event) {
	for _, e := range out {
		if e.Kind == EventStopped {
			h.reap(e)
		}
		if h.opts.Events != nil {
			h.opts.Events(e)
		}
	}
}

// listener takes dragonboat's events. Its methods run on the one goroutine that
// dragonboat's engine waits for: they note and return, and never call NodeHost.
type listener struct {
	engine.Quiet

	h *Host
}

var (
	_ raftio.IRaftEventListener   = listener{}
	_ raftio.ISystemEventListener = listener{}
)

// find returns the replica that an event is about, if it is the one running.
func (l listener) find(group, id uint64) *replica {
	r, err := l.h.replica(ids.Group(group))
	if err != nil || uint64(r.spec.ID) != id {
		return nil
	}
	return r
}

// LeaderUpdated is called when a replica learns of a leader, a term, or a loss.
func (l listener) LeaderUpdated(i raftio.LeaderInfo) {
	if r := l.find(i.ClusterID, i.NodeID); r != nil {
		r.leaderUpdated(ids.Replica(i.LeaderID), i.Term)
	}
}

// NodeReady is called when a replica has recovered its data.
func (l listener) NodeReady(i raftio.NodeInfo) {
	if r := l.find(i.ClusterID, i.NodeID); r != nil {
		r.setReady()
	}
}

// NodeUnloaded is called when dragonboat lets go of a replica.
func (l listener) NodeUnloaded(i raftio.NodeInfo) {
	if r := l.find(i.ClusterID, i.NodeID); r != nil {
		r.markUnloaded()
		if !r.nap.leaving.Load() {
			l.h.events.add(EventStopped, r.spec)
		}
	}
}

// MembershipChanged is called when a replica has applied a membership change.
func (l listener) MembershipChanged(i raftio.NodeInfo) {
	if r := l.find(i.ClusterID, i.NodeID); r != nil {
		l.h.events.add(EventMembership, r.spec)
	}
}
