package fleet

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/versions"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/statemachines"
)

// maxIdentities bounds the hosts whose ids are remembered, taken out ones included.
const maxIdentities = 10 * rules.MaxHosts

// setHost says what is wanted of a host.
func (t *turn) setHost(c *fleetpb.SetHost) *fleetpb.Result {
	if err := rules.CheckWanted(c.GetWanted()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	h := t.host(c.GetHostId())
	switch {
	case h == nil || h.GetRemoved():
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no host has the id %s", rules.Quote(c.GetHostId()))
	case h.GetLost():
		return refuse(fleetpb.Code_CODE_CONFLICT, "host %q is lost: its replicas are replaced, and it can be removed", h.GetName())
	}
	old, next := h.GetWanted(), clone(c.GetWanted())
	if next == nil {
		next = &fleetpb.HostWanted{}
	}
	same := old.GetDuty() == next.GetDuty()
	next.Operation, next.Empty = 0, false
	if same {
		next.Operation, next.Empty = old.GetOperation(), old.GetEmpty()
	}
	if proto.Equal(old, next) || old == nil && proto.Equal(next, &fleetpb.HostWanted{}) {
		return done("it is so already")
	}
	if !same {
		t.finish(old.GetOperation(), "cancelled: the host is "+words.DutyWord(next.GetDuty())+words.AskedBy(next.GetAuthor()))
		if words.Leaves(next.GetDuty()) {
			next.Operation = t.beginHost(h, next)
		}
	}
	h = clone(h)
	h.Wanted = next
	t.hosts.ReplaceOrInsert(h)
	t.event("host-wanted", "", h.GetName(), "%s%s", words.Wish(old, next), words.AskedBy(next.GetAuthor()))
	return done("")
}

func (t *turn) beginHost(h *fleetpb.Host, w *fleetpb.HostWanted) uint64 {
	kind := words.KindDrain
	if w.GetDuty() == fleetpb.HostDuty_HOST_DUTY_LEAVING {
		kind = words.KindLeave
	}
	o := t.open(kind, w.GetReason(), w.GetAuthor())
	o.Host, o.HostName = h.GetId(), h.GetName()
	t.operations.ReplaceOrInsert(o)
	t.reached(o.GetId(), "%d replicas were on it when it began", t.entries(h.GetId()))
	return o.GetId()
}

// hostEmptied notes that a drain or a decommission has reached its end.
func (t *turn) hostEmptied(c *fleetpb.HostEmptied) *fleetpb.Result {
	h := t.host(c.GetHostId())
	switch {
	case h == nil || h.GetRemoved():
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no host has the id %s", rules.Quote(c.GetHostId()))
	case !words.Leaves(h.GetWanted().GetDuty()):
		return refuse(fleetpb.Code_CODE_CONFLICT, "host %q is %s", h.GetName(), words.DutyWord(h.GetWanted().GetDuty()))
	case h.GetWanted().GetEmpty():
		return done("it is so already")
	}
	if n := t.entries(h.GetId()); n > 0 {
		return refuse(fleetpb.Code_CODE_CONFLICT, "host %q has %d replicas or leftovers of them", h.GetName(), n)
	}
	h = clone(h)
	t.reached(h.GetWanted().GetOperation(), "nothing is left on it")
	t.finish(h.GetWanted().GetOperation(), "done: nothing is left on it")
	h.Wanted.Operation, h.Wanted.Empty = 0, true
	t.hosts.ReplaceOrInsert(h)
	t.event("host-emptied", "", h.GetName(), "nothing is left on it")
	return done("")
}

// entries counts the replicas on a host, those whose data is to go included.
func (t *turn) entries(host string) int {
	n := 0
	t.groups.Ascend(func(g *fleetpb.Group) bool {
		for _, r := range g.GetReplicas() {
			if r.GetHostId() == host {
				n++
			}
		}
		return true
	})
	return n
}

// present counts the hosts that were not taken out.
func (t *turn) present() int {
	n := 0
	t.hosts.Ascend(func(h *fleetpb.Host) bool {
		if !h.GetRemoved() {
			n++
		}
		return true
	})
	return n
}

// removeHost takes a host out of every list. Its id is remembered, so that its data
// directory never comes back.
func (t *turn) removeHost(c *fleetpb.RemoveHost) *fleetpb.Result {
	if err := rules.CheckOptional("author", c.GetAuthor()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	h := t.host(c.GetHostId())
	switch left := h.GetWanted().GetEmpty() && h.GetWanted().GetDuty() == fleetpb.HostDuty_HOST_DUTY_LEAVING; {
	case h == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no host has the id %s", rules.Quote(c.GetHostId()))
	case h.GetRemoved():
		return done("it is so already")
	case !h.GetLost() && !left && !c.GetForce():
		return refuse(fleetpb.Code_CODE_CONFLICT, "host %q has not left: decommission it and wait, or force it when its data is gone for good", h.GetName())
	}
	if !h.GetLost() && !h.GetWanted().GetEmpty() {
		t.lose(h, "declared lost"+words.AskedBy(c.GetAuthor()))
	}
	h = clone(t.host(c.GetHostId()))
	t.finish(h.GetWanted().GetOperation(), "superseded: the host is removed")
	if n := t.entries(h.GetId()); n > 0 {
		h.Wanted = &fleetpb.HostWanted{Duty: fleetpb.HostDuty_HOST_DUTY_LEAVING, Author: c.GetAuthor()}
		t.hosts.ReplaceOrInsert(h)
		t.revision++
		return done("host %q is taken out once its %d replicas are replaced", h.GetName(), n)
	}
	t.event("host-removed", "", h.GetName(), "id %s is taken out for good%s", h.GetId(), words.AskedBy(c.GetAuthor()))
	t.hosts.ReplaceOrInsert(&fleetpb.Host{
		Id: h.GetId(), Name: h.GetName(), Api: h.GetApi(), Raft: h.GetRaft(), BootEpoch: h.GetBootEpoch(), Lost: true, Removed: true,
	})
	return done("")
}

// shapeGroups changes the specs of groups, each on its own.
func (t *turn) shapeGroups(c *fleetpb.ShapeGroups) *fleetpb.Result {
	if n := len(c.GetSpecs()); n == 0 || n > rules.MaxSpecsPerCommand {
		return refuse(fleetpb.Code_CODE_INVALID, "%d specs: want 1 to %d in one command", n, rules.MaxSpecsPerCommand)
	}
	if err := rules.CheckOptional("author", c.GetAuthor()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	result := done("")
	for _, spec := range c.GetSpecs() {
		item := CheckShape(&View{s: t.state}, spec)
		if item.GetCode() != fleetpb.Code_CODE_OK && result.GetCode() == fleetpb.Code_CODE_OK {
			result.Code, result.Detail = item.GetCode(), fmt.Sprintf("group %s: %s", rules.Quote(statemachines.NameOf(item)), item.GetDetail())
		}
		if item.GetCode() == fleetpb.Code_CODE_OK && item.GetDetail() == "" {
			t.shape(t.group(item.GetId()), spec, c.GetAuthor())
		}
		result.Items = append(result.Items, item)
	}
	return result
}

// CheckShape says what shape_groups would answer for the spec now, and changes nothing.
func CheckShape(v *View, spec *fleetpb.Spec) *fleetpb.ItemResult {
	item := &fleetpb.ItemResult{Name: spec.GetName(), Region: spec.GetRegion(), Code: fleetpb.Code_CODE_OK}
	if err := rules.CheckSpec(spec); err != nil {
		item.Code, item.Detail = fleetpb.Code_CODE_INVALID, err.Error()
		return item
	}
	g := v.ByName(statemachines.NameOf(spec))
	item.Id = g.GetId()
	switch {
	case g == nil:
		item.Code, item.Detail = fleetpb.Code_CODE_NOT_FOUND, "no group has that name"
	case proto.Equal(g.GetSpec(), spec):
		item.Detail = "it is so already"
	case rules.CheckTuning(g.GetSpec().GetRaft(), spec.GetRaft()) != nil:
		item.Code, item.Detail = fleetpb.Code_CODE_CONFLICT, rules.CheckTuning(g.GetSpec().GetRaft(), spec.GetRaft()).Error()
	case g.GetState() == fleetpb.GroupState_GROUP_STATE_SEALING:
		item.Code, item.Detail = fleetpb.Code_CODE_CONFLICT, "the group is being deleted"
	case g.GetState() == fleetpb.GroupState_GROUP_STATE_LAUNCHING && len(g.GetReplicas()) > 0:
		item.Code, item.Detail = fleetpb.Code_CODE_CONFLICT, "the group is being launched: change it when it is open"
	}
	return item
}

func (t *turn) shape(old *fleetpb.Group, spec *fleetpb.Spec, author string) {
	g := clone(old)
	g.Spec = clone(spec)
	from, to := old.GetSpec().GetReplicas(), spec.GetReplicas()
	switch {
	case g.GetState() == fleetpb.GroupState_GROUP_STATE_LAUNCHING || rules.Observes(g):
	case from != to:
		t.begin(g, words.KindResize, fmt.Sprintf("from %d to %d replicas", from, to), author)
		if rules.Voters(g) == int(to) { // an earlier change had not begun
			t.end(g, "done: it has as many")
		}
	case !rules.SameRaft(old.GetSpec().GetRaft(), spec.GetRaft()) && !t.builds(g):
		t.begin(g, words.KindTune, "Raft options: "+words.RaftOf(spec.GetRaft()), author)
	}
	t.event("group-changed", statemachines.NameOf(spec), "", "%d replicas were wanted, now %d%s%s", from, to, words.RulesOf(spec), words.AskedBy(author))
	t.put(g)
}

// preferLeader says which replica of a group shall lead.
func (t *turn) preferLeader(c *fleetpb.PreferLeader) *fleetpb.Result {
	if err := rules.CheckOptional("author", c.GetAuthor()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	g := t.named(statemachines.NameOf(c))
	r := replica(g, c.GetReplica())
	o := t.operation(g.GetOperation())
	switch {
	case g == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no group has the name %s", rules.Quote(statemachines.NameOf(c)))
	case g.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN:
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d is %s, which forbids it", g.GetId(), words.StateWord(g.GetState()))
	case c.GetReplica() != 0 && !r.GetVoter():
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d has no voter %d", g.GetId(), c.GetReplica())
	case o != nil && o.GetKind() != words.KindTransfer:
		return refuse(fleetpb.Code_CODE_CONFLICT, "operation %d of the group is under way, a %s: wait for its end or cancel it", o.GetId(), o.GetKind())
	case g.GetLead() == c.GetReplica() && (c.GetReplica() == 0 || o != nil):
		return done("it is so already")
	}
	g = clone(g)
	g.Lead = c.GetReplica()
	if c.GetReplica() == 0 {
		t.end(g, "cancelled"+words.AskedBy(c.GetAuthor()))
	} else {
		t.begin(g, words.KindTransfer, fmt.Sprintf("replica %d on host %s shall lead", r.GetId(), t.host(r.GetHostId()).GetName()), c.GetAuthor())
	}
	t.put(g)
	return done("")
}

// aimless ends a transfer to a replica that has no vote any more. Until version 4 it stayed.
func (t *turn) aimless(g *fleetpb.Group, lead uint64) {
	if t.version >= versions.AimlessEnd && t.operation(g.GetOperation()).GetKind() == words.KindTransfer {
		t.end(g, fmt.Sprintf("failed: replica %d is no voter any more", lead))
	}
}

// leaderSeen ends a transfer. What was preferred stays so.
func (t *turn) leaderSeen(c *fleetpb.LeaderSeen) *fleetpb.Result {
	g, refusal := t.find(c.GetGroup(), c.GetGeneration(), fleetpb.GroupState_GROUP_STATE_OPEN)
	if refusal != nil {
		return refusal
	}
	if t.operation(g.GetOperation()).GetKind() != words.KindTransfer {
		return done("it is so already")
	}
	g = clone(g)
	host := t.host(replica(g, g.GetLead()).GetHostId()).GetName()
	t.reached(g.GetOperation(), "replica %d on host %s leads", g.GetLead(), host)
	t.end(g, "done")
	t.event("leader-transferred", words.Full(g), host, "replica %d leads, as was asked for", g.GetLead())
	t.put(g)
	return done("")
}

// tuned ends a change of Raft options.
func (t *turn) tuned(c *fleetpb.Tuned) *fleetpb.Result {
	g, refusal := t.find(c.GetGroup(), c.GetGeneration(), fleetpb.GroupState_GROUP_STATE_OPEN)
	if refusal != nil {
		return refusal
	}
	if t.operation(g.GetOperation()).GetKind() != words.KindTune {
		return done("it is so already")
	}
	g = clone(g)
	for _, r := range g.GetReplicas() {
		if r.GetVoter() {
			t.reached(g.GetOperation(), "replica %d on host %s runs with %s", r.GetId(), t.host(r.GetHostId()).GetName(), words.RaftOf(g.GetSpec().GetRaft()))
		}
	}
	t.end(g, "done")
	t.event("group-tuned", words.Full(g), "", "every replica runs with its Raft options: %s", words.RaftOf(g.GetSpec().GetRaft()))
	t.put(g)
	return done("")
}
