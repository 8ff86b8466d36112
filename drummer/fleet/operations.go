package fleet

import (
	"errors"
	"fmt"
	"slices"

	"github.com/drumline/drumline/drummer/fleet/rules"
	"github.com/drumline/drumline/drummer/fleet/versions"
	"github.com/drumline/drumline/drummer/fleet/words"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
)

// maxSteps bounds what is noted of one operation.
const maxSteps = 64

// begin starts an operation of the group, which the caller is about to store; one
// that still runs is superseded.
func (t *turn) begin(g *fleetpb.Group, kind, reason, author string) {
	t.end(g, "superseded: "+kind)
	o := t.open(kind, reason, author)
	o.Group, o.GroupName, o.GroupRegion = g.GetId(), g.GetSpec().GetName(), g.GetSpec().GetRegion()
	t.operations.ReplaceOrInsert(o)
	g.Operation = o.GetId()
}

// open makes an operation that the caller stores.
func (t *turn) open(kind, reason, author string) *fleetpb.Operation {
	o := &fleetpb.Operation{
		Id: t.nextOperation, Kind: kind, Reason: reason, Author: author, StartedUnixMs: t.at,
	}
	if kind != words.KindLaunch && kind != words.KindDelete { // those wait for hosts as long as it takes
		o.DeadlineUnixMs = t.at + t.policy.GetOperationDeadlineMs()
	}
	t.nextOperation++
	return o
}

// end ends the group's operation, if one runs.
func (t *turn) end(g *fleetpb.Group, result string) {
	t.finish(g.GetOperation(), result)
	g.Operation = 0
}

// finish ends an operation, if it runs, and forgets the oldest beyond the bound.
func (t *turn) finish(id uint64, result string) {
	o := t.operation(id)
	if o == nil || o.GetEndedUnixMs() != 0 {
		return
	}
	o = clone(o)
	o.EndedUnixMs, o.Result = t.at, result
	if o.GetEndedUnixMs() == 0 {
		o.EndedUnixMs = 1 // zero means that it runs
	}
	t.operations.ReplaceOrInsert(o)
	t.ended.ReplaceOrInsert(o.GetId())
	if t.ended.Len() > keptOperations {
		oldest, _ := t.ended.DeleteMin()
		t.operations.Delete(oldest)
	}
}

// step notes what the group's operation has reached.
func (t *turn) step(g *fleetpb.Group, format string, args ...any) {
	t.note(g.GetOperation(), format, args...)
}

// reached notes how an operation that changes no replica ends, or a host's begins: the record
// does not see what lies between. Until version 3 nothing of that was noted.
func (t *turn) reached(id uint64, format string, args ...any) {
	if t.version >= versions.EndsNoted {
		t.note(id, format, args...)
	}
}

func (t *turn) note(id uint64, format string, args ...any) {
	o := t.operation(id)
	if o == nil || len(o.GetSteps()) >= maxSteps {
		return
	}
	o = clone(o)
	o.Steps = append(o.Steps, fmt.Sprintf(format, args...))
	t.operations.ReplaceOrInsert(o)
}

// builds tells whether the group's operation builds a replica: a launch or a deletion
// goes on while members change.
func (t *turn) builds(g *fleetpb.Group) bool {
	return slices.Contains(words.BuildKinds(), t.operation(g.GetOperation()).GetKind())
}

