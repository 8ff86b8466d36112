package smtest

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drumline/drumline/statemachines"
)

// writeGolden is the environment variable that names a pair to write.
const writeGolden = "SMTEST_GOLDEN"

// runGolden writes the pair that was asked for, then checks all there are.
func runGolden(t *testing.T, s Suite) {
	t.Helper()
	if s.Golden == "" {
		t.Skip("the suite names no directory of old snapshots")
	}
	if name := os.Getenv(writeGolden); name != "" {
		if err := s.writePair(filepath.Join(s.Golden, name)); err != nil {
			t.Fatal(err)
		}
	}
	pairs, err := filepath.Glob(filepath.Join(s.Golden, "*.snap"))
	if err != nil {
		t.Fatal(err)
	}
	if len(pairs) == 0 {
		t.Fatalf("no snapshots in %s: write one with %s=NAME", s.Golden, writeGolden)
	}
	for _, p := range pairs {
		name := strings.TrimSuffix(p, ".snap")
		if err := guarded(func() error { return s.checkPair(name) }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// checkPair: the old snapshot holds what the old log gives today.
func (s Suite) checkPair(name string) error {
	log, err := readLog(name + ".log")
	if err != nil {
		return err
	}
	snap, err := os.ReadFile(name + ".snap") //nolint:gosec // the test's own file
	if err != nil {
		return err
	}
	old, err := s.restored(snap)
	if err != nil {
		return err
	}
	today := s.fresh()
	today.apply(log, 7, random(0, 3))
	return wrap("the snapshot and its log", sameState(old, today, s.queries(0)))
}

// writePair never replaces a pair: old programs' files cannot be made again.
func (s Suite) writePair(name string) error {
	if _, err := os.Stat(name + ".snap"); err == nil {
		return fmt.Errorf("%s.snap exists: choose another name, old snapshots are never changed", name)
	}
	log := s.log(1)
	u := s.fresh()
	u.apply(log, 7, random(1, 3))
	snap, err := u.snapshot()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // part of the source tree
		return err
	}
	return errors.Join(
		os.WriteFile(name+".log", []byte(formatLog(log)), 0o644), //nolint:gosec // part of the source tree
		os.WriteFile(name+".snap", snap, 0o644),                  //nolint:gosec // part of the source tree
	)
}

// A log is text, a command a line: index, time, behaviour version, leadership,
// data in hex. Old logs say nothing of leaderships.
func formatLog(log []statemachines.Command) string {
	var out strings.Builder
	for _, c := range log {
		fmt.Fprintf(&out, "%d %d %d %d x%s\n", c.Index, c.Time, c.Version, c.Lead, hex.EncodeToString(c.Data))
	}
	return out.String()
}

func readLog(path string) ([]statemachines.Command, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the test's own file
	if err != nil {
		return nil, err
	}
	var out []statemachines.Command
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		c, err := parseCommand(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s: line %q: %w", path, lines.Text(), err)
		}
		out = append(out, c)
	}
	return out, lines.Err()
}

func parseCommand(line string) (statemachines.Command, error) {
	var c statemachines.Command
	head, data, found := strings.Cut(line, " x")
	if !found {
		return c, errors.New("want index, time, version, leadership and x followed by hex")
	}
	format, into := "%d %d %d %d", []any{&c.Index, &c.Time, &c.Version, &c.Lead}
	if strings.Count(head, " ") == 2 {
		format, into = "%d %d %d", into[:3]
	}
	_, err := fmt.Sscanf(head, format, into...)
	if err == nil {
		c.Data, err = hex.DecodeString(data)
	}
	return c, err
}
