package machine

import (
	"bytes"
	"hash/crc32"
	"testing"

	sm "github.com/lni/dragonboat/v3/statemachine"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/must"
	"github.com/drumline/drumline/internal/raft/ledger"
	"github.com/drumline/drumline/statemachines"
)

// recorder is a watcher that keeps what it is told.
type recorder struct {
	*Adapter
	codes        map[uint64]Code
	begun        []uint64
	interrupts   int
	lives        int
	restorations int
	piled        int
}

func (r *recorder) Began(_, lead uint64, _ int64) { r.begun = append(r.begun, lead) }
func (r *recorder) Interrupted()                  { r.interrupts++ }
func (r *recorder) Applied(_, serial uint64, c Code, _ []statemachines.Result) {
	r.codes[serial] = c
}
func (r *recorder) LifeChanged() { r.lives++ }
func (r *recorder) Restored()    { r.restorations++ }
func (r *recorder) Piled()       { r.piled++ }

func newTestMachine() *recorder {
	r := &recorder{codes: make(map[uint64]Code)}
	r.Adapter = New(ledger.App(3), statemachines.Group{ID: 1000, Name: "ledger/x"}, r)
	return r
}

// Entries of tests. In applyAll's machines entry i of the log has index i, so that a
// Lead that comes first is at 1.
func lead(term uint64) []byte { return (&Entry{Kind: KindLead, Term: term}).Encode() }

func open(term, lead, serial uint64) []byte {
	return (&Entry{Kind: KindOpen, Term: term, Lead: lead, Serial: serial, Version: 1}).Encode()
}

func commands(term, lead, serial uint64, texts ...string) []byte {
	return stamped(term, lead, serial, 0, texts...)
}

func stamped(term, lead, serial uint64, stamp int64, texts ...string) []byte {
	e := Entry{Kind: KindCommands, Term: term, Lead: lead, Serial: serial, Stamp: stamp}
	for _, t := range texts {
		e.Commands = append(e.Commands, []byte(t))
	}
	return e.Encode()
}

func session(term, lead uint64, stamp int64, text string) []byte {
	return (&Entry{Kind: KindSessionCommand, Term: term, Lead: lead, Stamp: stamp, Commands: [][]byte{[]byte(text)}}).Encode()
}

// applyAll puts entries at the end of m's log and returns their result codes.
func applyAll(m *Adapter, cmds ...[]byte) []Code {
	var codes []Code
	for _, cmd := range cmds {
		out, err := m.Update([]sm.Entry{{Index: m.life.applied + 1, Cmd: cmd}})
		must.NoError(err, "update")
		codes = append(codes, codeOf(out[0].Result))
	}
	return codes
}

// codeOf is what dragonboat keeps of an entry's outcome.
func codeOf(r sm.Result) Code {
	if len(r.Data) > 0 {
		return Code(r.Data[0])
	}
	return Code(r.Value)
}

func snapshotBytes(t testing.TB, m *Adapter) []byte {
	t.Helper()
	f, err := m.PrepareSnapshot()
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, m.SaveSnapshot(f, &b, nil, nil))
	return b.Bytes()
}

func (r *recorder) texts() []string { return r.state.(*ledger.Ledger).Texts() }

func TestNothingIsObeyedBeforeOpenNorAfterSeal(t *testing.T) {
	r := newTestMachine()
	seal := func(serial uint64) []byte {
		return (&Entry{Kind: KindSeal, Term: 1, Lead: 1, Serial: serial}).Encode()
	}
	got := applyAll(r.Adapter, lead(1),
		commands(1, 1, 1, "early"), session(1, 1, 0, "early too"),
		open(1, 1, 2), open(1, 1, 3), commands(1, 1, 4, "a", "b"),
		seal(5), seal(6), commands(1, 1, 7, "late"), session(1, 1, 0, "late too"), open(1, 1, 8))
	require.Equal(t, []Code{
		CodeOK, CodeNotOpen, CodeNotOpen, CodeOK, CodeOK, CodeOK,
		CodeOK, CodeOK, CodeSealed, CodeSealed, CodeSealed,
	}, got)
	require.Equal(t, []string{"a", "b"}, r.texts())
	require.Equal(t, 2, r.lives, "opened once, sealed once")
	_, err := r.Query([]byte("count"))
	require.ErrorIs(t, err, LifeError(CodeSealed))
	_, err = newTestMachine().Query([]byte("count"))
	require.ErrorIs(t, err, LifeError(CodeNotOpen))
}

func TestCommandsOfAnotherLeadershipAreNotApplied(t *testing.T) {
	r := newTestMachine()
	got := applyAll(r.Adapter,
		commands(1, 1, 1, "before any lead"),
		lead(2), open(2, 2, 2), commands(2, 2, 3, "mine"),
		lead(3), // at 5
		commands(2, 2, 4, "of the old leader"), commands(3, 5, 5, "of the new one"),
		lead(2), // late
		commands(2, 8, 6, "of a lead that was refused"), commands(3, 5, 7, "still the new one"),
	)
	require.Equal(t, []Code{
		CodeRetry, CodeOK, CodeOK, CodeOK, CodeOK, CodeRetry, CodeOK, CodeRetry, CodeRetry, CodeOK,
	}, got)
	require.Equal(t, []string{"mine", "of the new one", "still the new one"}, r.texts())
	require.Equal(t, []uint64{2, 5}, r.begun)
}

