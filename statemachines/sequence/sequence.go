// Package sequence is the app of numbers that are never handed out twice.
//
// A group holds one sequence, under the empty key, or a family of many. Handing out
// is one command of the log, which moves the sequence on by so many numbers: a range
// exists once by construction, whatever hosts, clients and networks do. What a
// sequence counts through, and how, is its Definition; docs/sequences.md tells of the
// modes.
//
// Commands, queries and results are the protobuf messages of drummerpb/sequence, so a
// raw Propose or Read works from any language. A command that cannot be read or breaks
// a limit changes nothing and is answered OUTCOME_INVALID with a sentence; a query like
// that is refused with an error that wraps statemachines.ErrInvalidQuery.
//
// # Exactly once
//
// A client that was opened numbers its commands, and the machine remembers its answers:
// the same command sent again gets the same answer, over any failover. The memory is
// bounded, in answers of a client, in answers of all, and in clients; what falls out of
// it is decided by the log alone, and a command from beyond it is refused, never
// answered anew. The same memory holds which ranges a client has in hand, so that an
// unused tail can be taken back while nothing was handed out after it.
//
// # Another life
//
// After a recovery (Recovered) the newest commands of the life before may be lost, and
// with them the knowledge of what was handed out. Every sequence is closed then, until
// Resume says how many numbers to skip. Clients are of a life, too.
package sequence

import (
	"container/list"
	"io"

	"github.com/google/btree"

	sequencepb "github.com/drumline/drumline/drummerpb/sequence"
	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/sequence/pages"
	"github.com/drumline/drumline/statemachines/wire"
)

// Name is the app's name: its groups are called sequence/something.
const Name = "sequence"

// Version is the behaviour version of this program's sequence.
const Version = 1

// Limits. They are part of the behaviour version: two hosts with different limits
// would apply one command differently.
const (
	// MaxKey is the longest key of a family, in bytes.
	MaxKey = wire.MaxKey
	// MaxOwner is the longest owner, in bytes.
	MaxOwner = 256
	// MaxCount is the most numbers that one command can ask for.
	MaxCount = 1 << 62
	// DefaultKeys is how many sequences a group holds unless its settings say otherwise.
	DefaultKeys = 1_000_000
	// DefaultSkip is how many numbers one floor skips unless the definition says otherwise.
	DefaultSkip = 1 << 40
	// MaxClients is how many clients a group knows; the one that was silent for longest
	// makes room for another.
	MaxClients = 16 << 10
	// MaxAnswers is how many answers of one client are remembered.
	MaxAnswers = 1024
	// MaxAnswersInAll is how many answers are remembered of all clients.
	MaxAnswersInAll = 128 << 10
	// MaxReservations is how many numbers of a gap-free sequence can be reserved at once.
	MaxReservations = 10_000
	// MaxPage and DefaultPage are sizes of a page of a list.
	MaxPage     = 1000
	DefaultPage = 100
)

// degree of the tree: it is changed when a client comes or goes, not when numbers are
// handed out.
const degree = 32

// App is the sequence app, for a Registry.
func App() statemachines.App {
	return statemachines.App{
		Name:    Name,
		Version: Version,
		New:     func(g statemachines.Group) statemachines.Machine { return New(g) },
		Follow:  follow(),
		Owns:    func(cmd []byte) bool { return statemachines.HasField(cmd, configureField, advanceField) },
		Resume:  resumption,
	}
}

// Machine is the state of one sequence group.
//
// Series and clients are found by tables and changed in place, so the cost of a command
// does not depend on how many there are. A snapshot freezes them all at once: what it reads
// is copied before it is changed, series by pages and while it is read, clients one by one if
// they are of an epoch before.
type Machine struct {
	head
	epoch uint64
	// book has the series.
	book *pages.Book[ties, numbers]
	// clients and numbers hold the same clients: for looking up, and for walking by number.
	clients map[uint64]*client
	numbers *btree.BTreeG[*client]
	// stamp is the host's time that the command at hand carries, in Unix milliseconds; 0
	// without. It is no part of the state.
	stamp uint64
	// silent has the clients, the one that was silent for longest first. It follows from
	// what the clients hold and is no part of the state.
	silent *list.List
	// spare is used again for each command that asks for numbers, and its answer.
	spare *spare
}

// head is what the state has beside series and clients. A snapshot copies it whole.
type head struct {
	group      uint64
	generation uint64
	// closed is true from a recovery until the group as a whole is resumed.
	closed bool
	// margin is how many numbers all resumptions of the whole group skip together.
	margin uint64
	// now is the lease clock, in nanoseconds.
	now int64
	// births is the newest incarnation, tokens counts tokens given, opened counts clients,
	// steps counts commands of clients.
	births, tokens, opened, steps uint64
	// answers counts what is remembered of all clients.
	answers uint64
	// revision and settings are the configuration; the settings' message is never changed.
	revision uint64
	settings *sequencepb.Settings
	defaults *shape
}

var _ statemachines.Machine = (*Machine)(nil)

// New makes an empty Machine.
func New(g statemachines.Group) *Machine {
	m := &Machine{head: head{group: g.ID}, epoch: 1, spare: &spare{}}
	m.settle(0, &sequencepb.Settings{})
	m.clear()
	return m
}

// clear forgets all series and clients.
func (m *Machine) clear() {
	m.book, m.clients = pages.New[ties, numbers](), map[uint64]*client{}
	m.numbers = btree.NewG(degree, func(a, b *client) bool { return a.number < b.number })
	m.silent = list.New()
}

// settle takes settings that were checked.
func (m *Machine) settle(revision uint64, s *sequencepb.Settings) {
	m.defaults, _ = compile(s.GetDefaults()) // checked by whoever calls
	m.revision = revision
	m.settings = &sequencepb.Settings{
		Defaults: m.defaults.definition(), NoAutoCreate: s.GetNoAutoCreate(), MaxKeys: or(s.GetMaxKeys(), DefaultKeys), Family: s.GetFamily(),
	}
}

// Apply implements statemachines.Machine.
func (m *Machine) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for i := range batch {
		if i%aheadMost == 0 {
			m.lookAhead(batch[i:min(i+aheadMost, len(batch))])
		}
		m.now = max(m.now, batch[i].Time)
		results[i] = m.apply(batch[i].Data)
	}
}

// Snapshot implements statemachines.Machine. It copies the list of pages, and no page.
func (m *Machine) Snapshot() statemachines.View {
	m.epoch++
	return &view{head: m.head, book: m.book.Freeze(), numbers: m.numbers.Clone()}
}

// Recovered implements statemachines.Machine: all sequences are closed, and the clients
// of the life before are unknown. What they held is accounted for as lost.
func (m *Machine) Recovered(generation uint64) {
	m.numbers.Ascend(func(c *client) bool {
		for i := range c.records {
			m.lose(&c.records[i])
		}
		return true
	})
	m.numbers.Clear(false)
	m.clients, m.silent, m.answers = map[uint64]*client{}, list.New(), 0
	m.generation, m.closed = generation, true
}

// view is a frozen Machine.
type view struct {
	head
	book    *pages.View[ties, numbers]
	numbers *btree.BTreeG[*client]
}

// Close implements statemachines.View.
func (v *view) Close() {
	v.book.Close()
	v.numbers = nil
}

// WriteTo implements statemachines.View.
func (v *view) WriteTo(w io.Writer) (int64, error) { return v.write(w) }
