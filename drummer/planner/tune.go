package planner

import (
	"slices"

	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/planner/member"
	"github.com/drumline/drumline/drummer/planner/survey"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/mutant"
)

// tunes tells whether a change of the group's Raft options is under way.
func (p *pass) tunes(g *fleetpb.Group) bool {
	return g.GetOperation() != 0 && p.Fleet.Operation(g.GetOperation()).GetKind() == words.KindTune
}

// tune has replicas that run with other Raft options than the group's stopped and started
// with those: one at a time, while all others are up and a quorum of them has shown that it
// is up to date, and the leader last, once it has handed over. Nothing else hands
// the lead over in the same look.
func (p *pass) tune(g *fleetpb.Group) {
	s := p.survey(g)
	odd := member.Odd(g, s.Voters, func(r *fleetpb.Replica) *drummerpb.ReplicaReport { return p.report(g, r) })
	switch {
	case g.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN:
	case len(odd) > 0:
		p.reason(g, "%d of its replicas run with other Raft options than the group's", len(odd))
		if !slices.Contains(p.Fleet.Paused(), words.KindTune) {
			p.tuneNext(s, odd)
		}
	case s.Whole() && p.tunes(g):
		tuned := &fleetpb.Tuned{Group: g.GetId(), Generation: g.GetGeneration()}
		p.propose(recording, g, &fleetpb.Command{Op: &fleetpb.Command_Tuned{Tuned: tuned}}, "every replica runs with the group's Raft options")
	}
}

// tuneNext tunes one of the replicas that run with other options, if that is safe now. One
// that is unloaded does not run at all.
func (p *pass) tuneNext(s *survey.Survey, odd []*fleetpb.Replica) {
	g := s.Group
	at := mutant.Is("tune-at-once")
	if !at && (!s.Whole() || p.observed(g).Changing) || p.braked || p.Observed.Unsteady {
		return
	}
	p.busy[ids.Group(g.GetId())] = true
	s.Leader, _ = p.leader(g)
	victim := odd[0]
	if victim == s.Leader && len(odd) > 1 {
		victim = odd[1]
	}
	others := len(s.Voters) - 1
	switch need := min(member.Quorum(len(s.Voters)), others); {
	case p.report(g, victim).GetUnloaded():
	case s.Leader == nil:
		p.leaderless(g, "no leader serves")
		return
	case !at && p.proven(s, victim) < need:
		p.reason(g, "replica %d is restarted once a quorum of the other voters have shown that they are up to date", victim.GetId())
		return
	case victim == s.Leader && others > 0:
		if to := p.successor(s, func(*post) bool { return true }); to != nil {
			p.handOver(serving, g, victim, to, "the leader is to be restarted with other Raft options")
		}
		return
	}
	p.order(serving, g, victim, &drummerpb.Order{Body: &drummerpb.Order_Tune{Tune: &drummerpb.Tune{Raft: g.GetSpec().GetRaft()}}}, "it runs with other Raft options than the group's")
}
