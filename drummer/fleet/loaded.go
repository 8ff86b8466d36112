package fleet

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/mutant"
	"github.com/drumline/drumline/statemachines"
)

// MaxMargin is the most numbers that a recovery may have sequences skip.
const MaxMargin = 1 << 62

// loadGroup defines a group with a first state, and bans the one that has its name.
func (t *turn) loadGroup(c *fleetpb.LoadGroup) *fleetpb.Result {
	if len(c.GetReason()) > rules.MaxReason {
		return refuse(fleetpb.Code_CODE_INVALID, "the reason has %d bytes, at most %d are kept", len(c.GetReason()), rules.MaxReason)
	}
	if err := rules.CheckSpec(c.GetSpec()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	old := t.named(statemachines.NameOf(c.GetSpec()))
	switch {
	case old == nil && c.GetReplaces() != 0, old != nil && c.GetReplaces() != 0 && c.GetReplaces() != old.GetId():
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d has not the name %s any more", c.GetReplaces(), rules.Quote(statemachines.NameOf(c.GetSpec())))
	case old != nil && c.GetReplaces() == 0:
		return refuse(fleetpb.Code_CODE_EXISTS, "the name is taken by group %d", old.GetId())
	case t.groups.Len() >= rules.MaxGroups:
		return refuse(fleetpb.Code_CODE_INVALID, "the record holds %d groups already", rules.MaxGroups)
	}
	if refusal := t.checkOrigin(c); refusal != nil {
		return refusal
	}
	if old != nil {
		t.retire(clone(old))
	}
	g := t.define(c.GetSpec(), c.GetOrigin(), c.GetReason(), ", from "+words.OriginText(c.GetOrigin()))
	return &fleetpb.Result{Code: fleetpb.Code_CODE_OK, Items: []*fleetpb.ItemResult{
		itemOf(g),
	}}
}

// checkOrigin says why a state cannot be had from there, or nil.
func (t *turn) checkOrigin(c *fleetpb.LoadGroup) *fleetpb.Result {
	o := c.GetOrigin()
	if o.GetMargin() > MaxMargin {
		return refuse(fleetpb.Code_CODE_INVALID, "a margin of %d: at most 2^62", o.GetMargin())
	}
	if o.GetKind() == fleetpb.OriginKind_ORIGIN_KIND_RESTORE {
		return t.checkStaged(o)
	}
	from := t.group(o.GetGroup())
	switch {
	case from == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no group has the number %d", o.GetGroup())
	case from.GetSpec().GetApp() != c.GetSpec().GetApp():
		return refuse(fleetpb.Code_CODE_INVALID, "group %d is of app %s", from.GetId(), from.GetSpec().GetApp())
	case o.GetKind() == fleetpb.OriginKind_ORIGIN_KIND_RECOVER:
		return t.checkSources(c, from)
	case o.GetKind() != fleetpb.OriginKind_ORIGIN_KIND_CLONE:
		return refuse(fleetpb.Code_CODE_INVALID, "the origin is of no kind that this version of the record knows")
	case from.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN || from.GetId() == c.GetReplaces():
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d cannot be cloned: it is %s, or would be replaced", from.GetId(), words.StateWord(from.GetState()))
	}
	return nil
}

func (t *turn) checkStaged(o *fleetpb.Origin) *fleetpb.Result {
	if err := rules.CheckText("staged state", o.GetStaged()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	if h := t.host(o.GetHostId()); h == nil || h.GetLost() {
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no host has the id %s, or it is lost", rules.Quote(o.GetHostId()))
	}
	return nil
}

// checkSources checks the replicas that a recovery is to choose from. The group is the one
// that is banned now, or was banned before.
func (t *turn) checkSources(c *fleetpb.LoadGroup, from *fleetpb.Group) *fleetpb.Result {
	opened := from.GetState() == fleetpb.GroupState_GROUP_STATE_OPENING || from.GetState() == fleetpb.GroupState_GROUP_STATE_OPEN ||
		from.GetState() == fleetpb.GroupState_GROUP_STATE_SEALING
	if from.GetState() != fleetpb.GroupState_GROUP_STATE_RETIRED && (from.GetId() != c.GetReplaces() || !opened) {
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d cannot be recovered: it is %s", from.GetId(), words.StateWord(from.GetState()))
	}
	if n := len(c.GetOrigin().GetSources()); n == 0 || n > rules.MaxMembers {
		return refuse(fleetpb.Code_CODE_INVALID, "%d sources: want 1 to %d", n, rules.MaxMembers)
	}
	for _, s := range c.GetOrigin().GetSources() {
		r := replica(from, s.GetReplica())
		if r == nil || r.GetHostId() != s.GetHostId() || r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED || t.host(s.GetHostId()).GetLost() {
			return refuse(fleetpb.Code_CODE_CONFLICT, "replica %d of group %d on host %s is no survivor", s.GetReplica(), from.GetId(), rules.Quote(s.GetHostId()))
		}
	}
	return nil
}

// retire bans a group for ever; its replicas are kept. One that was never ordered to open
// has acknowledged nothing and is buried.
func (t *turn) retire(g *fleetpb.Group) {
	g.Heir = t.nextGroup
	t.end(g, fmt.Sprintf("superseded: the name goes to group %d", g.GetHeir()))
	if g.GetState() == fleetpb.GroupState_GROUP_STATE_LAUNCHING {
		t.bury(g)
	} else {
		g.State = fleetpb.GroupState_GROUP_STATE_RETIRED
		t.free(g)
	}
	t.event("group-retired", words.Full(g), "", "group %d is banned for ever; the name goes to group %d", g.GetId(), g.GetHeir())
	t.put(g)
}

// purgeRetired lets the data of a banned group go, once nothing can need it.
func (t *turn) purgeRetired(c *fleetpb.PurgeRetired) *fleetpb.Result {
	g := t.group(c.GetGroup())
	switch {
	case g == nil:
		return done("nothing is left of it")
	case g.GetState() == fleetpb.GroupState_GROUP_STATE_PURGING:
		return done("its data is being removed already")
	case g.GetState() != fleetpb.GroupState_GROUP_STATE_RETIRED:
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d is %s: only the data of retired groups is purged", g.GetId(), words.StateWord(g.GetState()))
	}
	if user := t.userOf(g); user != nil && !mutant.Is("early-purge") {
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d is being loaded from it; purge it when that one serves", user.GetId())
	}
	g = clone(g)
	t.begin(g, words.KindPurge, "asked for", "")
	g.State = fleetpb.GroupState_GROUP_STATE_PURGING
	for _, r := range g.GetReplicas() {
		r.Phase, r.Voter = fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED, false
	}
	t.event("group-purging", words.Full(g), "", "the data of group %d, which was banned, is being removed", g.GetId())
	t.put(g)
	return done("")
}

// userOf is a group that is still to be loaded from g, or nil.
func (t *turn) userOf(g *fleetpb.Group) *fleetpb.Group {
	var user *fleetpb.Group
	t.groups.Ascend(func(o *fleetpb.Group) bool {
		opening := o.GetState() == fleetpb.GroupState_GROUP_STATE_LAUNCHING || o.GetState() == fleetpb.GroupState_GROUP_STATE_OPENING
		if opening && o.GetOrigin().GetGroup() == g.GetId() {
			user = o
		}
		return user == nil
	})
	return user
}

// withOrigin gives a group its origin, if it has one.
func withOrigin(g *fleetpb.Group, o *fleetpb.Origin) *fleetpb.Group {
	if o != nil {
		g.Origin = proto.CloneOf(o)
	}
	return g
}
