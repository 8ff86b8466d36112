package fleet

import (
	"fmt"
	"io"

	"github.com/drumline/drumline/drummer/fleet/tape"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// snapshot is a View as the adapter wants it. Its records come in the order header, hosts,
// groups, configurations, operations, events, each kind ascending.
type snapshot struct{ v *View }

// WriteTo writes the record; the same record gives the same bytes.
func (s snapshot) WriteTo(w io.Writer) (int64, error) {
	t := tape.NewWriter(w, s.v.s.magic())
	t.Record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Header{Header: s.v.s.header()}})
	s.v.s.hosts.Ascend(func(h *fleetpb.Host) bool {
		return t.Record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Host{Host: h}})
	})
	s.v.s.groups.Ascend(func(g *fleetpb.Group) bool {
		return t.Record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Group{Group: g}})
	})
	s.v.s.configurations.Ascend(func(c *fleetpb.Configuration) bool {
		return t.Record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Configuration{Configuration: c}})
	})
	s.v.s.operations.Ascend(func(o *fleetpb.Operation) bool {
		return t.Record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Operation{Operation: o}})
	})
	s.v.s.events.Ascend(func(v *fleetpb.Event) bool {
		return t.Record(&fleetpb.SnapshotRecord{Item: &fleetpb.SnapshotRecord_Event{Event: v}})
	})
	return t.End()
}

// Close has nothing to free.
func (snapshot) Close() {}

func (s *state) magic() string {
	if s.configurations.Len() == 0 {
		return tape.Magic1
	}
	return tape.Magic2
}

func (s *state) header() *fleetpb.SnapshotHeader {
	return &fleetpb.SnapshotHeader{
		Incarnation:   s.incarnation,
		NextGroup:     s.nextGroup,
		NextReplica:   s.nextReplica,
		NextOperation: s.nextOperation,
		NextEvent:     s.nextEvent,
		Policy:        s.policy,
		Revision:      s.revision,
		Brake:         s.brake,
		Paused:        s.paused,
		Drummers:      s.drummers.All,
		NextDrummer:   s.drummers.Next,
	}
}

// readSnapshot reads and checks a whole snapshot.
func readSnapshot(r io.Reader) (*state, error) {
	t, err := tape.NewReader(r)
	if err != nil {
		return nil, err
	}
	l := &loader{s: newState()}
	for {
		record, err := t.Record()
		if err != nil {
			return nil, err
		}
		if record == nil {
			break
		}
		if err := l.add(record); err != nil {
			return nil, fmt.Errorf("%w: %w", tape.ErrDamaged, err)
		}
	}
	if l.stage == 0 {
		return nil, fmt.Errorf("%w: it has no header", tape.ErrDamaged)
	}
	if want := l.s.magic(); t.Magic != want {
		return nil, fmt.Errorf("%w: it begins with %q, its content with %q", tape.ErrDamaged, t.Magic, want)
	}
	return l.s, t.End()
}
