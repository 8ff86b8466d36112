// Package statemachines defines what a Raft group holds: the Machine interface,
// the app registry that programs fill, and the text and limits of group names.
//
// A Machine is small, pure and deterministic: the same log gives the same state,
// the same results and the same snapshot bytes on every host. It reads no clock,
// starts no goroutine, uses no randomness, does no I/O and logs nothing. Time is
// the lease clock that each command carries. Bad input is a Result, equal on
// every replica; a Machine never panics on anything that a client can send.
//
// The adapter in internal/raft makes a Machine a replicated state machine and
// does all the locking: Apply, Restore and Recovered are never called together
// with any other method; any number of Query calls and one Snapshot may run
// beside each other, and a View taken before may be written while Apply goes on.
//
// Package smtest holds the suite that every Machine passes.
package statemachines

import "io"

// Command is one command of a group's log.
type Command struct {
	// Index is the Raft index of the log entry; the commands of one coalesced
	// entry share it.
	Index uint64
	// Time is the group's lease clock in nanoseconds: it starts at zero with the
	// group, never goes back, and never advances by more than real time did.
	Time int64
	// Lead names the leadership that Time belongs to, 0 when there is none; a later
	// one has a higher number. Within one leadership Time goes as its leader's
	// monotonic clock does; across two it may have stood still in between.
	Lead uint64
	// Version is the behaviour version in force: a Machine that changes how it
	// applies a command does so only from a version on that every replica has.
	Version uint32
	// Data is the command in the app's own encoding. It belongs to the caller: a
	// Machine that keeps any of it copies it.
	Data []byte
}

// Result is a Machine's answer to one command; equal on every replica.
type Result struct {
	// Value is a number of the app's own meaning.
	Value uint64
	// Data is the answer in the app's own encoding; the Machine gives it away.
	Data []byte
}

// Machine is the state of one group.
type Machine interface {
	// Apply executes commands in order and writes the answer to batch[i] into
	// results[i]; both have the same length. It has no error: bad input is a Result.
	Apply(batch []Command, results []Result)
	// Query answers a read without changing anything. The error is for a query
	// that the Machine refuses; wrap ErrInvalidQuery.
	Query(query []byte) ([]byte, error)
	// Snapshot freezes the state in O(1) or little more; the View is written while
	// Apply goes on, and closed by the caller.
	Snapshot() View
	// Restore replaces the whole state by what a View wrote, of this or an older
	// version of the app. An error leaves the Machine unusable: the caller drops it.
	Restore(r io.Reader) error
	// Recovered tells a Machine whose state was loaded into a new group (after a
	// loss of quorum, from a backup, as a clone) that it lives again under a new
	// generation. Leases, ranges and slots of the life before must not be confused
	// with those to come.
	Recovered(generation uint64)
}

// View is a frozen state.
type View interface {
	// WriteTo writes the state; the same state gives the same bytes.
	io.WriterTo
	// Close frees what the View holds.
	Close()
}

// Viewer is a Machine that gives its process a typed, immutable look at its state
// (the supervisor's record does). The value is read-only and stays valid.
type Viewer interface {
	View() any
}

// Group is what a Machine may know of the group it is the state of.
type Group struct {
	// ID is the group's number, never reused.
	ID uint64
	// Name is app/name.
	Name string
}

// App is a kind of Machine.
type App struct {
	// Name is the app's name: the part of a group's name before the first slash.
	Name string
	// Version is the newest behaviour version that this program knows; at least 1.
	Version uint32
	// New makes an empty Machine.
	New func(Group) Machine
	// Follow is how its groups follow the app's configuration; nil: they don't.
	Follow *Follow
	// Owns tells of a command whether only hosts propose it, never a client: one by which
	// groups follow their configuration, or that tells what only their leaders know. A
	// client's is refused. nil: there is none.
	Owns func(cmd []byte) bool
	// Resume makes the command with which a Machine that was told Recovered goes on, when
	// it waits for a word: up to margin things may have been handed out that its state does
	// not know of. nil: it needs none.
	Resume func(margin uint64) ([]byte, error)
}

// Follow is how the groups of an app follow its configuration. Drummer keeps it in
// revisions; each group gets the options of the template that its name matches, when it
// is opened and whenever they change, by a command that the leader of the group
// proposes. Its functions are called from any goroutine.
//
// A Machine keeps the revision that it has with its state, takes a command of a higher
// one, and answers one of the same or a lower revision without a change: the same
// command may come twice, and an older one late. A rollback is a higher revision.
type Follow struct {
	// Command makes the command that gives a Machine the options of a revision. An error
	// says that they are not the app's: then nothing is proposed.
	Command func(revision uint64, options []byte) ([]byte, error)
	// Query asks a Machine for the revision that it has.
	Query []byte
	// Revision reads the answer to Query; 0 when the Machine was never configured.
	Revision func(answer []byte) (uint64, error)
}
