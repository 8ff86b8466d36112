package smtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drumline/drumline/statemachines"
	"github.com/drumline/drumline/statemachines/snapshot"
)

// bug is a mistake planted into an otherwise right Machine.
type bug string

const (
	none              bug = ""
	mapOrder          bug = "snapshot in map order"
	mapOrderResult    bug = "result depends on map order"
	keepsCommand      bug = "command kept"
	keepsAnswer       bug = "answer of a query shares state"
	writesInput       bug = "writes into the command"
	sharesResult      bug = "result shares bytes with the command"
	unfrozen          bug = "view shares the live map"
	lostField         bug = "a field is not in the snapshot"
	restoreAdds       bug = "restore keeps what was there"
	batchDependent    bug = "state depends on batches"
	missingResult     bug = "a result is not written"
	globalState       bug = "package-level state"
	queryWrites       bug = "a query changes the state"
	panicsOnGarbage   bug = "panics on short input"
	panicsOnQuery     bug = "panics on a short query"
	plainQueryError   bug = "query error of no kind"
	noChecksum        bug = "snapshot without checksum"
	acceptsTruncated  bug = "restore takes a short stream for a whole one"
	swallowsReadError bug = "restore swallows the stream's error"
	shortCount        bug = "WriteTo counts wrong"
	swallowsWrite     bug = "WriteTo swallows the stream's error"
	lostGeneration    bug = "the generation is not in the snapshot"
	badName           bug = "the app's name is no name"
	rejectsGarbage    bug = "garbage reaches a state that restore refuses"
	racyQuery         bug = "a query writes a shared field" // only the race detector sees it
)

// tally counts bytes by first letter: command and query are a letter and more.
type tally struct {
	bug        bug
	counts     map[byte]uint64
	kept       []byte
	total      uint64
	generation uint64
	reads      int
}

// global is what no Machine may have.
var global uint64

func planted(b bug) Suite {
	name := "tally"
	if b == badName {
		name = "Tally Of Letters"
	}
	return Suite{
		App: statemachines.App{Name: name, Version: 1, New: func(statemachines.Group) statemachines.Machine {
			return &tally{bug: b, counts: map[byte]uint64{}}
		}},
		Command: func(r *rand.Rand) []byte { return []byte{byte('a' + r.IntN(8)), byte('0' + r.IntN(10))} },
		Query:   func(r *rand.Rand) []byte { return []byte{byte('a' + r.IntN(8))} },
	}.withDefaults()
}

func (m *tally) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for i, c := range batch {
		if len(c.Data) < 2 && m.bug != panicsOnGarbage {
			results[i] = statemachines.Result{Data: []byte("short")}
			continue
		}
		results[i] = m.one(c.Data, results[i])
		if m.bug == batchDependent && i > 2 {
			m.total++
		}
	}
}

func (m *tally) one(data []byte, before statemachines.Result) statemachines.Result {
	m.counts[data[0]] += uint64(data[1])
	m.total++
	global++
	m.kept = bytes.Clone(data)
	result := statemachines.Result{Value: m.counts[data[0]], Data: bytes.Clone(data)}
	switch m.bug {
	case keepsCommand:
		m.kept = data
	case writesInput:
		data[0] = '!'
	case sharesResult:
		result.Data = data
	case globalState:
		m.total = global
	case missingResult:
		if data[1] == '7' {
			return before
		}
	case mapOrderResult:
		for k := range m.counts {
			result.Value = uint64(k)
			break
		}
	}
	return result
}

func (m *tally) Query(q []byte) ([]byte, error) {
	if m.bug == queryWrites {
		m.total++
	}
	if m.bug == racyQuery {
		m.reads++
	}
	if len(q) != 1 && m.bug != panicsOnQuery {
		if m.bug == plainQueryError {
			return nil, errors.New("one letter, please")
		}
		return nil, fmt.Errorf("%w: one letter, please", statemachines.ErrInvalidQuery)
	}
	if m.bug == keepsAnswer {
		return m.kept, nil
	}
	return fmt.Appendf(nil, "%d %d %s", m.counts[q[0]], m.total, m.kept), nil
}

func (m *tally) Snapshot() statemachines.View {
	frozen := *m
	if m.bug != unfrozen {
		frozen.counts = maps.Clone(m.counts)
	}
	return &tallyView{frozen}
}

func (m *tally) Recovered(generation uint64) { m.generation = generation; m.total += generation }

type tallyView struct{ m tally }

func (v *tallyView) Close() {}

func (v *tallyView) WriteTo(w io.Writer) (int64, error) {
	m := &v.m
	keys := slices.Sorted(maps.Keys(m.counts))
	if m.bug == mapOrder {
		keys = slices.Collect(maps.Keys(m.counts))
	}
	var plain bytes.Buffer
	s := snapshot.NewWriter(&plain, "tally", 1)
	s.Uvarint(uint64(len(keys)))
	for _, k := range keys {
		s.Uvarint(uint64(k))
		s.Uvarint(m.counts[k])
	}
	s.Bytes(m.kept)
	if m.bug != lostField {
		s.Uvarint(m.total)
	}
	if m.bug != lostGeneration {
		s.Uvarint(m.generation)
	}
	if _, err := s.Close(); err != nil {
		return 0, err
	}
	if m.bug == noChecksum || m.bug == acceptsTruncated {
		plain.Truncate(plain.Len() - 4)
	}
	n, err := w.Write(plain.Bytes())
	switch m.bug {
	case shortCount:
		n--
	case swallowsWrite:
		err = nil
	}
	return int64(n), err
}

