package raft

import (
	"bytes"
	"hash/crc32"
	"testing"

	sm "github.com/lni/dragonboat/v3/statemachine"
	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/internal/must"
	"github.com/drumline/drumline/statemachines"
)

// recorder is a watcher that keeps what it is told.
type recorder struct {
	*machine
	codes        map[uint64]code
	begun        []uint64
	interrupts   int
	lives        int
	restorations int
}

func (r *recorder) began(_, lead uint64, _ int64) { r.begun = append(r.begun, lead) }
func (r *recorder) interrupted()                  { r.interrupts++ }
func (r *recorder) applied(_, serial uint64, c code, _ []statemachines.Result) {
	r.codes[serial] = c
}
func (r *recorder) lifeChanged() { r.lives++ }
func (r *recorder) restored()    { r.restorations++ }

func newTestMachine() *recorder {
	r := &recorder{codes: make(map[uint64]code)}
	r.machine = newMachine(ledgerApp(3), statemachines.Group{ID: 1000, Name: "ledger/x"}, r)
	return r
}

// Entries of tests. In applyAll's machines entry i of the log has index i, so that a
// Lead that comes first is at 1.
func lead(term uint64) []byte { return (&entry{kind: kindLead, term: term}).encode() }

func open(term, lead, serial uint64) []byte {
	return (&entry{kind: kindOpen, term: term, lead: lead, serial: serial, version: 1}).encode()
}

func commands(term, lead, serial uint64, texts ...string) []byte {
	return stamped(term, lead, serial, 0, texts...)
}

func stamped(term, lead, serial uint64, stamp int64, texts ...string) []byte {
	e := entry{kind: kindCommands, term: term, lead: lead, serial: serial, stamp: stamp}
	for _, t := range texts {
		e.commands = append(e.commands, []byte(t))
	}
	return e.encode()
}

func session(term, lead uint64, stamp int64, text string) []byte {
	return (&entry{kind: kindSessionCommand, term: term, lead: lead, stamp: stamp, commands: [][]byte{[]byte(text)}}).encode()
}

// applyAll puts entries at the end of m's log and returns their result codes.
func applyAll(m *machine, cmds ...[]byte) []code {
	var codes []code
	for _, cmd := range cmds {
		out, err := m.Update([]sm.Entry{{Index: m.life.applied + 1, Cmd: cmd}})
		must.NoError(err, "update")
		codes = append(codes, code(out[0].Result.Data[0]))
	}
	return codes
}

func snapshotBytes(t testing.TB, m *machine) []byte {
	t.Helper()
	f, err := m.PrepareSnapshot()
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, m.SaveSnapshot(f, &b, nil, nil))
	return b.Bytes()
}

func (r *recorder) texts() []string {
	var out []string
	for _, l := range r.state.(*ledger).lines {
		out = append(out, l.text)
	}
	return out
}

func TestNothingIsObeyedBeforeOpenNorAfterSeal(t *testing.T) {
	r := newTestMachine()
	seal := func(serial uint64) []byte {
		return (&entry{kind: kindSeal, term: 1, lead: 1, serial: serial}).encode()
	}
	got := applyAll(r.machine, lead(1),
		commands(1, 1, 1, "early"), session(1, 1, 0, "early too"),
		open(1, 1, 2), open(1, 1, 3), commands(1, 1, 4, "a", "b"),
		seal(5), seal(6), commands(1, 1, 7, "late"), session(1, 1, 0, "late too"), open(1, 1, 8))
	require.Equal(t, []code{
		codeOK, codeNotOpen, codeNotOpen, codeOK, codeOK, codeOK,
		codeOK, codeOK, codeSealed, codeSealed, codeSealed,
	}, got)
	require.Equal(t, []string{"a", "b"}, r.texts())
	require.Equal(t, 2, r.lives, "opened once, sealed once")
	_, err := r.query([]byte("count"))
	require.ErrorIs(t, err, lifeError(codeSealed))
	_, err = newTestMachine().query([]byte("count"))
	require.ErrorIs(t, err, lifeError(codeNotOpen))
}

