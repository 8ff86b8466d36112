package planner

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/drumline/drumline/drummer/planner/member"
	"github.com/drumline/drumline/drummer/planner/survey"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/mutant"
)

// seat is a replica as a look sees it, found once for all checkers.
type seat struct {
	at   *post
	rep  *drummerpb.ReplicaReport // nil when its host says nothing of it
	cond survey.Condition
}

// seat returns that of a replica of the group.
func (p *pass) seat(g *fleetpb.Group, r *fleetpb.Replica) seat {
	if p.seated != g {
		p.seats, p.seated, p.surveyed = p.seats[:0], g, nil
		slot := p.memo.Slot(groupID(g))
		for i, r := range g.GetReplicas() {
			if slot != nil && slot.Group == g { // where its replicas are was found before
				p.seats = append(p.seats, p.seatAt(p.at[slot.At[i]], g, r))
			} else {
				p.seats = append(p.seats, p.seatAt(p.post(r.GetHostId()), g, r))
			}
		}
	}
	if i := slices.Index(g.GetReplicas(), r); i >= 0 {
		return p.seats[i]
	}
	return p.seatAt(p.post(r.GetHostId()), g, r)
}

func (p *pass) seatAt(at *post, g *fleetpb.Group, r *fleetpb.Replica) seat {
	rep := at.report(g, r)
	return seat{at, rep, p.judge(g, r, at, rep)}
}

// report returns what the replica's host says of it; nil when it says nothing.
func (p *pass) report(g *fleetpb.Group, r *fleetpb.Replica) *drummerpb.ReplicaReport {
	return p.seat(g, r).rep
}

// condition judges a replica.
func (p *pass) condition(g *fleetpb.Group, r *fleetpb.Replica) survey.Condition {
	return p.seat(g, r).cond
}

// gaveUp tells whether a host is silent for longer than the group waits for it.
func gaveUp(g *fleetpb.Group, h *Host) bool {
	own := time.Duration(g.GetSpec().GetDownAfterMs()) * time.Millisecond
	return h.State == Lost || own == 0 && h.State == Down ||
		own > 0 && h.Silent > own && h.State != Up && !h.Maintained && !h.Unreachable
}

// judge is condition, for who knows the replica's host and report.
func (p *pass) judge(g *fleetpb.Group, r *fleetpb.Replica, at *post, rep *drummerpb.ReplicaReport) survey.Condition {
	h := at.seen
	switch {
	case gaveUp(g, h), h.State == Suspect && mutant.Is("no-hysteresis"):
		return survey.Dead
	case !h.Connected || h.State != Up:
		return survey.Silent
	case p.observed(g).Gone[ids.Replica(r.GetId())]:
		return survey.Dead
	case rep == nil && r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_PLANNED:
		return survey.Rising
	case rep == nil:
		return survey.Dead // a host reports its whole manifest: what it had is gone
	}
	switch rep.GetState() {
	case drummerpb.ReplicaState_REPLICA_STATE_OK:
		if r.GetVoter() && rep.GetObserver() {
			return survey.Rising
		}
		return survey.Live
	case drummerpb.ReplicaState_REPLICA_STATE_STARTING:
		return survey.Rising
	default:
		return survey.Dead
	}
}

// why tells in words why a replica is not live.
func (p *pass) why(g *fleetpb.Group, r *fleetpb.Replica) string {
	h, rep := p.host(r.GetHostId()), p.report(g, r)
	name := p.name(r.GetHostId())
	down := time.Duration(cmp.Or(g.GetSpec().GetDownAfterMs(), p.policy.GetDownAfterMs())) * time.Millisecond
	var text string
	switch {
	case h.State == Lost:
		text = "is lost"
	case gaveUp(g, h):
		text = "is down, silent for " + round(h.Silent)
	case h.Maintained && (!h.Connected || h.State != Up):
		text = "is silent for " + round(h.Silent) + ", in maintenance"
	case h.Unreachable:
		text = h.Opinion.String()
	case !h.Connected || h.State != Up:
		text = "is silent for " + round(h.Silent) + ", and is down after " + down.String()
	case rep == nil && r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_PLANNED:
		text = "has not said yet that it runs it"
	case rep == nil || p.observed(g).Gone[ids.Replica(r.GetId())]:
		text = "has it no more: its data is gone"
	case rep.GetState() == drummerpb.ReplicaState_REPLICA_STATE_STARTING:
		text = "is starting it"
	case rep.GetState() == drummerpb.ReplicaState_REPLICA_STATE_OK:
		text = "runs it, and it has not applied its promotion yet"
	default:
		text = "cannot run it: " + rep.GetDetail()
	}
	return "replica " + strconv.FormatUint(r.GetId(), 10) + ": host " + name + " " + text
}

// round makes a duration readable, and equal from pass to pass for a while.
func round(d time.Duration) string { return d.Truncate(time.Second).String() }

// leader returns the replica that serves as leader. One that another live replica knows a
// newer leader than has been deposed, and has not noticed yet.
func (p *pass) leader(g *fleetpb.Group) (*fleetpb.Replica, *drummerpb.ReplicaReport) {
	var at *fleetpb.Replica
	var best *drummerpb.ReplicaReport
	newest := uint64(0)
	for _, r := range g.GetReplicas() {
		s := p.seat(g, r)
		if !member.Active(r) || s.cond != survey.Live {
			continue
		}
		newest = max(newest, s.rep.GetTerm())
		if rep := s.rep; rep.GetServing() && (best == nil || rep.GetTerm() > best.GetTerm()) {
			at, best = r, rep
		}
	}
	if best.GetTerm() < newest {
		return nil, nil
	}
	return at, best
}

// leaderless notes that nothing can be done without a leader. A replica that is
// unloaded is asked for the membership: it is loaded for that, and has a leader elected.
func (p *pass) leaderless(g *fleetpb.Group, reason string) {
	for _, r := range g.GetReplicas() {
		if member.Active(r) && r.GetVoter() && p.condition(g, r) == survey.Live && p.report(g, r).GetUnloaded() {
			p.reason(g, "it is unloaded; replica %d on %s is being loaded, so that a leader is elected", r.GetId(), p.name(r.GetHostId()))
			p.order(repairing, g, r, &drummerpb.Order{Body: &drummerpb.Order_Change{Change: &drummerpb.Change{}}}, "it is unloaded, and a leader is needed")
			return
		}
	}
	p.note(g, reason)
}

func groupID(g *fleetpb.Group) ids.Group { return ids.Group(g.GetId()) }
