package raft

import (
	"sync"

	"github.com/lni/dragonboat/v3/raftio"

	"github.com/drumline/drumline/internal/ids"
)

// events merges what happens to replicas until the dispatcher has time: at most
// one event of a kind per replica waits, so that nothing here can fill up or block
// dragonboat's threads, however slow the receiver is.
type events struct {
	wake chan struct{}

	mu      sync.Mutex
	pending map[eventKey]uint16 // bit per EventKind
	order   []eventKey
}

type eventKey struct {
	group   ids.Group
	replica ids.Replica
}

// eventOrder is the order in which a replica's merged events are delivered.
func eventOrder() [8]EventKind {
	return [...]EventKind{EventLoaded, EventReady, EventMembership, EventLeader, EventServing, EventLife, EventUnloaded, EventStopped}
}

func newEvents() *events {
	return &events{wake: make(chan struct{}, 1), pending: make(map[eventKey]uint16)}
}

// add notes an event; it never waits.
func (e *events) add(k EventKind, spec Replica) {
	key := eventKey{spec.Group, spec.ID}
	e.mu.Lock()
	if e.pending[key] == 0 {
		e.order = append(e.order, key)
	}
	e.pending[key] = e.pending[key]&^outdated(k) | 1<<k
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// outdated are the bits that an event takes back: of being unloaded and loaded only
// the last counts.
func outdated(k EventKind) uint16 {
	switch k {
	case EventUnloaded:
		return 1 << EventLoaded
	case EventLoaded:
		return 1 << EventUnloaded
	}
	return 0
}

// take returns all that waits, in order of first occurrence.
func (e *events) take() ([]Event, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Event
	members := false
	for _, key := range e.order {
		bits := e.pending[key]
		for _, k := range eventOrder() {
			if bits&(1<<k) != 0 {
				out = append(out, Event{Kind: k, Group: key.group, Replica: key.replica})
				members = members || k == EventReady || k == EventMembership
			}
		}
	}
	clear(e.pending)
	e.order = e.order[:0]
	return out, members
}

// dispatch delivers events until the host closes; then what is left.
func (h *Host) dispatch() {
	defer close(h.dispatched)
	defer h.looks.Stop()
	for {
		select {
		case <-h.events.wake:
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
	out, members := h.events.take()
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
type listener struct{ h *Host }

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

// The rest is of no interest.

func (listener) NodeHostShuttingDown()                       {}
func (listener) ConnectionEstablished(raftio.ConnectionInfo) {}
func (listener) ConnectionFailed(raftio.ConnectionInfo)      {}
func (listener) SendSnapshotStarted(raftio.SnapshotInfo)     {}
func (listener) SendSnapshotCompleted(raftio.SnapshotInfo)   {}
func (listener) SendSnapshotAborted(raftio.SnapshotInfo)     {}
func (listener) SnapshotReceived(raftio.SnapshotInfo)        {}
func (listener) SnapshotRecovered(raftio.SnapshotInfo)       {}
func (listener) SnapshotCreated(raftio.SnapshotInfo)         {}
func (listener) SnapshotCompacted(raftio.SnapshotInfo)       {}
func (listener) LogCompacted(raftio.EntryInfo)               {}
func (listener) LogDBCompacted(raftio.EntryInfo)             {}
