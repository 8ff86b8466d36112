package raft

import (
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	sm "github.com/lni/dragonboat/v3/statemachine"

	"github.com/drumline/drumline/internal/must"
	"github.com/drumline/drumline/statemachines"
)

// code is what became of an entry; equal on every replica. Codes of session
// commands are in dragonboat's session snapshots: do not renumber.
type code uint8

const (
	codeOK      code = 1
	codeRetry   code = 2 // of another leadership: not applied
	codeNotOpen code = 3
	codeSealed  code = 4
	codeBad     code = 5 // did not decode
	codeRefused code = 6 // a Load out of order, damaged, or after Open
)

// errClosed answers reads of a replica that is unloaded.
var errClosed = errors.New("replica is unloaded")

// watcher is told what the log did, in log order, from the goroutine that applies
// it: it takes note and returns.
type watcher interface {
	// began: the Lead entry at index lead was obeyed when the clock stood at clock.
	began(term, lead uint64, clock int64)
	// interrupted: the leadership ended by the log; its leader must propose Lead again.
	interrupted()
	// applied: the entry (lead, serial) has been through; the results are given away.
	applied(lead, serial uint64, c code, results []statemachines.Result)
	// lifeChanged: the group was opened or sealed, or its version raised.
	lifeChanged()
	// restored: entries were skipped by a snapshot.
	restored()
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

// machine makes a statemachines.Machine a dragonboat concurrent state machine and
// does all its locking. dragonboat calls Update and RecoverFromSnapshot from one
// goroutine at a time, PrepareSnapshot never beside them, SaveSnapshot beside
// anything, and Lookup (here: query and view) beside anything and after Close.
type machine struct {
	app   statemachines.App
	group statemachines.Group
	watch watcher

	// mu guards all that follows but scratch.
	mu      sync.RWMutex
	state   statemachines.Machine
	life    life
	loading []byte // what Load entries have brought so far
	closed  bool

	// index and flags publish life.applied and its booleans to Status without the lock.
	index   atomic.Uint64
	flags   atomic.Uint32
	version atomic.Uint32

	// scratch of Update.
	scratch struct {
		entry entry
		batch []statemachines.Command
	}
}

var _ sm.IConcurrentStateMachine = (*machine)(nil)

// Bits of machine.flags.
const (
	flagOpened = 1 << iota
	flagSealed
)

func newMachine(app statemachines.App, group statemachines.Group, watch watcher) *machine {
	return &machine{app: app, group: group, watch: watch, state: app.New(group)}
}

// Update applies committed entries.
func (m *machine) Update(entries []sm.Entry) ([]sm.Entry, error) {
	for i := range entries {
		entries[i].Result = m.apply(entries[i].Index, entries[i].Cmd)
	}
	return entries, nil
}

// apply puts one entry through and tells the watcher.
func (m *machine) apply(index uint64, cmd []byte) sm.Result {
	e := &m.scratch.entry
	m.mu.Lock()
	must.Hold(index > m.life.applied, "group %d: entry %d after entry %d", m.group.ID, index, m.life.applied)
	m.life.applied = index
	before := m.life
	c := codeBad
	var results []statemachines.Result
	if e.decode(cmd) == nil {
		c, results = m.obey(e)
	}
	after := m.life
	m.publish()
	m.mu.Unlock()
	m.tell(e, c, results, change{before, after})
	return entryResult(e, c, results)
}

// entryResult is what dragonboat keeps of an entry's outcome. Only a session's
// matters: it is replicated and may be asked for again.
func entryResult(e *entry, c code, results []statemachines.Result) sm.Result {
	if e.kind != kindSessionCommand || len(results) == 0 {
		return sm.Result{Value: 0, Data: []byte{byte(c)}}
	}
	r := results[0]
	return sm.Result{Value: r.Value, Data: append([]byte{byte(c)}, r.Data...)}
}

// change is life around one entry.
type change struct{ before, after life }

func (m *machine) tell(e *entry, c code, results []statemachines.Result, ch change) {
	if ch.after.lead != ch.before.lead {
		m.watch.began(ch.after.term, ch.after.lead, ch.after.clock)
	}
	if ch.before.led && !ch.after.led {
		m.watch.interrupted()
	}
	if e.serial != 0 {
		m.watch.applied(e.lead, e.serial, c, results)
	}
	if ch.before.opened != ch.after.opened || ch.before.sealed != ch.after.sealed ||
		ch.before.version != ch.after.version {
		m.watch.lifeChanged()
	}
}

func (m *machine) publish() {
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
func (m *machine) obey(e *entry) (code, []statemachines.Result) {
	switch e.kind {
	case kindLead:
		return m.lead(e), nil
	case kindSessionCommand:
		return m.session(e)
	}
	if !m.current(e) || e.serial <= m.life.serial {
		return codeRetry, nil
	}
	m.life.serial = e.serial
	m.life.clock = max(m.life.clock, e.stamp)
	switch e.kind {
	case kindCommands:
		return m.commands(e)
	case kindOpen:
		return m.open(e), nil
	case kindSeal:
		m.life.sealed = true
		return codeOK, nil
	case kindRaiseVersion:
		return m.raise(e.version), nil
	case kindLoad:
		return m.load(&e.load), nil
	}
	return codeBad, nil
}

// current tells whether e belongs to the leadership that the log knows.
func (m *machine) current(e *entry) bool {
	return m.life.led && e.term == m.life.term && e.lead == m.life.lead
}

// lead begins a leadership. A second Lead of one term is a proposal that was
// repeated or follows an interruption: it begins anew, which can only make the
// clock late.
func (m *machine) lead(e *entry) code {
	if e.term < m.life.term {
		return codeRetry
	}
	m.life.term, m.life.lead, m.life.led, m.life.serial = e.term, m.life.applied, true, 0
	return codeOK
}

// commands gives the commands of one coalesced entry to the Machine.
func (m *machine) commands(e *entry) (code, []statemachines.Result) {
	if c := m.obeys(); c != codeOK {
		return c, nil
	}
	batch := m.scratch.batch[:0]
	for _, data := range e.commands {
		batch = append(batch, statemachines.Command{
			Index: m.life.applied, Time: m.life.clock, Version: m.life.version, Data: data,
		})
	}
	results := make([]statemachines.Result, len(batch))
	m.state.Apply(batch, results)
	m.life.commands += uint64(len(batch))
	clear(batch) // the commands' bytes are dragonboat's
	m.scratch.batch = batch
	return codeOK, results
}

// session applies a session's command, whatever leadership it is of: dragonboat
// keeps a session's result, so that a refusal would be for ever. One of another
// leadership ends the present one, because it was given a time that may be older
// than its arrival (decision 0001).
func (m *machine) session(e *entry) (code, []statemachines.Result) {
	current := m.current(e)
	if current {
		m.life.clock = max(m.life.clock, e.stamp)
	}
	c, results := m.commands(e)
	if c == codeOK && !current {
		m.life.led = false
	}
	return c, results
}

// obeys tells whether the group obeys commands at all.
func (m *machine) obeys() code {
	switch {
	case m.life.sealed:
		return codeSealed
	case !m.life.opened:
		return codeNotOpen
	}
	return codeOK
}

func (m *machine) open(e *entry) code {
	switch {
	case m.life.sealed:
		return codeSealed
	case m.life.opened:
		return codeOK
	}
	m.mustKnow(e.version)
	m.life.opened, m.life.version, m.life.generation = true, e.version, e.generation
	m.loading = nil
	if m.life.loaded {
		m.state.Recovered(e.generation)
	}
	return codeOK
}

func (m *machine) raise(version uint32) code {
	if c := m.obeys(); c != codeOK {
		return c
	}
	if version > m.life.version {
		m.mustKnow(version)
		m.life.version = version
	}
	return codeOK
}

// mustKnow ends the process of a replica whose program is too old: it would apply
// commands differently from the others.
func (m *machine) mustKnow(version uint32) {
	must.Hold(version <= m.app.Version, "group %d (%s) is at behaviour version %d, this program knows app %q up to version %d: run a newer one",
		m.group.ID, m.group.Name, version, m.app.Name, m.app.Version)
}

// load takes a chunk of a state that is loaded into a new group. Offset 0 begins
// anew, so that a loader that lost an answer starts again.
func (m *machine) load(l *loadChunk) code {
	switch {
	case m.life.sealed:
		return codeSealed
	case m.life.opened:
		return codeRefused
	case l.offset == 0:
		m.loading = nil
	case l.offset != uint64(len(m.loading)):
		return codeRefused
	}
	m.loading = append(m.loading, l.data...)
	if !l.last {
		return codeOK
	}
	state := m.loading
	m.loading = nil
	return m.loadAll(state, l.crc)
}

func (m *machine) loadAll(state []byte, crc uint32) code {
	m.life.loaded = false
	m.state = m.app.New(m.group)
	if crc32.Checksum(state, castagnoli()) != crc {
		return codeRefused
	}
	if err := m.state.Restore(newBytesReader(state)); err != nil {
		m.state = m.app.New(m.group)
		return codeRefused
	}
	m.life.loaded = true
	return codeOK
}

// Lookup answers dragonboat's own readers; ours use query and view.
func (m *machine) Lookup(q any) (any, error) {
	b, ok := q.([]byte)
	if !ok {
		return nil, statemachines.ErrInvalidQuery
	}
	return m.query(b)
}

// query answers a read. It may come while or after the replica is unloaded.
func (m *machine) query(q []byte) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.readable(); err != nil {
		return nil, err
	}
	return m.state.Query(q)
}

// lifeError says that a group in this state is not read.
type lifeError code

func (e lifeError) Error() string {
	if code(e) == codeSealed {
		return "group is sealed"
	}
	return "group is not open"
}

func (m *machine) readable() error {
	if m.closed {
		return errClosed
	}
	if c := m.obeys(); c != codeOK {
		return lifeError(c)
	}
	return nil
}

// view returns a Viewer's look at its state; with fresh, only if the group is open.
func (m *machine) view(fresh bool) (any, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, errClosed
	}
	if err := m.readable(); fresh && err != nil {
		return nil, err
	}
	v, ok := m.state.(statemachines.Viewer)
	if !ok {
		return nil, errNoView
	}
	return v.View(), nil
}

