package fleet

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/drumline/drumline/drummer/fleet/drummers"
	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

// Stages of a snapshot: its records come in this order.
const (
	stageHeader = iota + 1
	stageHosts
	stageGroups
	stageConfigurations
	stageOperations
	stageEvents
)

// loader rebuilds a state from records and checks all that the code relies on.
type loader struct {
	s       *state
	stage   int
	replica map[uint64]bool
}

func (l *loader) add(r *fleetpb.SnapshotRecord) error {
	if len(r.ProtoReflect().GetUnknown()) > 0 {
		return errors.New("a record of a kind that this program does not know")
	}
	switch item := r.GetItem().(type) {
	case *fleetpb.SnapshotRecord_Header:
		return l.header(item.Header)
	case *fleetpb.SnapshotRecord_Host:
		return l.host(item.Host)
	case *fleetpb.SnapshotRecord_Group:
		return l.group(item.Group)
	case *fleetpb.SnapshotRecord_Configuration:
		return l.configuration(item.Configuration)
	case *fleetpb.SnapshotRecord_Operation:
		return l.operation(item.Operation)
	case *fleetpb.SnapshotRecord_Event:
		return l.event(item.Event)
	default:
		return errors.New("an empty record")
	}
}

// enter moves on to a stage, never back; the header comes first and once.
func (l *loader) enter(stage int) error {
	if l.stage == 0 && stage != stageHeader || stage < l.stage || stage == stageHeader && l.stage != 0 {
		return fmt.Errorf("records out of order: stage %d after %d", stage, l.stage)
	}
	l.stage = stage
	return nil
}

func (l *loader) header(h *fleetpb.SnapshotHeader) error {
	if err := l.enter(stageHeader); err != nil {
		return err
	}
	if h.GetIncarnation() == 0 || h.GetIncarnation() > maxIncarnation || h.GetNextGroup() < uint64(ids.FirstGroup) ||
		h.GetNextReplica() == 0 || h.GetNextOperation() == 0 || h.GetNextEvent() == 0 {
		return errors.New("a header whose counters have not begun")
	}
	if err := rules.CheckPolicy(rules.FillPolicy(h.GetPolicy())); err != nil {
		return err
	}
	l.replica = map[uint64]bool{}
	if err := rules.CheckPaused(h.GetPaused()); err != nil {
		return err
	}
	l.s.incarnation, l.s.revision, l.s.policy = h.GetIncarnation(), h.GetRevision(), rules.FillPolicy(h.GetPolicy())
	l.s.paused = h.GetPaused()
	l.s.drummers = drummers.List{All: h.GetDrummers(), Next: h.GetNextDrummer()}
	if err := l.s.drummers.Check(); err != nil {
		return err
	}
	if h.GetBrake() != nil {
		l.s.brake = h.GetBrake()
	}
	l.s.nextGroup, l.s.nextReplica = h.GetNextGroup(), h.GetNextReplica()
	l.s.nextOperation, l.s.nextEvent = h.GetNextOperation(), h.GetNextEvent()
	return nil
}

func (l *loader) host(h *fleetpb.Host) error {
	if err := l.enter(stageHosts); err != nil {
		return err
	}
	bare := clone(h)
	bare.Lost, bare.Removed, bare.Wanted = false, false, nil
	if err := rules.CheckWanted(h.GetWanted()); err != nil {
		return fmt.Errorf("host %s: %w", rules.Quote(h.GetId()), err)
	}
	if err := rules.CheckHost(bare); err != nil {
		return fmt.Errorf("host %s: %w", rules.Quote(h.GetId()), err)
	}
	if last, ok := l.s.hosts.Max(); ok && last.GetId() >= h.GetId() {
		return errors.New("hosts out of order")
	}
	l.s.hosts.ReplaceOrInsert(h)
	return nil
}