func TestMachineTimeNeverGoesBackAndCountsOnlyTheLeadershipsStamps(t *testing.T) {
	r := newTestMachine()
	applyAll(r.Adapter, lead(1), open(1, 1, 1),
		stamped(1, 1, 2, 100, "a"), stamped(1, 1, 3, 50, "b"),
		stamped(9, 9, 4, 1<<60, "another term"), stamped(1, 1, 5, 120, "c"))
	var times []int64
	for _, l := range r.state.(*ledger.Ledger).Lines {
		times = append(times, l.Time)
	}
	require.Equal(t, []int64{100, 100, 120}, times)
}

// A session command of an old leadership is applied, without its stamp, and ends
// the present one: else the present leader's next stamp could end early what that
// command was granted (decision 0001).
func TestSessionCommandOfAnotherLeadership(t *testing.T) {
	r := newTestMachine()
	got := applyAll(r.Adapter, lead(1), open(1, 1, 1), stamped(1, 1, 2, 100, "a"),
		lead(2), // at 4
		session(1, 1, 1<<40, "late"),
		stamped(2, 4, 3, 1<<41, "sealed before the leader knew"),
		lead(2), // at 7
		stamped(2, 7, 4, 150, "b"),
		session(2, 7, 160, "in time"))
	require.Equal(t, []Code{CodeOK, CodeOK, CodeOK, CodeOK, CodeOK, CodeRetry, CodeOK, CodeOK, CodeOK}, got)
	require.Equal(t, []string{"a", "late", "b", "in time"}, r.texts())
	require.Equal(t, 1, r.interrupts)
	require.Equal(t, int64(160), r.life.clock)
	require.Equal(t, int64(100), r.state.(*ledger.Ledger).Lines[1].Time)
}

// The same entry twice, or out of order, as a careless network may deliver what a
// deposed leader hands on, is applied once at most.
func TestSerialsOnlyGrow(t *testing.T) {
	r := newTestMachine()
	got := applyAll(r.Adapter, lead(1), open(1, 1, 1), commands(1, 1, 3, "c"), commands(1, 1, 3, "c"), commands(1, 1, 2, "b"),
		session(1, 1, 0, "s"), commands(1, 1, 4, "d"), lead(1), commands(1, 8, 5, "e"))
	require.Equal(t, []Code{CodeOK, CodeOK, CodeOK, CodeRetry, CodeRetry, CodeOK, CodeOK, CodeOK, CodeOK}, got)
	require.Equal(t, []string{"c", "s", "d", "e"}, r.texts())
}

func TestBadEntriesChangeNothing(t *testing.T) {
	r := newTestMachine()
	applyAll(r.Adapter, lead(1), open(1, 1, 1), commands(1, 1, 2, "a"))
	before := r.life
	require.Equal(t, []Code{CodeBad, CodeBad}, applyAll(r.Adapter, []byte("garbage"), []byte{1, 8, 0, 0, 0, 0}))
	before.applied += 2
	require.Equal(t, before, r.life)
}

func TestVersionIsRaisedOnly(t *testing.T) {
	r := newTestMachine()
	raise := func(serial uint64, v uint32) []byte {
		return (&Entry{Kind: KindRaiseVersion, Term: 1, Lead: 1, Serial: serial, Version: v}).Encode()
	}
	got := applyAll(r.Adapter, lead(1), raise(1, 2), open(1, 1, 2), commands(1, 1, 3, "a"), raise(4, 3), commands(1, 1, 5, "b"), raise(6, 2), commands(1, 1, 7, "c"))
	require.Equal(t, []Code{CodeOK, CodeNotOpen, CodeOK, CodeOK, CodeOK, CodeOK, CodeOK, CodeOK}, got)
	var versions []uint32
	for _, l := range r.state.(*ledger.Ledger).Lines {
		versions = append(versions, l.Version)
	}
	require.Equal(t, []uint32{1, 3, 3}, versions)
	require.Panics(t, func() { applyAll(r.Adapter, raise(8, 4)) }, "a program that does not know the version must not go on")
}

