package fleet

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// maxIdentities bounds the hosts whose ids are remembered, taken out ones included.
const maxIdentities = 10 * MaxHosts

// maxWeight of a host in percent.
const maxWeight = 10_000

// checkWanted says what is wrong with what is wanted of a host, or nil.
func checkWanted(w *fleetpb.HostWanted) error {
	_, known := fleetpb.HostDuty_name[int32(w.GetDuty())]
	switch {
	case !known:
		return fmt.Errorf("duty %d", w.GetDuty())
	case w.GetWeight() > maxWeight:
		return fmt.Errorf("a weight of %d: want 1 to %d percent", w.GetWeight(), maxWeight)
	case w.GetMaintenanceUntilUnixMs() < 0 || w.GetMaintenanceUntilUnixMs() > math.MaxInt64/2:
		return errors.New("a maintenance that ends at no time")
	case len(w.GetReason()) > MaxText:
		return fmt.Errorf("the reason has %d bytes, at most %d are kept", len(w.GetReason()), MaxText)
	}
	return errors.Join(checkOptional("reason", w.GetReason()), checkOptional("author", w.GetAuthor()))
}

// DutyWord is what is wanted of a host, for people.
func DutyWord(d fleetpb.HostDuty) string {
	switch d {
	case fleetpb.HostDuty_HOST_DUTY_CORDONED:
		return "cordoned"
	case fleetpb.HostDuty_HOST_DUTY_DRAINING:
		return "draining"
	case fleetpb.HostDuty_HOST_DUTY_LEAVING:
		return "leaving"
	default:
		return "serving"
	}
}

// Leaves tells whether a duty takes everything off its host.
func Leaves(d fleetpb.HostDuty) bool { return d >= fleetpb.HostDuty_HOST_DUTY_DRAINING }

