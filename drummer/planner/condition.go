package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/planner/member"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/mutant"
)

// condition of a replica as the supervisor sees it.
type condition int

const (
	// live: its host is up and says that it runs, in the role that it has.
	live condition = iota
	// rising: its host is up; the replica starts, or has not applied its promotion.
	rising
	// silent: its host is not heard, for less than it takes to be down.
	silent
	// dead: to be replaced.
	dead
)

// seat is a replica as a look sees it, found once for all checkers.
type seat struct {
	at   *post
	rep  *drummerpb.ReplicaReport // nil when its host says nothing of it
	cond condition
}

// seat returns that of a replica of the group.
func (p *pass) seat(g *fleetpb.Group, r *fleetpb.Replica) seat {
	if p.seated != g {
		p.seats, p.seated, p.surveyed = p.seats[:0], g, nil
		for _, r := range g.GetReplicas() {
			p.seats = append(p.seats, p.seatOf(g, r))
		}
	}
	if i := slices.Index(g.GetReplicas(), r); i >= 0 {
		return p.seats[i]
	}
	return p.seatOf(g, r)
}

func (p *pass) seatOf(g *fleetpb.Group, r *fleetpb.Replica) seat {
	at := p.post(r.GetHostId())
	rep := at.report(g, r)
	return seat{at, rep, p.judge(g, r, at, rep)}
}

// report returns what the replica's host says of it; nil when it says nothing.
func (p *pass) report(g *fleetpb.Group, r *fleetpb.Replica) *drummerpb.ReplicaReport {
	return p.seat(g, r).rep
}

// condition judges a replica.
func (p *pass) condition(g *fleetpb.Group, r *fleetpb.Replica) condition { return p.seat(g, r).cond }

// gaveUp tells whether a host is silent for longer than the group waits for it.
func gaveUp(g *fleetpb.Group, h *Host) bool {
	own := time.Duration(g.GetSpec().GetDownAfterMs()) * time.Millisecond
	return h.State == Lost || own == 0 && h.State == Down ||
		own > 0 && h.Silent > own && h.State != Up && !h.Maintained && !h.Unreachable
}

// judge is condition, for who knows the replica's host and report.
func (p *pass) judge(g *fleetpb.Group, r *fleetpb.Replica, at *post, rep *drummerpb.ReplicaReport) condition {
	h := at.seen
	switch {
	case gaveUp(g, h), h.State == Suspect && mutant.Is("no-hysteresis"):
		return dead
	case !h.Connected || h.State != Up:
		return silent
	case p.observed(g).Gone[ids.Replica(r.GetId())]:
		return dead
	case rep == nil && r.GetPhase() == fleetpb.ReplicaPhase_REPLICA_PHASE_PLANNED:
		return rising
	case rep == nil:
		return dead // a host reports its whole manifest: what it had is gone
	}
	switch rep.GetState() {
	case drummerpb.ReplicaState_REPLICA_STATE_OK:
		if r.GetVoter() && rep.GetObserver() {
			return rising
		}
		return live
	case drummerpb.ReplicaState_REPLICA_STATE_STARTING:
		return rising
	default:
		return dead
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
		text = fmt.Sprintf("is down, silent for %s", round(h.Silent))
	case h.Maintained && (!h.Connected || h.State != Up):
		text = fmt.Sprintf("is silent for %s, in maintenance", round(h.Silent))
	case h.Unreachable:
		text = h.Opinion.String()
	case !h.Connected || h.State != Up:
		text = fmt.Sprintf("is silent for %s, and is down after %s", round(h.Silent), down)
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
	return fmt.Sprintf("replica %d: host %s %s", r.GetId(), name, text)
}

// round makes a duration readable, and equal from pass to pass for a while.
func round(d time.Duration) time.Duration { return d.Truncate(time.Second) }

// leader returns the replica that serves as leader. One that another live replica knows a
// newer leader than has been deposed, and has not noticed yet.
func (p *pass) leader(g *fleetpb.Group) (*fleetpb.Replica, *drummerpb.ReplicaReport) {
	var at *fleetpb.Replica
	var best *drummerpb.ReplicaReport
	newest := uint64(0)
	for _, r := range g.GetReplicas() {
		s := p.seat(g, r)
		if !member.Active(r) || s.cond != live {
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
		if member.Active(r) && r.GetVoter() && p.condition(g, r) == live && p.report(g, r).GetUnloaded() {
			p.reason(g, "it is unloaded; replica %d on %s is being loaded, so that a leader is elected", r.GetId(), p.name(r.GetHostId()))
			p.order(repairing, g, r, &drummerpb.Order{Body: &drummerpb.Order_Change{Change: &drummerpb.Change{}}}, "it is unloaded, and a leader is needed")
			return
		}
	}
	p.reason(g, "%s", reason)
}

func groupID(g *fleetpb.Group) ids.Group { return ids.Group(g.GetId()) }