func (l *loader) group(g *fleetpb.Group) error {
	if err := l.enter(stageGroups); err != nil {
		return err
	}
	if last, ok := l.s.groups.Max(); ok && last.GetId() >= g.GetId() {
		return errors.New("groups out of order")
	}
	if err := l.checkGroup(g); err != nil {
		return fmt.Errorf("group %d: %w", g.GetId(), err)
	}
	if !words.Nameless(g) {
		if !l.s.take(g) {
			return fmt.Errorf("group %d: its name is taken", g.GetId())
		}
	}
	l.s.groups.ReplaceOrInsert(g)
	return nil
}

func (l *loader) checkGroup(g *fleetpb.Group) error {
	_, known := fleetpb.GroupState_name[int32(g.GetState())]
	switch {
	case g.GetId() < uint64(ids.FirstGroup) || g.GetId() >= l.s.nextGroup:
		return errors.New("a number that was not given")
	case !known || g.GetState() == fleetpb.GroupState_GROUP_STATE_UNSPECIFIED:
		return fmt.Errorf("state %d", g.GetState())
	case len(g.GetReplicas()) > rules.MaxMembers:
		return fmt.Errorf("%d replicas", len(g.GetReplicas()))
	case g.GetOperation() >= l.s.nextOperation:
		return fmt.Errorf("operation %d, which was not begun", g.GetOperation())
	}
	if err := rules.CheckSpec(g.GetSpec()); err != nil {
		return err
	}
	last := uint64(0)
	for _, r := range g.GetReplicas() {
		_, known := fleetpb.ReplicaPhase_name[int32(r.GetPhase())]
		switch {
		case r.GetId() <= last || r.GetId() >= l.s.nextReplica || l.replica[r.GetId()]:
			return fmt.Errorf("replica %d: out of order, used twice or not given", r.GetId())
		case l.s.host(r.GetHostId()) == nil:
			return fmt.Errorf("replica %d: no host has the id %s", r.GetId(), rules.Quote(r.GetHostId()))
		case !known || r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_UNSPECIFIED:
			return fmt.Errorf("replica %d: phase %d", r.GetId(), r.GetPhase())
		}
		last = r.GetId()
		l.replica[last] = true
	}
	return nil
}

func (l *loader) configuration(c *fleetpb.Configuration) error {
	if err := l.enter(stageConfigurations); err != nil {
		return err
	}
	if err := rules.CheckConfiguration(c); err != nil {
		return fmt.Errorf("configuration of app %s: %w", rules.Quote(c.GetApp()), err)
	}
	last, ok := l.s.configurations.Max()
	if ok && cmp.Or(cmp.Compare(last.GetApp(), c.GetApp()), cmp.Compare(last.GetRevision(), c.GetRevision())) >= 0 || c.GetRevision() == 0 {
		return errors.New("configurations out of order")
	}
	l.s.configurations.ReplaceOrInsert(c)
	return nil
}

func (l *loader) operation(o *fleetpb.Operation) error {
	if err := l.enter(stageOperations); err != nil {
		return err
	}
	if last, ok := l.s.operations.Max(); ok && last.GetId() >= o.GetId() {
		return errors.New("operations out of order")
	}
	if o.GetId() == 0 || o.GetId() >= l.s.nextOperation {
		return fmt.Errorf("operation %d was not begun", o.GetId())
	}
	l.s.operations.ReplaceOrInsert(o)
	if o.GetEndedUnixMs() != 0 {
		l.s.ended.ReplaceOrInsert(o.GetId())
	}
	return nil
}

func (l *loader) event(e *fleetpb.Event) error {
	if err := l.enter(stageEvents); err != nil {
		return err
	}
	last, ok := l.s.events.Max()
	if ok && last.GetSequence()+1 != e.GetSequence() || e.GetSequence() == 0 || e.GetSequence() >= l.s.nextEvent {
		return fmt.Errorf("event %d is out of order", e.GetSequence())
	}
	l.s.events.ReplaceOrInsert(e)
	return nil
}