// setHost says what is wanted of a host.
func (t *turn) setHost(c *fleetpb.SetHost) *fleetpb.Result {
	if err := checkWanted(c.GetWanted()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	h := t.host(c.GetHostId())
	switch {
	case h == nil || h.GetRemoved():
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no host has the id %s", quote(c.GetHostId()))
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
		t.finish(old.GetOperation(), "cancelled: the host is "+DutyWord(next.GetDuty())+askedBy(next.GetAuthor()))
		if Leaves(next.GetDuty()) {
			next.Operation = t.beginHost(h, next)
		}
	}
	h = clone(h)
	h.Wanted = next
	t.hosts.ReplaceOrInsert(h)
	t.event("host-wanted", "", h.GetName(), "%s%s", wish(old, next), askedBy(next.GetAuthor()))
	return done("")
}

// wish says what has changed, for the event.
func wish(old, next *fleetpb.HostWanted) string {
	var parts []string
	if old.GetDuty() != next.GetDuty() {
		parts = append(parts, DutyWord(next.GetDuty()))
	}
	if old.GetMaintenanceUntilUnixMs() != next.GetMaintenanceUntilUnixMs() {
		parts = append(parts, "maintenance until "+fmt.Sprint(next.GetMaintenanceUntilUnixMs())+" ms")
		if next.GetMaintenanceUntilUnixMs() == 0 {
			parts[len(parts)-1] = "no maintenance"
		}
	}
	if weight(old) != weight(next) {
		parts = append(parts, fmt.Sprintf("weight %d percent", weight(next)))
	}
	if next.GetReason() != "" {
		parts = append(parts, next.GetReason())
	}
	if len(parts) == 0 {
		return DutyWord(next.GetDuty())
	}
	return strings.Join(parts, ", ")
}

// weight in percent.
func weight(w *fleetpb.HostWanted) uint32 {
	if w.GetWeight() == 0 {
		return 100
	}
	return w.GetWeight()
}

// Weight of a host in percent of an ordinary one's share.
func Weight(h *fleetpb.Host) uint32 { return weight(h.GetWanted()) }

func (t *turn) beginHost(h *fleetpb.Host, w *fleetpb.HostWanted) uint64 {
	kind := KindDrain
	if w.GetDuty() == fleetpb.HostDuty_HOST_DUTY_LEAVING {
		kind = KindLeave
	}
	o := t.open(kind, w.GetReason(), w.GetAuthor())
	o.Host, o.HostName = h.GetId(), h.GetName()
	t.operations.ReplaceOrInsert(o)
	return o.GetId()
}

// hostEmptied notes that a drain or a decommission has reached its end.
func (t *turn) hostEmptied(c *fleetpb.HostEmptied) *fleetpb.Result {
	h := t.host(c.GetHostId())
	switch {
	case h == nil || h.GetRemoved():
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no host has the id %s", quote(c.GetHostId()))
	case !Leaves(h.GetWanted().GetDuty()):
		return refuse(fleetpb.Code_CODE_CONFLICT, "host %q is %s", h.GetName(), DutyWord(h.GetWanted().GetDuty()))
	case h.GetWanted().GetEmpty():
		return done("it is so already")
	}
	if n := t.entries(h.GetId()); n > 0 {
		return refuse(fleetpb.Code_CODE_CONFLICT, "host %q has %d replicas or leftovers of them", h.GetName(), n)
	}
	h = clone(h)
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
	if err := checkOptional("author", c.GetAuthor()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	h := t.host(c.GetHostId())
	switch left := h.GetWanted().GetEmpty() && h.GetWanted().GetDuty() == fleetpb.HostDuty_HOST_DUTY_LEAVING; {
	case h == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no host has the id %s", quote(c.GetHostId()))
	case h.GetRemoved():
		return done("it is so already")
	case !h.GetLost() && !left && !c.GetForce():
		return refuse(fleetpb.Code_CODE_CONFLICT, "host %q has not left: decommission it and wait, or force it when its data is gone for good", h.GetName())
	}
	if !h.GetLost() && !h.GetWanted().GetEmpty() {
		t.lose(h, "declared lost"+askedBy(c.GetAuthor()))
	}
	h = clone(t.host(c.GetHostId()))
	t.finish(h.GetWanted().GetOperation(), "superseded: the host is removed")
	if n := t.entries(h.GetId()); n > 0 {
		h.Wanted = &fleetpb.HostWanted{Duty: fleetpb.HostDuty_HOST_DUTY_LEAVING, Author: c.GetAuthor()}
		t.hosts.ReplaceOrInsert(h)
		t.revision++
		return done("host %q is taken out once its %d replicas are replaced", h.GetName(), n)
	}
	t.event("host-removed", "", h.GetName(), "id %s is taken out for good%s", h.GetId(), askedBy(c.GetAuthor()))
	t.hosts.ReplaceOrInsert(&fleetpb.Host{
		Id: h.GetId(), Name: h.GetName(), Api: h.GetApi(), Raft: h.GetRaft(), BootEpoch: h.GetBootEpoch(), Lost: true, Removed: true,
	})
	return done("")
}

// shapeGroups changes the specs of groups, each on its own.
func (t *turn) shapeGroups(c *fleetpb.ShapeGroups) *fleetpb.Result {
	if n := len(c.GetSpecs()); n == 0 || n > MaxSpecsPerCommand {
		return refuse(fleetpb.Code_CODE_INVALID, "%d specs: want 1 to %d in one command", n, MaxSpecsPerCommand)
	}
	if err := checkOptional("author", c.GetAuthor()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	result := done("")
	for _, spec := range c.GetSpecs() {
		item := CheckShape(&View{s: t.state}, spec)
		if item.GetCode() != fleetpb.Code_CODE_OK && result.GetCode() == fleetpb.Code_CODE_OK {
			result.Code, result.Detail = item.GetCode(), fmt.Sprintf("group %s: %s", quote(item.GetName()), item.GetDetail())
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
	item := &fleetpb.ItemResult{Name: spec.GetName(), Code: fleetpb.Code_CODE_OK}
	if err := CheckSpec(spec); err != nil {
		item.Code, item.Detail = fleetpb.Code_CODE_INVALID, err.Error()
		return item
	}
	g := v.ByName(spec.GetName())
	item.Id = g.GetId()
	switch {
	case g == nil:
		item.Code, item.Detail = fleetpb.Code_CODE_NOT_FOUND, "no group has that name"
	case proto.Equal(g.GetSpec(), spec):
		item.Detail = "it is so already"
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
	if from != to && g.GetState() != fleetpb.GroupState_GROUP_STATE_LAUNCHING && !t.observes(g) {
		t.begin(g, KindResize, fmt.Sprintf("from %d to %d replicas", from, to), author)
	}
	t.event("group-changed", spec.GetName(), "", "%d replicas were wanted, now %d%s%s", from, to, rulesOf(spec), askedBy(author))
	t.put(g)
}

// observes tells whether a replica of the group is being built, whose operation goes on.
func (t *turn) observes(g *fleetpb.Group) bool {
	return slices.ContainsFunc(g.GetReplicas(), func(r *fleetpb.Replica) bool {
		return !r.GetVoter() && r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED
	})
}

// rulesOf says where a spec wants its replicas, for the event.
func rulesOf(s *fleetpb.Spec) string {
	var parts []string
	for _, r := range s.GetRegions() {
		parts = append(parts, fmt.Sprintf("%d in %s", r.GetCount(), r.GetRegion()))
	}
	for _, l := range s.GetRequire() {
		parts = append(parts, "on "+l)
	}
	for _, l := range s.GetForbid() {
		parts = append(parts, "not on "+l)
	}
	if s.GetIsolation() != fleetpb.Isolation_ISOLATION_UNSPECIFIED {
		parts = append(parts, "isolated by "+isolationWord(s.GetIsolation()))
	}
	if len(s.GetLeaders()) > 0 {
		parts = append(parts, "led from "+strings.Join(s.GetLeaders(), ", "))
	}
	if len(parts) == 0 {
		return ""
	}
	return "; " + strings.Join(parts, ", ")
}

func isolationWord(i fleetpb.Isolation) string {
	if i == fleetpb.Isolation_ISOLATION_REGION {
		return "region"
	}
	return "zone"
}

// preferLeader says which replica of a group shall lead.
func (t *turn) preferLeader(c *fleetpb.PreferLeader) *fleetpb.Result {
	if err := checkOptional("author", c.GetAuthor()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	g := t.named(c.GetName())
	r := replica(g, c.GetReplica())
	o := t.operation(g.GetOperation())
	switch {
	case g == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no group has the name %s", quote(c.GetName()))
	case g.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN:
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d is %s, which forbids it", g.GetId(), StateWord(g.GetState()))
	case c.GetReplica() != 0 && !r.GetVoter():
		return refuse(fleetpb.Code_CODE_CONFLICT, "group %d has no voter %d", g.GetId(), c.GetReplica())
	case o != nil && o.GetKind() != KindTransfer:
		return refuse(fleetpb.Code_CODE_CONFLICT, "operation %d of the group is under way, a %s: wait for its end or cancel it", o.GetId(), o.GetKind())
	case g.GetLead() == c.GetReplica() && (c.GetReplica() == 0 || o != nil):
		return done("it is so already")
	}
	g = clone(g)
	g.Lead = c.GetReplica()
	if c.GetReplica() == 0 {
		t.end(g, "cancelled"+askedBy(c.GetAuthor()))
	} else {
		t.begin(g, KindTransfer, fmt.Sprintf("replica %d on host %s shall lead", r.GetId(), t.host(r.GetHostId()).GetName()), c.GetAuthor())
	}
	t.put(g)
	return done("")
}

// leaderSeen ends a transfer. What was preferred stays so.
func (t *turn) leaderSeen(c *fleetpb.LeaderSeen) *fleetpb.Result {
	g, refusal := t.find(c.GetGroup(), c.GetGeneration(), fleetpb.GroupState_GROUP_STATE_OPEN)
	if refusal != nil {
		return refusal
	}
	if t.operation(g.GetOperation()).GetKind() != KindTransfer {
		return done("it is so already")
	}
	g = clone(g)
	t.end(g, "done")
	t.event("leader-transferred", g.GetSpec().GetName(), t.host(replica(g, g.GetLead()).GetHostId()).GetName(), "replica %d leads, as was asked for", g.GetLead())
	t.put(g)
	return done("")
}

// checkRules says what is wrong with a spec's rules beside its regions, or nil.
func checkRules(s *fleetpb.Spec) error {
	if err := checkLabels(s.GetRequire()); err != nil {
		return fmt.Errorf("require: %w", err)
	}
	if err := checkLabels(s.GetForbid()); err != nil {
		return fmt.Errorf("forbid: %w", err)
	}
	for _, l := range s.GetRequire() {
		if slices.Contains(s.GetForbid(), l) {
			return fmt.Errorf("label %q is required and forbidden at once", l)
		}
	}
	if _, known := fleetpb.Isolation_name[int32(s.GetIsolation())]; !known {
		return fmt.Errorf("isolation %d is not known", s.GetIsolation())
	}
	for _, r := range s.GetRegions() {
		if s.GetIsolation() == fleetpb.Isolation_ISOLATION_REGION && r.GetCount() > 1 {
			return fmt.Errorf("region %q shall have %d replicas, and isolation by region allows one", r.GetRegion(), r.GetCount())
		}
	}
	return checkLeaders(s)
}

func checkLeaders(s *fleetpb.Spec) error {
	if len(s.GetLeaders()) > maxRegions {
		return fmt.Errorf("%d regions to lead from: at most %d make sense", len(s.GetLeaders()), maxRegions)
	}
	for i, region := range s.GetLeaders() {
		if err := checkText("region to lead from", region); err != nil {
			return err
		}
		if slices.Contains(s.GetLeaders()[:i], region) {
			return fmt.Errorf("region %q shall lead twice", region)
		}
		ruled := func(r *fleetpb.RegionCount) bool { return r.GetRegion() == region }
		if len(s.GetRegions()) > 0 && !slices.ContainsFunc(s.GetRegions(), ruled) {
			return fmt.Errorf("region %q shall lead, and the rule has no replica there", region)
		}
	}
	const most = 7 * 24 * 3600 * 1000
	if ms := s.GetDownAfterMs(); ms != 0 && (ms < 1000 || ms > most) {
		return fmt.Errorf("down_after of %d ms: want 1s to a week", ms)
	}
	return nil
}
