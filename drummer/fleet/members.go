package fleet

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/mutant"
)

// replicasStarted records replicas that run: they never start from nothing again.
func (t *turn) replicasStarted(c *fleetpb.ReplicasStarted) *fleetpb.Result {
	g, refusal := t.replicasOf(c.GetGroup(), c.GetReplicas())
	if refusal != nil {
		return refusal
	}
	var started []uint64
	for _, id := range c.GetReplicas() {
		r := replica(g, id)
		if r == nil {
			return refuse(fleetpb.Code_CODE_INVALID, "group %d has no replica %d", g.GetId(), id)
		}
		if r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_PLANNED {
			started = append(started, id)
		}
	}
	if len(started) == 0 {
		return done("known already")
	}
	g = clone(g)
	for _, id := range started {
		replica(g, id).Phase = fleetpb.ReplicaPhase_REPLICA_PHASE_STARTED
		t.step(g, "replica %d runs", id)
	}
	t.put(g)
	return done("")
}

// replicasOf finds the group of a list of its replicas, and bounds the list.
func (t *turn) replicasOf(id uint64, replicas []uint64) (*fleetpb.Group, *fleetpb.Result) {
	if n := len(replicas); n == 0 || n > rules.MaxMembers {
		return nil, refuse(fleetpb.Code_CODE_INVALID, "%d replicas: want 1 to %d", n, rules.MaxMembers)
	}
	g := t.group(id)
	if g == nil {
		return nil, refuse(fleetpb.Code_CODE_NOT_FOUND, "no group has the number %d", id)
	}
	return g, nil
}

// addReplica plans an observer. A group has one at a time, and a host one replica
// of a group, even while the data of an earlier one is still there.
func (t *turn) addReplica(c *fleetpb.AddReplica) *fleetpb.Result {
	kind := cmp.Or(c.GetKind(), words.KindReplace)
	if err := rules.CheckAdd(c, kind); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	g, refusal := t.find(c.GetGroup(), c.GetGeneration(), fleetpb.GroupState_GROUP_STATE_OPENING, fleetpb.GroupState_GROUP_STATE_OPEN)
	if refusal != nil {
		return refusal
	}
	if err := rules.CheckTarget(g.GetSpec(), c.GetHostId(), t.host(c.GetHostId())); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "group %d: %v", g.GetId(), err)
	}
	if len(g.GetReplicas()) >= rules.MaxMembers {
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d has %d replicas and leftovers already", g.GetId(), rules.MaxMembers)
	}
	if r := replica(g, c.GetReplaces()); c.GetReplaces() != 0 && !r.GetVoter() {
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d has no voter %d to replace", g.GetId(), c.GetReplaces())
	}
	for _, r := range g.GetReplicas() {
		if r.GetHostId() == c.GetHostId() {
			return refuse(fleetpb.Code_CODE_CONFLICT, "host %q has replica %d of group %d", t.host(c.GetHostId()).GetName(), r.GetId(), g.GetId())
		}
		if !r.GetVoter() && r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
			return refuse(fleetpb.Code_CODE_CONFLICT, "replica %d of group %d is being built", r.GetId(), g.GetId())
		}
	}
	g = clone(g)
	g.Replicas = append(g.Replicas, &fleetpb.Replica{
		Id:       t.nextReplica,
		HostId:   t.host(c.GetHostId()).GetId(),
		Phase:    fleetpb.ReplicaPhase_REPLICA_PHASE_PLANNED,
		Joined:   true,
		Replaces: c.GetReplaces(),
		Move:     c.GetMove(),
	})
	if mutant.Is("reused-id") && c.GetReplaces() != 0 {
		g.Replicas[len(g.GetReplicas())-1].Id = c.GetReplaces()
	}
	t.nextReplica++
	if kind != words.KindResize || t.operation(g.GetOperation()).GetKind() != words.KindResize {
		t.begin(g, kind, c.GetReason(), c.GetAuthor())
	}
	t.step(g, "replica %d is planned on host %s", t.nextReplica-1, t.host(c.GetHostId()).GetName())
	t.event("replica-planned", words.Full(g), t.host(c.GetHostId()).GetName(), "replica %d: %s", t.nextReplica-1, c.GetReason())
	t.put(g)
	return done("")
}

