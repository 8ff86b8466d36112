package machine

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	sm "github.com/lni/dragonboat/v3/statemachine"

	"github.com/drumline/drumline/internal/must"
	"github.com/drumline/drumline/statemachines"
)

// Code is what became of an entry; equal on every replica. Codes of session
// commands are in dragonboat's session snapshots: do not renumber.
type Code uint8

// Codes of entries.
const (
	// CodeOK: obeyed.
	CodeOK Code = 1
	// CodeRetry: of another leadership, or here before; not applied.
	CodeRetry Code = 2
	// CodeNotOpen and CodeSealed: the group does not obey yet, or any more.
	CodeNotOpen Code = 3
	CodeSealed  Code = 4
	// CodeBad: did not decode.
	CodeBad Code = 5
	// CodeRefused: a Load out of order, damaged, or after Open.
	CodeRefused Code = 6
)

// ErrClosed answers reads of a replica that is unloaded.
var ErrClosed = errors.New("replica is unloaded")

// Watcher is told what the log did, in log order, from the goroutine that applies
// it: it takes note and returns.
type Watcher interface {
	// Began: the Lead entry at index lead was obeyed when the clock stood at clock.
	Began(term, lead uint64, clock int64)
	// Interrupted: the leadership ended by the log; its leader must propose Lead again.
	Interrupted()
	// Applied: the entry (lead, serial) has been through; results are the watcher's
	// until it returns.
	Applied(lead, serial uint64, c Code, results []statemachines.Result)
	// LifeChanged: the group was opened or sealed, or its version raised.
	LifeChanged()
	// Restored: entries were skipped by a snapshot.
	Restored()
	// Piled: the log behind the last snapshot is worth another one. It is told again
	// after some more entries, until one is taken.
	Piled()
}

// life is a group's state besides its Machine's own. It is in every snapshot's
// header, and nothing but the log changes it.
type life struct {
	// applied is the index of the last entry handed to the adapter, commands the
	// number of commands that the Machine was given.
	applied  uint64
	commands uint64
	// term and lead are those of the last Lead obeyed; led is false before the
	// first and after an interruption: then commands are refused until the next.
	term uint64
	lead uint64
	led  bool
	// serial is that of the leadership's last entry. A network that delivers twice
	// what a deposed leader hands to the next one must not apply it twice.
	serial uint64
	// clock is the lease clock.
	clock  int64
	opened bool
	sealed bool
	// version is the behaviour version, generation what Open gave.
	version    uint32
	generation uint64
	// loaded: a state came through the log, so that Open calls Recovered.
	loaded bool
}

// Adapter makes a statemachines.Machine a dragonboat concurrent state machine and
// does all its locking. dragonboat calls Update and RecoverFromSnapshot from one
// goroutine at a time, PrepareSnapshot never beside them, SaveSnapshot beside
// anything, and Lookup (here: Query and View) beside anything and after Close.
type Adapter struct {
	app   statemachines.App
	group statemachines.Group
	watch Watcher

	// mu guards all that follows but scratch.
	mu      sync.RWMutex
	state   statemachines.Machine
	life    life
	loading []byte // what Load entries have brought so far
	closed  bool
	kept    bool // the state outlives Close
	pile    pile

	// index and flags publish life.applied and its booleans to Status without the lock.
	index   atomic.Uint64
	flags   atomic.Uint32
	version atomic.Uint32

	// scratch of Update.
	scratch struct {
		entry   Entry
		batch   []statemachines.Command
		results []statemachines.Result
	}
}

var _ sm.IConcurrentStateMachine = (*Adapter)(nil)

// Bits of Adapter.flags.
const (
	flagOpened = 1 << iota
	flagSealed
)

// New makes the adapter of one replica.
func New(app statemachines.App, group statemachines.Group, watch Watcher) *Adapter {
	return &Adapter{app: app, group: group, watch: watch, state: app.New(group)}
}

// SnapshotEvery sets the least number of entries between two snapshots, after which Piled is
// told; without it, it never is. It is called before the first entry.
func (m *Adapter) SnapshotEvery(entries uint64) { m.pile.every = entries }