func TestCommandsOfAnotherLeadershipAreNotApplied(t *testing.T) {
	r := newTestMachine()
	got := applyAll(r.machine,
		commands(1, 1, 1, "before any lead"),
		lead(2), open(2, 2, 2), commands(2, 2, 3, "mine"),
		lead(3), // at 5
		commands(2, 2, 4, "of the old leader"), commands(3, 5, 5, "of the new one"),
		lead(2), // late
		commands(2, 8, 6, "of a lead that was refused"), commands(3, 5, 7, "still the new one"),
	)
	require.Equal(t, []code{
		codeRetry, codeOK, codeOK, codeOK, codeOK, codeRetry, codeOK, codeRetry, codeRetry, codeOK,
	}, got)
	require.Equal(t, []string{"mine", "of the new one", "still the new one"}, r.texts())
	require.Equal(t, []uint64{2, 5}, r.begun)
}

func TestMachineTimeNeverGoesBackAndCountsOnlyTheLeadershipsStamps(t *testing.T) {
	r := newTestMachine()
	applyAll(r.machine, lead(1), open(1, 1, 1),
		stamped(1, 1, 2, 100, "a"), stamped(1, 1, 3, 50, "b"),
		stamped(9, 9, 4, 1<<60, "another term"), stamped(1, 1, 5, 120, "c"))
	var times []int64
	for _, l := range r.state.(*ledger).lines {
		times = append(times, l.time)
	}
	require.Equal(t, []int64{100, 100, 120}, times)
}

// A session command of an old leadership is applied, without its stamp, and ends
// the present one: else the present leader's next stamp could end early what that
// command was granted (decision 0001).
func TestSessionCommandOfAnotherLeadership(t *testing.T) {
	r := newTestMachine()
	got := applyAll(r.machine, lead(1), open(1, 1, 1), stamped(1, 1, 2, 100, "a"),
		lead(2), // at 4
		session(1, 1, 1<<40, "late"),
		stamped(2, 4, 3, 1<<41, "sealed before the leader knew"),
		lead(2), // at 7
		stamped(2, 7, 4, 150, "b"),
		session(2, 7, 160, "in time"))
	require.Equal(t, []code{codeOK, codeOK, codeOK, codeOK, codeOK, codeRetry, codeOK, codeOK, codeOK}, got)
	require.Equal(t, []string{"a", "late", "b", "in time"}, r.texts())
	require.Equal(t, 1, r.interrupts)
	require.Equal(t, int64(160), r.life.clock)
	require.Equal(t, int64(100), r.state.(*ledger).lines[1].time)
}

// The same entry twice, or out of order, as a careless network may deliver what a
// deposed leader hands on, is applied once at most.
func TestSerialsOnlyGrow(t *testing.T) {
	r := newTestMachine()
	got := applyAll(r.machine, lead(1), open(1, 1, 1), commands(1, 1, 3, "c"), commands(1, 1, 3, "c"), commands(1, 1, 2, "b"),
		session(1, 1, 0, "s"), commands(1, 1, 4, "d"), lead(1), commands(1, 8, 5, "e"))
	require.Equal(t, []code{codeOK, codeOK, codeOK, codeRetry, codeRetry, codeOK, codeOK, codeOK, codeOK}, got)
	require.Equal(t, []string{"c", "s", "d", "e"}, r.texts())
}

func TestBadEntriesChangeNothing(t *testing.T) {
	r := newTestMachine()
	applyAll(r.machine, lead(1), open(1, 1, 1), commands(1, 1, 2, "a"))
	before := r.life
	require.Equal(t, []code{codeBad, codeBad}, applyAll(r.machine, []byte("garbage"), []byte{1, 8, 0, 0, 0, 0}))
	before.applied += 2
	require.Equal(t, before, r.life)
}

func TestVersionIsRaisedOnly(t *testing.T) {
	r := newTestMachine()
	raise := func(serial uint64, v uint32) []byte {
		return (&entry{kind: kindRaiseVersion, term: 1, lead: 1, serial: serial, version: v}).encode()
	}
	got := applyAll(r.machine, lead(1), raise(1, 2), open(1, 1, 2), commands(1, 1, 3, "a"), raise(4, 3), commands(1, 1, 5, "b"), raise(6, 2), commands(1, 1, 7, "c"))
	require.Equal(t, []code{codeOK, codeNotOpen, codeOK, codeOK, codeOK, codeOK, codeOK, codeOK}, got)
	var versions []uint32
	for _, l := range r.state.(*ledger).lines {
		versions = append(versions, l.version)
	}
	require.Equal(t, []uint32{1, 3, 3}, versions)
	require.Panics(t, func() { applyAll(r.machine, raise(8, 4)) }, "a program that does not know the version must not go on")
}