func (m *tally) Restore(r io.Reader) error {
	all, err := io.ReadAll(r)
	if err != nil && m.bug != swallowsReadError {
		return err
	}
	fresh := &tally{bug: m.bug, counts: map[byte]uint64{}, total: m.total}
	if m.bug == restoreAdds {
		fresh.counts = m.counts
	}
	if err := fresh.read(all); err != nil {
		if m.bug == acceptsTruncated {
			err = nil
		}
		return err
	}
	if m.bug == rejectsGarbage && fresh.counts['A'] > 0 {
		return errors.New("there is no such letter")
	}
	*m = *fresh
	return nil
}

func (m *tally) read(all []byte) error {
	s, err := snapshot.NewReader(bytes.NewReader(all), "tally", 1)
	if err != nil {
		return err
	}
	for n := s.Uvarint(); n > 0 && s.Err() == nil; n-- {
		k := byte(s.Uvarint())
		m.counts[k] = s.Uvarint()
	}
	m.kept = s.Bytes(1 << 16)
	if m.bug != lostField {
		m.total = s.Uvarint()
	}
	if m.bug != lostGeneration {
		m.generation = s.Uvarint()
	}
	if m.bug == noChecksum {
		return s.Err()
	}
	return s.Close()
}

// A right Machine passes; Run says so too.
func TestTheSuiteAcceptsARightMachine(t *testing.T) { Run(t, planted(none)) }

// Each mistake is caught, by the check that names it.
func TestTheSuiteBites(t *testing.T) {
	caught := map[bug]string{
		mapOrder:          "same log same state",
		mapOrderResult:    "same log same state",
		batchDependent:    "same log same state",
		missingResult:     "same log same state",
		globalState:       "same log same state",
		queryWrites:       "reads change nothing",
		keepsAnswer:       "reads change nothing",
		lostField:         "restore at any point",
		restoreAdds:       "restore at any point",
		panicsOnGarbage:   "garbage",
		panicsOnQuery:     "garbage",
		plainQueryError:   "garbage",
		rejectsGarbage:    "garbage",
		keepsCommand:      "input is not kept",
		writesInput:       "input is not kept",
		sharesResult:      "input is not kept",
		unfrozen:          "view is frozen",
		noChecksum:        "broken snapshots",
		acceptsTruncated:  "broken snapshots",
		swallowsReadError: "slow and failing streams",
		swallowsWrite:     "slow and failing streams",
		shortCount:        "view is frozen",
		badName:           "registers",
	}
	for b, name := range caught {
		t.Run(string(b), func(t *testing.T) {
			i := slices.IndexFunc(checks(), func(c check) bool { return c.name == name })
			require.GreaterOrEqual(t, i, 0)
			err := checks()[i].all(planted(b))
			require.Error(t, err)
			t.Log(err)
		})
	}
}

// A Machine whose generation changes what it does must restore it; this one only
// stores it, so the suite sees nothing wrong as long as nothing depends on it.
func TestALostGenerationIsSeenWhenItMatters(t *testing.T) {
	s := planted(none)
	s.App.New = func(statemachines.Group) statemachines.Machine {
		return &forgetful{tally{counts: map[byte]uint64{}}}
	}
	require.ErrorContains(t, recovered(s, 1), "recovered, then restored")
}

// forgetful answers by its generation and does not write it.
type forgetful struct{ tally }

func (f *forgetful) Apply(batch []statemachines.Command, results []statemachines.Result) {
	f.tally.Apply(batch, results)
	for i := range results {
		results[i].Value += f.generation
	}
}

func (f *forgetful) Snapshot() statemachines.View {
	frozen := f.tally
	frozen.bug, frozen.counts = lostGeneration, maps.Clone(f.counts)
	return &tallyView{frozen}
}

func (f *forgetful) Restore(r io.Reader) error {
	f.bug = lostGeneration
	err := f.tally.Restore(r)
	f.bug = none
	return err
}

// The race detector ends the process that it finds a race in, so the racy
// Machines run in a process of their own.
func TestTheRaceDetectorBites(t *testing.T) {
	if !raceEnabled {
		t.Skip("needs -race")
	}
	if b := os.Getenv("SMTEST_RACY"); b != "" {
		for _, c := range checks() {
			if c.name == "concurrent" {
				t.Log(c.all(planted(bug(b))))
			}
		}
		return
	}
	const right bug = "no bug at all"
	for _, b := range []bug{racyQuery, unfrozen, right} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestTheRaceDetectorBites$")
		cmd.Env = append(os.Environ(), "SMTEST_RACY="+string(b))
		out, err := cmd.CombinedOutput()
		if b == right {
			require.NoError(t, err, string(out))
			continue
		}
		require.Error(t, err, string(b))
		require.Contains(t, string(out), "DATA RACE", string(b))
	}
}

// A field that a new program forgets to read from an old snapshot is seen through
// the log beside it.
func TestGoldenPairs(t *testing.T) {
	s := planted(none)
	s.Golden = t.TempDir()
	pair := filepath.Join(s.Golden, "v1")
	require.NoError(t, s.writePair(pair))
	require.ErrorContains(t, s.writePair(pair), "never changed")
	require.NoError(t, s.checkPair(pair))

	log, err := readLog(pair + ".log")
	require.NoError(t, err)
	require.Equal(t, s.log(1), log)

	other := planted(none)
	other.App.New = func(statemachines.Group) statemachines.Machine {
		return &forgets{tally{counts: map[byte]uint64{}}}
	}
	require.ErrorContains(t, other.checkPair(pair), "the snapshot and its log")

	require.NoError(t, os.WriteFile(pair+".log", []byte("1 2 3 four\n"), 0o600))
	require.ErrorContains(t, s.checkPair(pair), "want index, time, version")
}

// forgets reads a snapshot and drops a field.
type forgets struct{ tally }

func (f *forgets) Restore(r io.Reader) error {
	err := f.tally.Restore(r)
	f.total = 0
	return err
}
