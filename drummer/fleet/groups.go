package fleet

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// createGroups defines each group that can be defined; the others are refused one
// by one.
func (t *turn) createGroups(c *fleetpb.CreateGroups) *fleetpb.Result {
	if n := len(c.GetSpecs()); n == 0 || n > rules.MaxSpecsPerCommand {
		return refuse(fleetpb.Code_CODE_INVALID, "%d specs: want 1 to %d in one command", n, rules.MaxSpecsPerCommand)
	}
	result := done("")
	for _, spec := range c.GetSpecs() {
		item := t.createGroup(spec)
		if item.GetCode() != fleetpb.Code_CODE_OK && result.GetCode() == fleetpb.Code_CODE_OK {
			result.Code, result.Detail = item.GetCode(), fmt.Sprintf("group %s: %s", rules.Quote(statemachines.NameOf(item)), item.GetDetail())
		}
		result.Items = append(result.Items, item)
	}
	return result
}

func (t *turn) createGroup(spec *fleetpb.Spec) *fleetpb.ItemResult {
	item := CheckCreate(&View{s: t.state}, spec)
	if item.GetCode() != fleetpb.Code_CODE_OK || item.GetId() != 0 {
		return item
	}
	g := t.define(spec, nil, "asked for", "")
	item.Id = g.GetId()
	return item
}

// CheckCreate says what create_groups would answer for the spec now, and changes
// nothing; the id is 0 when the group would be new.
func CheckCreate(v *View, spec *fleetpb.Spec) *fleetpb.ItemResult {
	item := &fleetpb.ItemResult{Name: spec.GetName(), Region: spec.GetRegion(), Code: fleetpb.Code_CODE_OK}
	if err := rules.CheckSpec(spec); err != nil {
		item.Code, item.Detail = fleetpb.Code_CODE_INVALID, err.Error()
		return item
	}
	old := v.ByName(statemachines.NameOf(spec))
	switch {
	case old == nil && v.GroupCount() >= rules.MaxGroups:
		item.Code, item.Detail = fleetpb.Code_CODE_INVALID, fmt.Sprintf("the record holds %d groups already", rules.MaxGroups)
	case old == nil:
	case old.GetState() == fleetpb.GroupState_GROUP_STATE_SEALING:
		item.Code, item.Id = fleetpb.Code_CODE_CONFLICT, old.GetId()
		item.Detail = "the group of that name is being deleted; create it again when that is done"
	case !proto.Equal(old.GetSpec(), spec):
		item.Code, item.Id = fleetpb.Code_CODE_EXISTS, old.GetId()
		item.Detail = fmt.Sprintf("the name is taken by group %d, which has another spec", old.GetId())
	default:
		item.Id, item.Detail = old.GetId(), "exists already"
	}
	return item
}

// define gives the name to a new group; the note goes into the event.
func (t *turn) define(spec *fleetpb.Spec, origin *fleetpb.Origin, reason, note string) *fleetpb.Group {
	g := withOrigin(&fleetpb.Group{Id: t.nextGroup, Spec: clone(spec), State: fleetpb.GroupState_GROUP_STATE_LAUNCHING}, origin)
	t.nextGroup++
	t.begin(g, words.LaunchKind(origin), reason, "")
	t.put(g)
	t.take(g)
	t.event("group-created", statemachines.NameOf(spec), "", "group %d with %d replicas%s", g.GetId(), spec.GetReplicas(), note)
	return g
}

// deleteGroup begins a deletion. A group that was never ordered to open has
// acknowledged nothing and needs no Seal.
func (t *turn) deleteGroup(c *fleetpb.DeleteGroup) *fleetpb.Result {
	g := t.named(statemachines.NameOf(c))
	if g == nil {
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no group has the name %s", rules.Quote(statemachines.NameOf(c)))
	}
	item := itemOf(g)
	result := &fleetpb.Result{Code: fleetpb.Code_CODE_OK, Items: []*fleetpb.ItemResult{item}}
	sealing := g.GetState() == fleetpb.GroupState_GROUP_STATE_SEALING
	if sealing && !c.GetForce() {
		item.Detail = "is being deleted already"
		return result
	}
	g = clone(g)
	if !sealing {
		t.begin(g, words.KindDelete, deletion(c.GetForce()), "")
	}
	if g.GetState() == fleetpb.GroupState_GROUP_STATE_LAUNCHING {
		t.bury(g)
	} else if c.GetForce() {
		g.Forced = true
		t.bury(g)
	} else {
		g.State = fleetpb.GroupState_GROUP_STATE_SEALING
	}
	t.event("group-deleted", words.Full(g), "", "group %d, %s", g.GetId(), deletion(c.GetForce()))
	t.put(g)
	return result
}

// itemOf answers for a group that there is.
func itemOf(g *fleetpb.Group) *fleetpb.ItemResult {
	return &fleetpb.ItemResult{Name: g.GetSpec().GetName(), Region: g.GetSpec().GetRegion(), Code: fleetpb.Code_CODE_OK, Id: g.GetId()}
}

func deletion(force bool) string {
	if force {
		return "by force, without a seal"
	}
	return "asked for"
}

