// Package capacity is the app that divides the capacity of one resource among
// clients, by leases: a group capacity/NAME holds who may use how much until when.
//
// Commands and queries are the messages of drummerpb/capacity. A command that
// cannot be read or breaks a limit changes nothing and is answered
// OUTCOME_INVALID with a sentence; one bad request of a decide spoils no other.
//
// # What is promised
//
// For every algorithm that divides (all but NONE and STATIC), the sum of what
// clients may use at any moment, by their own clocks, is at most the capacity that
// was in force when it was granted. An answer may be lost or late, so capacity
// that is taken from a client stays reserved for it until the client shows that it
// knows (a request with the token of its newest answer, a receipt, or, from
// clients that know no tokens, the newest answer as what it has) or until the
// older lease ends. A lower capacity is reached as leases are refreshed; nobody is
// ever granted less than nothing or more than it wants.
//
// Clients keep their side: they count a lease from before they asked, use no more
// than they want before they ask for less, have one request in flight, and drop an
// answer with an older token or of a call that they gave up.
//
// # What it costs
//
// A decision that changes no wants takes constant time, one that does takes steps
// in the logarithm of the number of clients. Sums are exact (package exact) or
// built in an order that depends on the clients alone (package levels), so that a
// replica that was restored from a snapshot goes on bit by bit like one that read
// the whole log. A snapshot's view is a list of pages, copied when they are changed.
// The ends of leases cost as much; no more than some thousand end with an entry.
package capacity

import (
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/capacity/exact"
)

// Name is the app's name: its groups are called capacity/RESOURCE.
const Name = "capacity"

// Version is the behaviour version of this program's capacity.
const Version = 1

// Limits. They are part of the behaviour version: two hosts with different limits
// would apply one command differently.
const (
	// MaxID bounds the ids of clients, in bytes.
	MaxID = 256
	// MaxRequests bounds what one command asks for.
	MaxRequests = 10_000
	// MaxBands bounds the priorities of a request, of a resource and its floors.
	MaxBands = 64
	// MaxWeight bounds the clients of one request.
	MaxWeight = 1_000_000_000
	// MaxClients and DefaultClients bound the holders of a resource.
	MaxClients     = 1_000_000
	DefaultClients = 100_000
	// MaxText bounds a definition's description, MaxWord its shorter texts.
	MaxText = 1024
	MaxWord = 256
	// MaxLease bounds leases and learning, in milliseconds: ten years.
	MaxLease = 10 * 366 * 24 * 3600 * 1000
	// MaxPage and DefaultPage bound the answers to a list.
	MaxPage     = 1000
	DefaultPage = 100
)

// keptRequests is how many requests' memory is kept between commands.
const keptRequests = 512

// millisecond on the lease clock.
const millisecond = 1_000_000

// App is the capacity app, for a Registry.
func App() statemachines.App {
	return statemachines.App{
		Name:    Name,
		Version: Version,
		New:     func(statemachines.Group) statemachines.Machine { return New() },
		Follow:  follow(),
		Owns:    func(cmd []byte) bool { return statemachines.HasField(cmd, opConfigure, opParentLease) },
	}
}

// Machine is the state of one resource.
type Machine struct {
	header
	roster roster
	sums   sums
	shares shares
	clock  expiries

	// requests of one command; their memory is used for the next.
	requests []request
}

// header is the state besides the clients; a view copies it.
type header struct {
	// generation of the group and number of its newest answer: together a token.
	generation, n uint64
	// now and lead are the time of the last command and its leadership.
	now  int64
	lead uint64
	// def is the definition in force, raw its bytes as they came in the log; both
	// are replaced, never written.
	revision uint64
	def      *definition
	raw      []byte
	// longest lease of any definition so far, in nanoseconds.
	longest int64
	// learningUntil and heldUntil end learning mode and the pause after a recovery.
	learningUntil, heldUntil int64
	// recovering: the next command begins a new life, on another clock.
	recovering bool
	parent     parentLease
}

// sums over all clients.
type sums struct {
	reserved, granted, wants exact.Sum
	weight                   int64
}

var _ statemachines.Machine = (*Machine)(nil)

// New makes a Machine that has no definition and no clients.
func New() *Machine {
	m := &Machine{}
	m.reset(header{})
	return m
}

// reset empties the machine but for its header.
func (m *Machine) reset(h header) {
	*m = Machine{header: h, roster: newRoster(), shares: newShares(h.def)}
}

// Apply implements statemachines.Machine.
func (m *Machine) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for i := range batch {
		m.advance(batch[i].Time, batch[i].Lead)
		results[i] = m.apply(batch[i].Data)
	}
}

// Recovered implements statemachines.Machine. The state may be older than what was
// granted, and the new group's clock starts anew: the next command rebases it.
func (m *Machine) Recovered(generation uint64) {
	m.generation, m.recovering = generation, true
	m.parent = parentLease{}
}

// Snapshot implements statemachines.Machine.
func (m *Machine) Snapshot() statemachines.View {
	return &view{header: m.header, pages: m.roster.freeze(), clients: len(m.roster.byID)}
}

// advance lets time pass: leases end. All commands of an entry have one time.
func (m *Machine) advance(now int64, lead uint64) {
	m.lead = lead
	if m.recovering {
		m.rebase(now)
	}
	if now > m.now {
		m.now = now
		m.expire()
	}
}

// rebase begins a life whose clock starts at now. Nobody knows what was granted in
// the end of the life before: for the longest lease that there was, everything on
// record stays reserved and nothing new is given.
func (m *Machine) rebase(now int64) {
	m.recovering, m.now, m.learningUntil = false, now, 0
	m.heldUntil = now + m.longest
	m.roster.each(func(c *client) {
		c = m.roster.mutable(c)
		for i := range c.older {
			c.older[i].expires = m.heldUntil
		}
		c.newest.expires = m.heldUntil
		m.reserve(c)
	})
}

// learning: the group has no record of its leases, clients tell.
func (m *Machine) learning() bool { return m.now < m.learningUntil }

// held: the group lives again and gives nothing new yet.
func (m *Machine) held() bool { return m.now < m.heldUntil }
