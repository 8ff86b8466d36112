package raft

import (
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/raft/membership"
	"github.com/drumline/drumline/internal/raft/park"
	"github.com/drumline/drumline/internal/raft/session"
)

// MaxCommand is the largest command or query in bytes; larger ones are refused as
// too large before they are proposed.
const MaxCommand = 1<<20 + 64<<10

// Replica says which replica to run.
type Replica struct {
	// Group and ID name the replica; an id is never reused in any group.
	Group ids.Group
	ID    ids.Replica
	// Name is the group's name; its app decides the Machine.
	Name string
	// Join is true for a replica that came into the group as an observer: it is
	// started as an observer for ever, also after its promotion.
	Join bool
	// Restart is true for a replica that has run before: without its data on this host
	// it is refused, because it would vote again from nothing.
	Restart bool
	// Banned is true for a replica that is started to be retired: it takes no command and
	// answers no read, as if its group were sealed.
	Banned bool
	// Unloaded is true for a replica that was unloaded when the process ended: it stays
	// so until it is wanted. On a host that unloads nothing it is started.
	Unloaded bool
	// Settings are the group's own; zero for the host's.
	Settings Settings
	// Members are the voters of a group that is launched now; ignored once the
	// replica has data on this host.
	Members map[ids.Replica]ids.Host
}

// Settings are Raft options that a group may have of its own; what is 0 is the host's. A
// replica has those that it was started with until it is stopped.
type Settings = park.Settings

// Session is a client session of a group: proposals under one are applied exactly once,
// however often they are retried with the same Series.
type Session = session.Session

// Membership is who belongs to a group.
type Membership = membership.Membership

// ChangeKind is what a Change does.
type ChangeKind = membership.ChangeKind

// Kinds of Change.
const (
	AddObserver = membership.AddObserver
	Promote     = membership.Promote
	Remove      = membership.Remove
)

// Change is one change of a group's membership.
type Change = membership.Change

// Status is what this host knows of one of its replicas. Its own role and progress
// are facts, the leader is a belief.
type Status struct {
	Group   ids.Group
	Replica ids.Replica
	Name    string
	// Ready: it has recovered its data and takes part.
	Ready    bool
	Observer bool
	// Unloaded: it sleeps on the disk, and comes back when it is called or a peer needs
	// it; Ready is true, no leader is known, the rest is as it was.
	Unloaded bool
	// Leader and LeaderHost are zero when unknown.
	Leader     ids.Replica
	LeaderHost ids.Host
	Term       uint64
	// Leading: it is the Raft leader.
	Leading bool
	// Serving: it leads, has applied its own Lead entry, and its lease clock runs.
	Serving      bool
	ConfigChange uint64
	// Applied is the index of the last entry that the machine was given.
	Applied uint64
	Opened  bool
	Sealed  bool
	// Version is the behaviour version in force.
	Version uint32
}

// EventKind is what changed.
type EventKind uint8

// Kinds of Event.
const (
	// EventReady: the replica has recovered its data and takes part.
	EventReady EventKind = iota + 1
	// EventLeader: the leader or the term changed.
	EventLeader
	// EventServing: the replica began or ceased to serve as leader.
	EventServing
	// EventMembership: the group's membership changed.
	EventMembership
	// EventLife: the group was opened or sealed, or its behaviour version raised.
	EventLife
	// EventStopped: the replica runs no more, by Stop or because it was removed.
	EventStopped
	// EventUnloaded: the replica was idle for long and is unloaded; it is still here.
	EventUnloaded
	// EventLoaded: it is wanted again and runs.
	EventLoaded
)

// Event tells that something changed; Status has the values. Events of a replica
// that were not delivered yet are merged.
type Event struct {
	Kind    EventKind
	Group   ids.Group
	Replica ids.Replica
}