// bury makes a group a tombstone: its name is free, its replicas' data may go.
func (t *turn) bury(g *fleetpb.Group) {
	g.State = fleetpb.GroupState_GROUP_STATE_PURGING
	for _, r := range g.GetReplicas() {
		r.Phase, r.Voter = fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED, false
	}
	t.free(g)
}

// find finds the group of a step that its planner saw at a generation, or says why
// the step is refused.
func (t *turn) find(id, generation uint64, states ...fleetpb.GroupState) (*fleetpb.Group, *fleetpb.Result) {
	g := t.group(id)
	if g == nil {
		return nil, refuse(fleetpb.Code_CODE_NOT_FOUND, "no group has the number %d", id)
	}
	if g.GetGeneration() != generation {
		return nil, refuse(fleetpb.Code_CODE_CONFLICT, "group %d is at generation %d, not %d", id, g.GetGeneration(), generation)
	}
	for _, s := range states {
		if g.GetState() == s {
			return g, nil
		}
	}
	return nil, refuse(fleetpb.Code_CODE_CONFLICT, "group %d is %s, which forbids it", id, words.StateWord(g.GetState()))
}

// place gives a launching group its first replicas.
func (t *turn) place(c *fleetpb.Place) *fleetpb.Result {
	g, refusal := t.find(c.GetGroup(), c.GetGeneration(), fleetpb.GroupState_GROUP_STATE_LAUNCHING)
	if refusal != nil {
		return refusal
	}
	if len(g.GetReplicas()) > 0 {
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d is placed already", g.GetId())
	}
	if err := rules.CheckPlacement(g, c.GetHostIds(), t.host); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "group %d: %v", g.GetId(), err)
	}
	g = clone(g)
	for _, id := range c.GetHostIds() {
		g.Replicas = append(g.Replicas, &fleetpb.Replica{
			Id:     t.nextReplica,
			HostId: t.host(id).GetId(),
			Phase:  fleetpb.ReplicaPhase_REPLICA_PHASE_PLANNED,
			Voter:  true,
		})
		t.nextReplica++
	}
	t.put(g)
	return done("")
}

// abandon gives up a launch and begins it anew under the next number.
func (t *turn) abandon(c *fleetpb.Abandon) *fleetpb.Result {
	if len(c.GetReason()) > rules.MaxReason {
		return refuse(fleetpb.Code_CODE_INVALID, "the reason has %d bytes, at most %d are kept", len(c.GetReason()), rules.MaxReason)
	}
	g, refusal := t.find(c.GetGroup(), c.GetGeneration(), fleetpb.GroupState_GROUP_STATE_LAUNCHING)
	if refusal != nil {
		return refusal
	}
	if len(g.GetReplicas()) == 0 {
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d has no replicas to give up", g.GetId())
	}
	g = clone(g)
	t.end(g, "superseded: "+c.GetReason())
	t.bury(g)
	t.event("launch-abandoned", words.Full(g), "", "group %d: %s", g.GetId(), c.GetReason())
	t.put(g)
	next := t.define(g.GetSpec(), g.GetOrigin(), c.GetReason(), "")
	return &fleetpb.Result{Code: fleetpb.Code_CODE_OK, Items: []*fleetpb.ItemResult{
		itemOf(next),
	}}
}

// advance moves a group on in its life.
func (t *turn) advance(c *fleetpb.Advance) *fleetpb.Result {
	if g := t.group(c.GetGroup()); g != nil && g.GetState() == c.GetState() {
		return done("it is %s already", words.StateWord(c.GetState()))
	}
	from, ok := map[fleetpb.GroupState]fleetpb.GroupState{
		fleetpb.GroupState_GROUP_STATE_OPENING: fleetpb.GroupState_GROUP_STATE_LAUNCHING,
		fleetpb.GroupState_GROUP_STATE_OPEN:    fleetpb.GroupState_GROUP_STATE_OPENING,
		fleetpb.GroupState_GROUP_STATE_PURGING: fleetpb.GroupState_GROUP_STATE_SEALING,
	}[c.GetState()]
	if !ok {
		return refuse(fleetpb.Code_CODE_INVALID, "no group advances to that state")
	}
	g, refusal := t.find(c.GetGroup(), c.GetGeneration(), from)
	if refusal != nil {
		return refusal
	}
	if from == fleetpb.GroupState_GROUP_STATE_LAUNCHING && !rules.AllStarted(g) {
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d: not all of its replicas have started", g.GetId())
	}
	g = clone(g)
	switch c.GetState() {
	case fleetpb.GroupState_GROUP_STATE_OPEN:
		t.end(g, "done")
		g.State = c.GetState()
		t.event("group-opened", words.Full(g), "", "group %d serves", g.GetId())
	case fleetpb.GroupState_GROUP_STATE_PURGING:
		t.reached(g.GetOperation(), "it is sealed and obeys nothing any more; its %d replicas are removed", len(g.GetReplicas()))
		t.bury(g)
		t.event("group-sealed", words.Full(g), "", "group %d is sealed, its name is free", g.GetId())
	default:
		g.State = c.GetState()
	}
	t.put(g)
	return done("")
}