// membershipSeen records what a linearizable read of the membership showed.
func (t *turn) membershipSeen(c *fleetpb.MembershipSeen) *fleetpb.Result {
	if err := rules.CheckMembership(c); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	g := t.group(c.GetGroup())
	switch {
	case g == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no group has the number %d", c.GetGroup())
	case words.Nameless(g):
		return done("the group is a tombstone, or banned")
	case c.GetConfigChange() < g.GetConfigChange():
		return done("a newer membership is known")
	}
	next := clone(g)
	next.ConfigChange = c.GetConfigChange()
	changed := g.GetConfigChange() != c.GetConfigChange()
	for _, r := range next.GetReplicas() {
		changed = t.seen(next, r, c) || changed
	}
	if !changed {
		return done("known already")
	}
	t.shaped(next)
	t.put(next)
	return done("")
}

// shaped ends what was under way about the group's members once it has those that it
// wants and none is being built.
func (t *turn) shaped(g *fleetpb.Group) {
	voters := 0
	for _, r := range g.GetReplicas() {
		if r.GetVoter() {
			voters++
		}
	}
	if voters != int(g.GetSpec().GetReplicas()) || rules.Observes(g) {
		return
	}
	for _, r := range g.GetReplicas() {
		r.Move = false
	}
	if t.builds(g) {
		t.end(g, "done")
	}
}

// seen brings one replica up to the membership and tells whether it changed.
func (t *turn) seen(g *fleetpb.Group, r *fleetpb.Replica, c *fleetpb.MembershipSeen) bool {
	if r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
		return false // ids that were removed never return
	}
	name, host := words.Full(g), t.host(r.GetHostId()).GetName()
	voter := slices.Contains(c.GetVoters(), r.GetId())
	switch {
	case slices.Contains(c.GetRemoved(), r.GetId()):
		r.Phase = fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED
		t.event("replica-removed", name, host, "replica %d is no member of group %d any more", r.GetId(), g.GetId())
		t.step(g, "replica %d on host %s is removed", r.GetId(), host)
		if !r.GetVoter() && t.builds(g) && t.operation(g.GetOperation()).GetKind() != words.KindResize {
			t.end(g, fmt.Sprintf("cancelled: replica %d was removed before it had a vote", r.GetId()))
		}
		r.Voter = false
		t.departed(g, r)
		return true
	case voter && !r.GetVoter():
		r.Voter, r.Cancelled = true, false
		t.event("replica-promoted", name, host, "replica %d has a vote in group %d", r.GetId(), g.GetId())
		t.step(g, "replica %d on host %s has a vote", r.GetId(), host)
		if !r.GetMove() && t.operation(g.GetOperation()).GetKind() == words.KindReplace {
			t.end(g, "done")
		}
		return true
	case !voter && r.GetVoter():
		r.Voter = false
		return true
	}
	return false
}

// departed ends the moves that were to replace a member that is gone.
func (t *turn) departed(g *fleetpb.Group, gone *fleetpb.Replica) {
	for _, r := range g.GetReplicas() {
		if !r.GetMove() || r.GetReplaces() != gone.GetId() {
			continue
		}
		r.Move = false
		if r.GetVoter() && t.builds(g) && t.operation(g.GetOperation()).GetKind() != words.KindResize {
			t.end(g, "done")
		}
	}
}

// purged drops replicas whose data is gone.
func (t *turn) purged(c *fleetpb.Purged) *fleetpb.Result {
	g, refusal := t.replicasOf(c.GetGroup(), c.GetReplicas())
	if refusal != nil {
		return refusal
	}
	for _, id := range c.GetReplicas() {
		if r := replica(g, id); r != nil && r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
			return refuse(fleetpb.Code_CODE_CONFLICT, "replica %d of group %d is a member", id, g.GetId())
		}
	}
	next := clone(g)
	next.Replicas = slices.DeleteFunc(next.Replicas, func(r *fleetpb.Replica) bool { return slices.Contains(c.GetReplicas(), r.GetId()) })
	if len(next.Replicas) == len(g.GetReplicas()) {
		return done("known already")
	}
	t.put(next)
	return done("")
}

func replica(g *fleetpb.Group, id uint64) *fleetpb.Replica {
	for _, r := range g.GetReplicas() {
		if r.GetId() == id {
			return r
		}
	}
	return nil
}