func TestLoadThenOpenTellsTheMachineThatItLivesAgain(t *testing.T) {
	old := newTestMachine()
	applyAll(old.Adapter, lead(1), open(1, 1, 1), commands(1, 1, 2, "a", "b"))
	var state bytes.Buffer
	_, err := old.state.Snapshot().WriteTo(&state)
	require.NoError(t, err)
	sum := crc32.Checksum(state.Bytes(), castagnoli())
	var serial uint64
	load := func(offset int, last bool, data []byte, crc uint32) []byte {
		serial++
		return (&Entry{Kind: KindLoad, Term: 1, Lead: 1, Serial: serial, Load: Chunk{Offset: uint64(offset), Last: last, CRC: crc, Data: data}}).Encode()
	}
	b := state.Bytes()
	r := newTestMachine()
	got := applyAll(r.Adapter, lead(1),
		load(0, false, b[:3], 0), load(7, false, b[3:], 0), // a gap
		load(0, true, b[:5], sum), // cut: the checksum says so
		load(0, true, []byte("xx"), crc32.Checksum([]byte("xx"), castagnoli())), // no snapshot
		load(0, false, b[:3], 0), load(3, true, b[3:], sum),
		(&Entry{Kind: KindOpen, Term: 1, Lead: 1, Serial: 7, Version: 1, Generation: 42, Commands: [][]byte{[]byte("go on")}}).Encode(),
		(&Entry{Kind: KindLoad, Term: 1, Lead: 1, Serial: 8, Load: Chunk{Last: true, CRC: sum, Data: b}}).Encode())
	require.Equal(t, []Code{CodeOK, CodeOK, CodeRefused, CodeRefused, CodeRefused, CodeOK, CodeOK, CodeOK, CodeRefused}, got)
	require.Equal(t, []string{"a", "b", "go on"}, r.texts())
	require.Equal(t, uint64(42), r.state.(*ledger.Ledger).Generation)
}

// A snapshot at any point of the log, restored elsewhere, goes on as if nothing had
// been: the same results, the same bytes.
func TestSnapshotAtAnyPointChangesNothing(t *testing.T) {
	log := [][]byte{
		lead(1), commands(1, 1, 1, "early"),
		(&Entry{Kind: KindLoad, Term: 1, Lead: 1, Serial: 2, Load: Chunk{Data: []byte("begun and left")}}).Encode(),
		open(1, 1, 3), stamped(1, 1, 4, 100, "a", "b"), []byte("garbage"), lead(2),
		session(1, 1, 1000, "late"), stamped(2, 7, 5, 2000, "refused"), lead(2), stamped(2, 10, 6, 3000, "c"),
		(&Entry{Kind: KindSeal, Term: 2, Lead: 10, Serial: 7}).Encode(), stamped(2, 10, 8, 4000, "d"),
	}
	straight := newTestMachine()
	want := applyAll(straight.Adapter, log...)
	for i := range log {
		first, second := newTestMachine(), newTestMachine()
		got := applyAll(first.Adapter, log[:i]...)
		require.NoError(t, second.RecoverFromSnapshot(bytes.NewReader(snapshotBytes(t, first.Adapter)), nil, nil))
		got = append(got, applyAll(second.Adapter, log[i:]...)...)
		require.Equal(t, want, got, "snapshot after %d entries", i)
		require.Equal(t, snapshotBytes(t, straight.Adapter), snapshotBytes(t, second.Adapter), "snapshot after %d entries", i)
		require.Equal(t, 1, second.restorations)
	}
}

func TestAnEntryIndexNeverGoesBack(t *testing.T) {
	r := newTestMachine()
	applyAll(r.Adapter, lead(1))
	require.Panics(t, func() { _, _ = r.Update([]sm.Entry{{Index: 1, Cmd: lead(2)}}) })
}

func TestReadsAfterCloseAreRefused(t *testing.T) {
	r := newTestMachine()
	applyAll(r.Adapter, lead(1), open(1, 1, 1))
	require.NoError(t, r.Close())
	_, err := r.Lookup([]byte("count"))
	require.ErrorIs(t, err, ErrClosed)
	_, err = r.View(false)
	require.ErrorIs(t, err, ErrClosed)
	_, err = r.Lookup(7)
	require.ErrorIs(t, err, statemachines.ErrInvalidQuery)
}

// witness is a Machine that keeps the leaderships its commands came under.
type witness struct {
	statemachines.Machine
	leads []uint64
}

func (w *witness) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for _, c := range batch {
		w.leads = append(w.leads, c.Lead)
	}
	w.Machine.Apply(batch, results)
}

func TestCommandsKnowTheLeadershipThatStampedThem(t *testing.T) {
	app, w := ledger.App(3), &witness{}
	inner := app.New
	app.New = func(g statemachines.Group) statemachines.Machine {
		w.Machine = inner(g)
		return w
	}
	m := New(app, statemachines.Group{ID: 1000, Name: "ledger/x"}, newTestMachine())
	codes := applyAll(m,
		lead(1), open(1, 1, 1), commands(1, 1, 2, "a", "b"),
		lead(2), commands(1, 1, 3, "of the one before"), commands(2, 4, 1, "c"),
		session(2, 4, 0, "of the leader"), session(1, 1, 0, "of the one before"), session(2, 4, 0, "of nobody any more"),
	)
	require.Equal(t, []Code{CodeOK, CodeOK, CodeOK, CodeOK, CodeRetry, CodeOK, CodeOK, CodeOK, CodeOK}, codes)
	require.Equal(t, []uint64{1, 1, 4, 4, 0, 0}, w.leads)
}