// App is the app of the Machine.
func (m *Adapter) App() statemachines.App { return m.app }

// Index is that of the last entry the adapter was given. Like Version, Life and
// Obeys it does not wait for Update.
func (m *Adapter) Index() uint64 { return m.index.Load() }

// Version is the behaviour version in force; 0 before Open.
func (m *Adapter) Version() uint32 { return m.version.Load() }

// Life tells what the group's log has done to it.
func (m *Adapter) Life() (opened, sealed bool) {
	flags := m.flags.Load()
	return flags&flagOpened != 0, flags&flagSealed != 0
}

// Obeys tells whether the group obeys commands: CodeOK, CodeNotOpen or CodeSealed.
func (m *Adapter) Obeys() Code {
	opened, sealed := m.Life()
	return obeys(opened, sealed)
}

// Update applies committed entries.
func (m *Adapter) Update(entries []sm.Entry) ([]sm.Entry, error) {
	for i := range entries {
		entries[i].Result = m.apply(entries[i].Index, entries[i].Cmd)
	}
	return entries, nil
}

// apply puts one entry through and tells the watcher.
func (m *Adapter) apply(index uint64, cmd []byte) sm.Result {
	e := &m.scratch.entry
	m.mu.Lock()
	must.Hold(index > m.life.applied, "group %d: Entry %d after Entry %d", m.group.ID, index, m.life.applied)
	m.life.applied = index
	before := m.life
	c := CodeBad
	var results []statemachines.Result
	if e.decode(cmd) == nil {
		c, results = m.obey(e)
	}
	after := m.life
	m.publish()
	piled := m.pile.add(len(cmd))
	m.mu.Unlock()
	m.tell(e, c, results, change{before, after})
	if piled {
		m.watch.Piled()
	}
	return entryResult(e, c, results)
}

// entryResult is what dragonboat keeps of an entry's outcome. Only a session's
// matters: it is replicated and may be asked for again.
func entryResult(e *Entry, c Code, results []statemachines.Result) sm.Result {
	if e.Kind != KindSessionCommand || len(results) == 0 {
		if e.Kind == KindSessionCommand {
			return sm.Result{Data: []byte{byte(c)}}
		}
		return sm.Result{Value: uint64(c)}
	}
	r := results[0]
	return sm.Result{Value: r.Value, Data: append([]byte{byte(c)}, r.Data...)}
}

// change is life around one entry.
type change struct{ before, after life }

func (m *Adapter) tell(e *Entry, c Code, results []statemachines.Result, ch change) {
	if ch.after.lead != ch.before.lead {
		m.watch.Began(ch.after.term, ch.after.lead, ch.after.clock)
	}
	if ch.before.led && !ch.after.led {
		m.watch.Interrupted()
	}
	if e.Serial != 0 {
		m.watch.Applied(e.Lead, e.Serial, c, results)
	}
	if ch.before.opened != ch.after.opened || ch.before.sealed != ch.after.sealed ||
		ch.before.version != ch.after.version {
		m.watch.LifeChanged()
	}
}

func (m *Adapter) publish() {
	var f uint32
	if m.life.opened {
		f |= flagOpened
	}
	if m.life.sealed {
		f |= flagSealed
	}
	m.flags.Store(f)
	m.version.Store(m.life.version)
	m.index.Store(m.life.applied)
}

// obey carries out a decoded entry.
func (m *Adapter) obey(e *Entry) (Code, []statemachines.Result) {
	switch e.Kind {
	case KindLead:
		return m.lead(e), nil
	case KindSessionCommand:
		return m.session(e)
	}
	if !m.current(e) || e.Serial <= m.life.serial {
		return CodeRetry, nil
	}
	m.life.serial = e.Serial
	m.life.clock = max(m.life.clock, e.Stamp)
	switch e.Kind {
	case KindCommands:
		return m.commands(e)
	case KindOpen:
		return m.open(e), nil
	case KindSeal:
		m.life.sealed = true
		return CodeOK, nil
	case KindRaiseVersion:
		return m.raise(e.Version), nil
	case KindLoad:
		return m.load(&e.Load), nil
	}
	return CodeBad, nil
}

