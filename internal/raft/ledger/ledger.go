// Package ledger is the Machine of this room's tests: it keeps every command with
// its index, time and version, so that a test can see what was applied, how often,
// in which order and when. No program registers it.
package ledger

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"slices"

	"github.com/drumline/drumline/statemachines"
)

// Ledger is the state.
type Ledger struct {
	// Lines are the commands applied, oldest first.
	Lines []Line
	// Generation is what Recovered told.
	Generation uint64
}

// Line is one applied command.
type Line struct {
	Index   uint64
	Time    int64
	Version uint32
	Text    string
}

var (
	_ statemachines.Machine = (*Ledger)(nil)
	_ statemachines.Viewer  = (*Ledger)(nil)
)

// Own begins the commands that only hosts propose.
const Own = "own "

// App is the app "ledger" that knows behaviour versions up to version.
func App(version uint32) statemachines.App {
	return statemachines.App{
		Name: "ledger", Version: version,
		New:  func(statemachines.Group) statemachines.Machine { return new(Ledger) },
		Owns: func(cmd []byte) bool { return bytes.HasPrefix(cmd, []byte(Own)) },
	}
}

// Apply appends each command and answers "did" and its text.
func (l *Ledger) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for i, c := range batch {
		l.Lines = append(l.Lines, Line{c.Index, c.Time, c.Version, string(c.Data)})
		results[i] = statemachines.Result{Value: uint64(len(l.Lines)), Data: []byte("did " + string(c.Data))}
	}
}

// Query answers "count", "time" (of the last line), "recovered", or how often any
// other text was applied.
func (l *Ledger) Query(q []byte) ([]byte, error) {
	switch text := string(q); text {
	case "count":
		return fmt.Append(nil, len(l.Lines)), nil
	case "time":
		if len(l.Lines) == 0 {
			return []byte("0"), nil
		}
		return fmt.Append(nil, l.Lines[len(l.Lines)-1].Time), nil
	case "recovered":
		return fmt.Append(nil, l.Generation), nil
	case "":
		return nil, fmt.Errorf("%w: empty", statemachines.ErrInvalidQuery)
	default:
		n := 0
		for i := range l.Lines {
			if l.Lines[i].Text == text {
				n++
			}
		}
		return fmt.Append(nil, n), nil
	}
}

// View returns a copy of the lines, a []Line.
func (l *Ledger) View() any { return slices.Clone(l.Lines) }

// Texts lists the commands' texts.
func (l *Ledger) Texts() []string {
	var out []string
	for i := range l.Lines {
		out = append(out, l.Lines[i].Text)
	}
	return out
}

// Snapshot copies the state.
func (l *Ledger) Snapshot() statemachines.View {
	return &view{Ledger{Lines: slices.Clone(l.Lines), Generation: l.Generation}}
}

type view struct{ state Ledger }

// WriteTo writes the state.
func (v *view) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	err := gob.NewEncoder(c).Encode(&v.state)
	return c.n, err
}

// Close has nothing to free.
func (*view) Close() {}

type counter struct {
	w io.Writer
	n int64
}

// Write counts what it passes on.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Restore reads what a View wrote.
func (l *Ledger) Restore(r io.Reader) error {
	*l = Ledger{}
	return gob.NewDecoder(r).Decode(l)
}

// Recovered notes the generation.
func (l *Ledger) Recovered(generation uint64) { l.Generation = generation }
