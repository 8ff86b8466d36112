package raft

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/drumline/drumline/statemachines"
)

// ledger is the tests' Machine: it keeps every command with its time, so that a
// test can see what was applied, how often, in which order and when.
type ledger struct {
	group     statemachines.Group
	lines     []line
	recovered uint64
}

type line struct {
	index   uint64
	time    int64
	version uint32
	text    string
}

var (
	_ statemachines.Machine = (*ledger)(nil)
	_ statemachines.Viewer  = (*ledger)(nil)
)

func ledgerApp(version uint32) statemachines.App {
	return statemachines.App{Name: "ledger", Version: version, New: func(g statemachines.Group) statemachines.Machine {
		return &ledger{group: g}
	}}
}

func (l *ledger) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for i, c := range batch {
		l.lines = append(l.lines, line{c.Index, c.Time, c.Version, string(c.Data)})
		results[i] = statemachines.Result{Value: uint64(len(l.lines)), Data: []byte("did " + string(c.Data))}
	}
}

// Query answers "count", "time" (of the last line), "recovered", or how often a
// text was applied.
func (l *ledger) Query(q []byte) ([]byte, error) {
	switch text := string(q); text {
	case "count":
		return fmt.Append(nil, len(l.lines)), nil
	case "time":
		if len(l.lines) == 0 {
			return []byte("0"), nil
		}
		return fmt.Append(nil, l.lines[len(l.lines)-1].time), nil
	case "recovered":
		return fmt.Append(nil, l.recovered), nil
	case "":
		return nil, fmt.Errorf("%w: empty", statemachines.ErrInvalidQuery)
	default:
		n := 0
		for _, e := range l.lines {
			if e.text == text {
				n++
			}
		}
		return fmt.Append(nil, n), nil
	}
}

func (l *ledger) View() any { return slices.Clone(l.lines) }

func (l *ledger) Snapshot() statemachines.View {
	return &ledgerView{lines: slices.Clone(l.lines), recovered: l.recovered}
}

type ledgerView struct {
	lines     []line
	recovered uint64
}

func (v *ledgerView) WriteTo(w io.Writer) (int64, error) {
	b := binary.AppendUvarint(nil, v.recovered)
	b = binary.AppendUvarint(b, uint64(len(v.lines)))
	for _, e := range v.lines {
		b = binary.AppendUvarint(b, e.index)
		b = binary.AppendUvarint(b, uint64(e.time))
		b = binary.AppendUvarint(b, uint64(e.version))
		b = binary.AppendUvarint(b, uint64(len(e.text)))
		b = append(b, e.text...)
	}
	n, err := w.Write(b)
	return int64(n), err
}

func (*ledgerView) Close() {}

func (l *ledger) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	in := reader{b: b}
	l.recovered = in.uvarint()
	l.lines = nil
	for range in.uvarint() {
		e := line{index: in.uvarint(), time: int64(in.uvarint()), version: uint32(in.uvarint())}
		e.text = strings.Clone(string(in.bytes(in.uvarint())))
		if in.bad {
			break
		}
		l.lines = append(l.lines, e)
	}
	if in.bad || len(in.b) != 0 {
		return fmt.Errorf("ledger snapshot of %d bytes does not decode", len(b))
	}
	return nil
}

func (l *ledger) Recovered(generation uint64) { l.recovered = generation }