// current tells whether e belongs to the leadership that the log knows.
func (m *Adapter) current(e *Entry) bool {
	return m.life.led && e.Term == m.life.term && e.Lead == m.life.lead
}

// lead begins a leadership. A second Lead of one term is a proposal that was
// repeated or follows an interruption: it begins anew, which can only make the
// clock late.
func (m *Adapter) lead(e *Entry) Code {
	if e.Term < m.life.term {
		return CodeRetry
	}
	m.life.term, m.life.lead, m.life.led, m.life.serial = e.Term, m.life.applied, true, 0
	return CodeOK
}

// commands gives the commands of one coalesced entry to the Machine.
func (m *Adapter) commands(e *Entry) (Code, []statemachines.Result) {
	if c := m.obeys(); c != CodeOK {
		return c, nil
	}
	batch := m.scratch.batch[:0]
	lead := uint64(0)
	if m.current(e) {
		lead = m.life.lead
	}
	for _, data := range e.Commands {
		batch = append(batch, statemachines.Command{
			Index: m.life.applied, Time: m.life.clock, Lead: lead, Version: m.life.version, Data: data,
		})
	}
	clear(m.scratch.results)
	results := slices.Grow(m.scratch.results[:0], len(batch))[:len(batch)]
	m.state.Apply(batch, results)
	m.scratch.results = results
	m.life.commands += uint64(len(batch))
	clear(batch) // the commands' bytes are dragonboat's
	m.scratch.batch = batch
	return CodeOK, results
}

// session applies a session's command, whatever leadership it is of: dragonboat
// keeps a session's result, so that a refusal would be for ever. One of another
// leadership ends the present one, because it was given a time that may be older
// than its arrival (decision 0001).
func (m *Adapter) session(e *Entry) (Code, []statemachines.Result) {
	current := m.current(e)
	if current {
		m.life.clock = max(m.life.clock, e.Stamp)
	}
	c, results := m.commands(e)
	if c == CodeOK && !current {
		m.life.led = false
	}
	return c, results
}

// obeys tells whether the group obeys commands at all.
func (m *Adapter) obeys() Code { return obeys(m.life.opened, m.life.sealed) }

func obeys(opened, sealed bool) Code {
	switch {
	case sealed:
		return CodeSealed
	case !opened:
		return CodeNotOpen
	}
	return CodeOK
}

func (m *Adapter) open(e *Entry) Code {
	switch {
	case m.life.sealed:
		return CodeSealed
	case m.life.opened:
		return CodeOK
	}
	m.mustKnow(e.Version)
	m.life.opened, m.life.version, m.life.generation = true, e.Version, e.Generation
	m.loading = nil
	if !m.life.loaded {
		return CodeOK
	}
	m.state.Recovered(e.Generation)
	if len(e.Commands) > 0 { // in the same entry, so that no end of a host comes between
		m.commands(e)
	}
	return CodeOK
}

func (m *Adapter) raise(version uint32) Code {
	if c := m.obeys(); c != CodeOK {
		return c
	}
	if version > m.life.version {
		m.mustKnow(version)
		m.life.version = version
	}
	return CodeOK
}

// mustKnow ends the process of a replica whose program is too old: it would apply
// commands differently from the others.
func (m *Adapter) mustKnow(version uint32) {
	must.Hold(version <= m.app.Version, "group %d (%s) is at behaviour version %d, this program knows app %q up to version %d: run a newer one",
		m.group.ID, m.group.Name, version, m.app.Name, m.app.Version)
}

// load takes a chunk of a state that is loaded into a new group. Offset 0 begins
// anew, so that a loader that lost an answer starts again.
func (m *Adapter) load(l *Chunk) Code {
	switch {
	case m.life.sealed:
		return CodeSealed
	case m.life.opened:
		return CodeRefused
	case l.Offset == 0:
		m.loading = nil
	case l.Offset != uint64(len(m.loading)):
		return CodeRefused
	}
	m.loading = append(m.loading, l.Data...)
	if !l.Last {
		return CodeOK
	}
	state := m.loading
	m.loading = nil
	return m.loadAll(state, l.CRC)
}

