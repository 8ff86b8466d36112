// Package tally is the cheapest state machine there is, for measuring all around it.
package tally

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/drumline/drumline/statemachines"
)

// Payload is the size of a command in bytes.
const Payload = 16

// Machine is the cheapest machine there is, so that the rest is what is measured: it
// counts its commands. The raw yardstick has the same.
type Machine struct{ n uint64 }

// App is it as an app.
func App() statemachines.App {
	return statemachines.App{Name: "tally", Version: 1, New: func(statemachines.Group) statemachines.Machine { return &Machine{} }}
}

// Apply counts.
func (m *Machine) Apply(batch []statemachines.Command, results []statemachines.Result) {
	for i := range batch {
		m.n++
		results[i].Value = m.n
	}
}

// Query returns the count.
func (m *Machine) Query([]byte) ([]byte, error) { return binary.BigEndian.AppendUint64(nil, m.n), nil }

// Snapshot is the count.
func (m *Machine) Snapshot() statemachines.View { return count(m.n) }

// Restore reads the count.
func (m *Machine) Restore(r io.Reader) error {
	if err := binary.Read(r, binary.BigEndian, &m.n); err != nil {
		return fmt.Errorf("restore the count: %w", err)
	}
	return nil
}

// Recovered changes nothing: a count has no life of its own.
func (*Machine) Recovered(uint64) {}

type count uint64

// WriteTo writes the count.
func (c count) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(c)))
	return int64(n), err
}

// Close has nothing to free.
func (count) Close() {}