// cancelOperation gives an operation up. An observer that is being built is taken back;
// once it has its vote the operation goes on to its end.
func (t *turn) cancelOperation(c *fleetpb.CancelOperation) *fleetpb.Result {
	if err := rules.CheckOptional("author", c.GetAuthor()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	o := t.operation(c.GetId())
	switch {
	case o == nil:
		return refuse(fleetpb.Code_CODE_NOT_FOUND, "no operation has the id %d", c.GetId())
	case o.GetEndedUnixMs() != 0:
		return refuse(fleetpb.Code_CODE_CONFLICT, "operation %d has ended: %s", o.GetId(), o.GetResult())
	case o.GetHost() != "":
		return t.cancelHost(o, c.GetAuthor())
	}
	g := clone(t.group(o.GetGroup()))
	switch o.GetKind() {
	case words.KindLaunch, words.KindDelete:
		return refuse(fleetpb.Code_CODE_CONFLICT, "operation %d is a %s, which goes on to its end; a launch ends with the deletion of its group", o.GetId(), o.GetKind())
	case words.KindTransfer:
		g.Lead = 0
		t.end(g, "cancelled"+words.AskedBy(c.GetAuthor()))
		t.put(g)
		return done("")
	}
	for _, r := range g.GetReplicas() {
		if !r.GetVoter() && r.GetPhase() != fleetpb.ReplicaPhase_REPLICA_PHASE_REMOVED {
			r.Cancelled = true
			t.step(g, "replica %d is to be taken back: cancelled%s", r.GetId(), words.AskedBy(c.GetAuthor()))
			t.event("operation-cancelled", words.Full(g), t.host(r.GetHostId()).GetName(), "operation %d, replica %d is taken back%s", o.GetId(), r.GetId(), words.AskedBy(c.GetAuthor()))
			t.put(g)
			return done("")
		}
	}
	return refuse(fleetpb.Code_CODE_CONFLICT, "operation %d has no replica to take back any more: it goes on to its end", o.GetId())
}

// cancelHost ends a host's drain: it serves again.
func (t *turn) cancelHost(o *fleetpb.Operation, author string) *fleetpb.Result {
	wanted := clone(t.host(o.GetHost()).GetWanted())
	wanted.Duty, wanted.Author = fleetpb.HostDuty_HOST_DUTY_UNSPECIFIED, author
	return t.setHost(&fleetpb.SetHost{HostId: o.GetHost(), Wanted: wanted})
}

// pause stops or resumes new operations of a kind; those that run go on.
func (t *turn) pause(c *fleetpb.Pause) *fleetpb.Result {
	if err := errors.Join(rules.CheckKind(c.GetKind()), rules.CheckOptional("author", c.GetAuthor())); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	at, paused := slices.BinarySearch(t.paused, c.GetKind())
	if paused != c.GetResume() {
		return done("it is so already")
	}
	if c.GetResume() {
		t.paused = slices.Delete(slices.Clone(t.paused), at, at+1)
		t.event("operations-resumed", "", "", "kind %s%s", c.GetKind(), words.AskedBy(c.GetAuthor()))
	} else {
		t.paused = slices.Insert(slices.Clone(t.paused), at, c.GetKind())
		t.event("operations-paused", "", "", "kind %s%s", c.GetKind(), words.AskedBy(c.GetAuthor()))
	}
	return done("")
}

// setBrake engages or releases the brake.
func (t *turn) setBrake(c *fleetpb.SetBrake) *fleetpb.Result {
	if len(c.GetReason()) > rules.MaxReason || len(c.GetAccepted()) > rules.MaxHosts {
		return refuse(fleetpb.Code_CODE_INVALID, "a reason of %d bytes and %d hosts: at most %d and %d are kept", len(c.GetReason()), len(c.GetAccepted()), rules.MaxReason, rules.MaxHosts)
	}
	if err := rules.CheckOptional("author", c.GetAuthor()); err != nil {
		return refuse(fleetpb.Code_CODE_INVALID, "%v", err)
	}
	var accepted []string
	for _, id := range c.GetAccepted() {
		if h := t.host(id); h != nil && !h.GetLost() {
			accepted = append(accepted, h.GetId())
		}
	}
	slices.Sort(accepted)
	accepted = slices.Compact(accepted)
	old := t.brake
	if old.GetEngaged() == c.GetEngaged() && slices.Equal(old.GetAccepted(), accepted) {
		return done("it is so already")
	}
	next := &fleetpb.Brake{Engaged: c.GetEngaged(), Accepted: accepted}
	if next.GetEngaged() {
		next.Reason, next.SinceUnixMs = c.GetReason(), t.at
	}
	t.brake = next
	t.revision++
	switch {
	case old.GetEngaged() == c.GetEngaged():
	case c.GetEngaged():
		t.event("brake-engaged", "", "", "%s: nothing is moved", c.GetReason())
	default:
		t.event("brake-released", "", "", "%s%s", c.GetReason(), words.AskedBy(c.GetAuthor()))
	}
	return done("")
}
