// Package fleet is the drummers' replicated record: which groups, replicas and
// hosts there are, what is wanted of them, and what has happened to them. It is a
// statemachines.Machine, pure and deterministic; the drummers' own Raft group
// holds it.
//
// The record holds facts that change rarely. Whether a host lives is no part of
// it: heartbeats stay in the memory of the leader's loop. Every change is a
// fleetpb.Command; every command is checked before it changes anything, and what
// is wrong with it is a Result, equal on every replica. Nothing that a client or a
// host can send makes the record panic or leaves it half changed.
//
// Numbers of groups and replicas are given here, ascend, and are never given
// twice. A restored record is a higher incarnation, and its numbers begin above
// all that an earlier incarnation can have given.
//
// Stored messages are never changed in place: a change stores a clone. So a View,
// which shares the trees copy-on-write, stays as it was taken, for ever.
package fleet

import (
	"fmt"
	"io"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet/versions"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// AppName is the record's app; AppVersion its newest behaviour version. The drummer that leads
// raises the record's to it once all drummers know it, so that no two of them ever apply a
// command differently; an older program that meets it afterwards ends and says so.
const (
	AppName    = "fleet"
	AppVersion = versions.Newest
)

// Machine is the record. New makes one.
type Machine struct {
	s *state

	// mu guards frozen: Query, Snapshot and View may run beside each other, and
	// the trees must not be cloned by two at once.
	mu     sync.Mutex
	frozen *View
}

var (
	_ statemachines.Machine = (*Machine)(nil)
	_ statemachines.Viewer  = (*Machine)(nil)
)

// App is the record as an app of the drummers' registry.
func App() statemachines.App {
	return statemachines.App{
		Name:    AppName,
		Version: AppVersion,
		New:     func(statemachines.Group) statemachines.Machine { return New() },
	}
}

// New makes an empty record: incarnation 1, default policy.
func New() *Machine { return &Machine{s: newState()} }

// Apply executes commands; each result's Data is a fleetpb.Result.
func (m *Machine) Apply(batch []statemachines.Command, results []statemachines.Result) {
	before := m.s.revision
	for i := range batch {
		r := m.apply(batch[i].Version, batch[i].Data)
		results[i] = statemachines.Result{Value: uint64(r.GetCode()), Data: marshal(r)}
	}
	if m.s.revision != before {
		m.thaw()
	}
}

// apply decodes and executes one command. Unknown fields are dropped, so that what
// a newer program says is never stored unseen by an older one; and so is what programs of the
// version in force do not know.
func (m *Machine) apply(version uint32, data []byte) *fleetpb.Result {
	var c fleetpb.Command
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, &c); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "the command is no fleet command")
	}
	versions.Trim(version, &c)
	t := &turn{state: m.s, at: c.GetAtUnixMs(), version: version}
	return t.execute(&c)
}

// Fork makes a record of its own that begins as the view is: what happens to it concerns
// nobody else.
func Fork(v *View) *Machine {
	v.forking.Lock()
	defer v.forking.Unlock()
	return &Machine{s: v.s.clone()}
}

// Execute is Apply for one command that need not be encoded; for forks, which no log keeps.
func (m *Machine) Execute(c *fleetpb.Command) *fleetpb.Result {
	defer m.thaw()
	return (&turn{state: m.s, at: c.GetAtUnixMs(), version: AppVersion}).execute(c)
}

// Query answers nothing but the empty query: the record is read through View.
func (m *Machine) Query(query []byte) ([]byte, error) {
	if len(query) > 0 {
		return nil, fmt.Errorf("%w: the fleet record has no queries; ask the drummers' API", statemachines.ErrInvalidQuery)
	}
	return nil, nil
}

// View returns the record as it is now, a *fleet.View.
func (m *Machine) View() any { return m.Freeze() }

// Freeze is View with its type.
func (m *Machine) Freeze() *View {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frozen == nil {
		m.frozen = &View{s: m.s.clone()}
	}
	return m.frozen
}

// thaw forgets the frozen view after a change.
func (m *Machine) thaw() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = nil
}

// Snapshot freezes the record in O(1).
func (m *Machine) Snapshot() statemachines.View { return snapshot{m.Freeze()} }

// Restore replaces the record by what a snapshot wrote.
func (m *Machine) Restore(r io.Reader) error {
	s, err := readSnapshot(r)
	if err != nil {
		return fmt.Errorf("restore fleet record: %w", err)
	}
	m.s = s
	m.thaw()
	return nil
}

// Recovered makes the record a higher incarnation, whose numbers begin above all
// that were given before.
func (m *Machine) Recovered(generation uint64) {
	m.s.recover(generation)
	m.thaw()
}
