package machine

import (
	"github.com/drumline/drumline/statemachines"
)

// Facts describe a state beside its bytes.
type Facts struct {
	// Applied is the index of the last entry that is in it, Commands how many commands the
	// Machine was given.
	Applied, Commands uint64
	// Opened and Sealed tell what the group's log has done to it.
	Opened, Sealed bool
	// Version is the behaviour version in force, Generation what Open gave.
	Version    uint32
	Generation uint64
}

func (l *life) facts() Facts {
	return Facts{Applied: l.applied, Commands: l.commands, Opened: l.opened, Sealed: l.sealed, Version: l.version, Generation: l.generation}
}

// Facts of the state that this replica has now; false once it is gone.
func (m *Adapter) Facts() (Facts, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.life.facts(), m.state != nil
}

// Freeze is the state that this replica has now. The View is the caller's to close. It
// keeps everybody out for as long as Snapshot takes: a Machine takes one at a time.
func (m *Adapter) Freeze() (Facts, statemachines.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == nil {
		return Facts{}, nil, ErrClosed
	}
	return m.life.facts(), m.state.Snapshot(), nil
}

// Keep makes the state outlive the replica: Freeze works after Close, until Drop.
func (m *Adapter) Keep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = true
}

// Drop ends what Keep began.
func (m *Adapter) Drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept = false; m.closed {
		m.state = nil
	}
}