var errNoView = errors.New("the app's machine gives no view")

// Close is called once the replica is unloaded; readers may still come.
func (m *machine) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.state, m.loading = nil, nil
	return nil
}

// PrepareSnapshot freezes the state.
func (m *machine) PrepareSnapshot() (any, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return &frozen{name: m.group.Name, life: m.life, loading: m.loading[:len(m.loading):len(m.loading)], view: m.state.Snapshot()}, nil
}

// SaveSnapshot writes what PrepareSnapshot froze.
func (m *machine) SaveSnapshot(f any, w io.Writer, _ sm.ISnapshotFileCollection, done <-chan struct{}) error {
	fr, ok := f.(*frozen)
	must.Hold(ok, "group %d: dragonboat returned a foreign snapshot context %T", m.group.ID, f)
	defer fr.view.Close()
	return fr.writeTo(&stoppable{w: w, done: done})
}

// RecoverFromSnapshot replaces the whole state. A snapshot of our own that does
// not decode is the end: going on without it would lose acknowledged commands.
func (m *machine) RecoverFromSnapshot(r io.Reader, _ []sm.SnapshotFile, done <-chan struct{}) error {
	state := m.app.New(m.group)
	s, err := readSnapshot(r, state)
	select {
	case <-done:
		return sm.ErrSnapshotStopped
	default:
	}
	must.NoError(err, "restore the snapshot of group "+m.group.Name)
	must.Hold(s.name == m.group.Name, "group %d is called %q and its snapshot %q", m.group.ID, m.group.Name, s.name)
	m.mu.Lock()
	m.state, m.life, m.loading = state, s.life, s.loading
	m.mustKnow(s.life.version)
	m.publish()
	m.mu.Unlock()
	m.watch.restored()
	return nil
}