func TestLoadThenOpenTellsTheMachineThatItLivesAgain(t *testing.T) {
	old := newTestMachine()
	applyAll(old.machine, lead(1), open(1, 1, 1), commands(1, 1, 2, "a", "b"))
	var state bytes.Buffer
	_, err := old.state.Snapshot().WriteTo(&state)
	require.NoError(t, err)
	sum := crc32.Checksum(state.Bytes(), castagnoli())
	var serial uint64
	load := func(offset int, last bool, data []byte, crc uint32) []byte {
		serial++
		return (&entry{kind: kindLoad, term: 1, lead: 1, serial: serial, load: loadChunk{offset: uint64(offset), last: last, crc: crc, data: data}}).encode()
	}
	b := state.Bytes()
	r := newTestMachine()
	got := applyAll(r.machine, lead(1),
		load(0, false, b[:3], 0), load(7, false, b[3:], 0), // a gap
		load(0, true, b[:5], sum), // cut: the checksum says so
		load(0, true, []byte("xx"), crc32.Checksum([]byte("xx"), castagnoli())), // no snapshot
		load(0, false, b[:3], 0), load(3, true, b[3:], sum),
		(&entry{kind: kindOpen, term: 1, lead: 1, serial: 7, version: 1, generation: 42}).encode(),
		(&entry{kind: kindLoad, term: 1, lead: 1, serial: 8, load: loadChunk{last: true, crc: sum, data: b}}).encode())
	require.Equal(t, []code{codeOK, codeOK, codeRefused, codeRefused, codeRefused, codeOK, codeOK, codeOK, codeRefused}, got)
	require.Equal(t, []string{"a", "b"}, r.texts())
	require.Equal(t, uint64(42), r.state.(*ledger).recovered)
}

// A snapshot at any point of the log, restored elsewhere, goes on as if nothing had
// been: the same results, the same bytes.
func TestSnapshotAtAnyPointChangesNothing(t *testing.T) {
	log := [][]byte{
		lead(1), commands(1, 1, 1, "early"),
		(&entry{kind: kindLoad, term: 1, lead: 1, serial: 2, load: loadChunk{data: []byte("begun and left")}}).encode(),
		open(1, 1, 3), stamped(1, 1, 4, 100, "a", "b"), []byte("garbage"), lead(2),
		session(1, 1, 1000, "late"), stamped(2, 7, 5, 2000, "refused"), lead(2), stamped(2, 10, 6, 3000, "c"),
		(&entry{kind: kindSeal, term: 2, lead: 10, serial: 7}).encode(), stamped(2, 10, 8, 4000, "d"),
	}
	straight := newTestMachine()
	want := applyAll(straight.machine, log...)
	for i := range log {
		first, second := newTestMachine(), newTestMachine()
		got := applyAll(first.machine, log[:i]...)
		require.NoError(t, second.RecoverFromSnapshot(bytes.NewReader(snapshotBytes(t, first.machine)), nil, nil))
		got = append(got, applyAll(second.machine, log[i:]...)...)
		require.Equal(t, want, got, "snapshot after %d entries", i)
		require.Equal(t, snapshotBytes(t, straight.machine), snapshotBytes(t, second.machine), "snapshot after %d entries", i)
		require.Equal(t, 1, second.restorations)
	}
}

func TestAnEntryIndexNeverGoesBack(t *testing.T) {
	r := newTestMachine()
	applyAll(r.machine, lead(1))
	require.Panics(t, func() { _, _ = r.Update([]sm.Entry{{Index: 1, Cmd: lead(2)}}) })
}

func TestReadsAfterCloseAreRefused(t *testing.T) {
	r := newTestMachine()
	applyAll(r.machine, lead(1), open(1, 1, 1))
	require.NoError(t, r.Close())
	_, err := r.Lookup([]byte("count"))
	require.ErrorIs(t, err, errClosed)
	_, err = r.view(false)
	require.ErrorIs(t, err, errClosed)
	_, err = r.Lookup(7)
	require.ErrorIs(t, err, statemachines.ErrInvalidQuery)
}
