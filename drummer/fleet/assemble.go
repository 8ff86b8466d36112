package fleet

import (
	"bytes"
	"fmt"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// Parts are what a record is made of, each kind in ascending order.
type Parts struct {
	Header         *fleetpb.SnapshotHeader
	Hosts          []*fleetpb.Host
	Groups         []*fleetpb.Group
	Configurations []*fleetpb.Configuration
	Operations     []*fleetpb.Operation
	Events         []*fleetpb.Event
}

// Assemble makes a record of its parts, after the same checks as of a snapshot.
func Assemble(p Parts) (*Machine, error) {
	s := newState()
	h := p.Header
	s.incarnation, s.revision, s.policy = h.GetIncarnation(), h.GetRevision(), h.GetPolicy()
	s.nextGroup, s.nextReplica = h.GetNextGroup(), h.GetNextReplica()
	s.nextOperation, s.nextEvent = h.GetNextOperation(), h.GetNextEvent()
	for _, x := range p.Hosts {
		s.hosts.ReplaceOrInsert(x)
	}
	for _, x := range p.Groups {
		s.groups.ReplaceOrInsert(x)
	}
	for _, x := range p.Configurations {
		s.configurations.ReplaceOrInsert(x)
	}
	for _, x := range p.Operations {
		s.operations.ReplaceOrInsert(x)
	}
	for _, x := range p.Events {
		s.events.ReplaceOrInsert(x)
	}
	var b bytes.Buffer
	if _, err := (snapshot{&View{s: s}}).WriteTo(&b); err != nil {
		return nil, fmt.Errorf("assemble a record: %w", err)
	}
	m := New()
	if err := m.Restore(&b); err != nil {
		return nil, fmt.Errorf("assemble a record: %w", err)
	}
	return m, nil
}

// Header of the record as a snapshot has it.
func (v *View) Header() *fleetpb.SnapshotHeader { return clone(v.s.header()) }