func (m *Adapter) loadAll(state []byte, crc uint32) Code {
	m.life.loaded = false
	m.state = m.app.New(m.group)
	if Checksum(0, state) != crc {
		return CodeRefused
	}
	if err := m.state.Restore(bytes.NewReader(state)); err != nil {
		m.state = m.app.New(m.group)
		return CodeRefused
	}
	m.life.loaded = true
	return CodeOK
}

// Lookup answers dragonboat's own readers; ours use Query and View.
func (m *Adapter) Lookup(q any) (any, error) {
	b, ok := q.([]byte)
	if !ok {
		return nil, statemachines.ErrInvalidQuery
	}
	return m.Query(b)
}

// Query answers a read of an open group. It may come while or after the replica is unloaded.
func (m *Adapter) Query(q []byte) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.readable(); err != nil {
		return nil, err
	}
	return m.state.Query(q)
}

// QueryEach answers reads of an open group, all in one state, and hands the answers to
// take, in their order, until that returns false. take must not wait.
func (m *Adapter) QueryEach(qs [][]byte, take func(answer []byte, err error) bool) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.readable(); err != nil {
		return err
	}
	for _, q := range qs {
		if !take(m.state.Query(q)) {
			break
		}
	}
	return nil
}

// LifeError says that a group in this state is not read.
type LifeError Code

// Error says it.
func (e LifeError) Error() string {
	if Code(e) == CodeSealed {
		return "group is sealed"
	}
	return "group is not open"
}

func (m *Adapter) readable() error {
	if m.closed {
		return ErrClosed
	}
	if c := m.obeys(); c != CodeOK {
		return LifeError(c)
	}
	return nil
}

// View returns a Viewer's look at its state; with fresh, only if the group is open.
func (m *Adapter) View(fresh bool) (any, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	if err := m.readable(); fresh && err != nil {
		return nil, err
	}
	v, ok := m.state.(statemachines.Viewer)
	if !ok {
		return nil, ErrNoView
	}
	return v.View(), nil
}

// ErrNoView answers View of a Machine that is no Viewer.
var ErrNoView = errors.New("the app's machine gives no view")

// Close is called once the replica is unloaded; readers may still come. dragonboat may
// keep the Adapter for as long as the process lives, so it lets go of what it watched for.
func (m *Adapter) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.loading, m.watch = true, nil, nil
	if !m.kept {
		m.state = nil
	}
	return nil
}

// PrepareSnapshot freezes the state.
func (m *Adapter) PrepareSnapshot() (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pile.clear()
	return &frozen{name: m.group.Name, life: m.life, loading: m.loading[:len(m.loading):len(m.loading)], view: m.state.Snapshot()}, nil
}

// SaveSnapshot writes what PrepareSnapshot froze.
func (m *Adapter) SaveSnapshot(f any, w io.Writer, _ sm.ISnapshotFileCollection, done <-chan struct{}) error {
	fr, ok := f.(*frozen)
	must.Hold(ok, "group %d: dragonboat returned a foreign snapshot context %T", m.group.ID, f)
	defer fr.view.Close()
	to := &stoppable{w: w, done: done}
	err := fr.writeTo(to)
	if err == nil {
		m.pile.state.Store(to.written)
	}
	return err
}

// RecoverFromSnapshot replaces the whole state. A snapshot of our own that does
// not decode is the end: going on without it would lose acknowledged commands.
func (m *Adapter) RecoverFromSnapshot(r io.Reader, _ []sm.SnapshotFile, done <-chan struct{}) error {
	state := m.app.New(m.group)
	from := &counted{r: r}
	s, err := readSnapshot(from, state)
	select {
	case <-done:
		return sm.ErrSnapshotStopped
	default:
	}
	must.NoError(err, "restore the snapshot of group "+m.group.Name)
	must.Hold(s.name == m.group.Name, "group %d is called %q and its snapshot %q", m.group.ID, m.group.Name, s.name)
	m.mu.Lock()
	m.state, m.life, m.loading = state, s.life, s.loading
	m.pile.clear()
	m.pile.state.Store(from.read)
	m.mustKnow(s.life.version)
	m.publish()
	m.mu.Unlock()
	m.watch.Restored()
	return nil
}
