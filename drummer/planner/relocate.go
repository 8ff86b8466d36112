package planner

import (
	"errors"
	"fmt"
	"slices"

	"github.com/drumline/drumline/drummer/fleet/words"
	"github.com/drumline/drumline/drummer/planner/member"
	"github.com/drumline/drumline/drummer/planner/spread"
	"github.com/drumline/drumline/drummer/planner/survey"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
)

const brakeReason = "the brake is on, for many hosts vanished at once: nothing is moved until they are back, or until somebody releases it"

// relocate asks for another host for a replica that is alive and shall not stay where it
// is: first those of hosts that are emptied, then those that break a rule. The leader of
// an emptied host goes first, by lead.
func (p *pass) relocate(g *fleetpb.Group) {
	if g.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN {
		return
	}
	s := p.survey(g)
	if !s.Content() || len(s.Voters) != s.Want || s.Alive < member.Quorum(s.Want) || p.stale(g) != nil {
		return
	}
	for i, r := range s.Voters {
		if at := p.post(r.GetHostId()); at.empties() && s.Conds[i] == survey.Live {
			if p.waitsForLead(s, r) {
				continue
			}
			p.reason(g, "replica %d is to leave host %s", r.GetId(), at.rec.GetName())
			p.requests = append(p.requests, request{
				group: g, repair: s, victim: r, kind: words.KindDrain, why: fmt.Sprintf("host %s is being emptied", at.rec.GetName()),
			})
			return
		}
	}
	if !s.Whole() {
		return
	}
	if r, why := p.misplaced(s); r != nil {
		p.reason(g, "replica %d on host %s breaks a rule of placement: %s", r.GetId(), p.name(r.GetHostId()), why)
		p.requests = append(p.requests, request{group: g, repair: s, victim: r, kind: words.KindPlace, why: why})
	}
}

// waitsForLead tells whether the replica leads and lead can hand that over first.
func (p *pass) waitsForLead(s *survey.Survey, r *fleetpb.Replica) bool {
	s.Leader, _ = p.leader(s.Group)
	return s.Leader == r && !p.braked && p.successor(s, (*post).leadable) != nil
}

// misplaced returns a voter that a rule wants elsewhere, and the rule in words.
func (p *pass) misplaced(s *survey.Survey) (*fleetpb.Replica, string) {
	i, why := spread.Misplaced(s.Group.GetSpec(), p.holders(s.Voters, nil))
	if i < 0 {
		return nil, ""
	}
	return s.Voters[i], why
}

// holders are the hosts of voters, without one.
func (p *pass) holders(voters []*fleetpb.Replica, without *fleetpb.Replica) []*fleetpb.Host {
	var at []*fleetpb.Host
	for _, r := range voters {
		if r != without {
			at = append(at, p.post(r.GetHostId()).rec)
		}
	}
	return at
}

// lead has the leadership handed over when the leader is where none shall be: first off
// hosts that are emptied or in maintenance, then to whom somebody chose, then to the
// regions that the spec prefers.
func (p *pass) lead(g *fleetpb.Group) {
	if g.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN || p.braked || p.observed(g).Changing {
		return
	}
	leader, _ := p.leader(g)
	if leader == nil {
		return
	}
	if g.GetLead() == leader.GetId() && p.Fleet.Operation(g.GetOperation()).GetKind() == words.KindTransfer {
		seen := &fleetpb.LeaderSeen{Group: g.GetId(), Generation: g.GetGeneration()}
		p.propose(recording, g, &fleetpb.Command{Op: &fleetpb.Command_LeaderSeen{LeaderSeen: seen}}, "the replica that was asked for leads")
		return
	}
	at := p.post(leader.GetHostId())
	if to, why := p.heir(g, leader, at); to != nil {
		p.reason(g, "replica %d on host %s is asked to lead: %s", to.GetId(), p.name(to.GetHostId()), why)
		p.handOver(serving, g, leader, to, why)
	}
}

// heir is the voter that shall lead instead of the leader, and why; nil for none.
func (p *pass) heir(g *fleetpb.Group, leader *fleetpb.Replica, at *post) (*fleetpb.Replica, string) {
	if at.empties() || at.seen.Maintained {
		s := p.survey(g)
		s.Leader = leader
		why := fmt.Sprintf("host %s shall lead nothing", at.rec.GetName())
		return p.successor(s, (*post).leadable), why
	}
	if slices.Contains(p.Fleet.Paused(), words.KindTransfer) {
		return nil, ""
	}
	if r := member.Recorded(g, g.GetLead()); r != nil {
		if r != leader && r.GetVoter() && p.post(r.GetHostId()).leadable() && p.condition(g, r) == survey.Live {
			return r, "somebody chose it"
		}
		return nil, ""
	}
	var best *fleetpb.Replica
	rank := p.rank(g, leader)
	for _, r := range g.GetReplicas() {
		if r.GetVoter() && p.rank(g, r) < rank && p.post(r.GetHostId()).leadable() && p.condition(g, r) == survey.Live {
			best, rank = r, p.rank(g, r)
		}
	}
	return best, "the group is to be led from there"
}

// rank is how much a replica's region is preferred for the lead; less is better.
func (p *pass) rank(g *fleetpb.Group, r *fleetpb.Replica) int {
	if i := slices.Index(g.GetSpec().GetLeaders(), p.region(r)); i >= 0 {
		return i
	}
	return len(g.GetSpec().GetLeaders())
}

// countLeads counts what each host leads, once a pass.
func (p *pass) countLeads() {
	if p.led {
		return
	}
	p.led = true
	slots := p.memo.Slots()
	for i := range slots {
		if s := p.verdict(&slots[i]); s.Leader >= 0 {
			p.at[s.At[s.Leader]].leads++
		} else {
			p.unled++
		}
	}
}

// Blockers says, group by group, what would keep a host from being emptied now, beside
// the limits that only make it wait; at most limit of them, and how many there are.
func Blockers(v View, host ids.Host, limit int) (list []string, total int) {
	p := newPass(v)
	p.policy = &fleetpb.Policy{OperationsPerHost: 1 << 30, OperationsTotal: 1 << 30, OperationsPerRegion: 1 << 30}
	at := p.post(string(host))
	at.rec = member.Emptied(at.rec)
	note := func(g *fleetpb.Group, text string) {
		if total++; len(list) < limit {
			list = append(list, fmt.Sprintf("group %s: %s", words.Full(g), text))
		}
	}
	for g := range v.Fleet.Groups() {
		i := slices.IndexFunc(g.GetReplicas(), func(r *fleetpb.Replica) bool { return r.GetHostId() == string(host) })
		if i < 0 {
			continue
		}
		s := p.survey(g)
		switch {
		case g.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN:
			note(g, "it is "+words.StateWord(g.GetState()))
			continue
		case !member.Active(g.GetReplicas()[i]):
			continue
		case s.Alive < member.Quorum(len(s.Voters)):
			note(g, fmt.Sprintf("it has no quorum: %d of %d voters are up", s.Alive, len(s.Voters)))
			continue
		}
		hosts, err := p.choose(&request{group: g, repair: s, victim: g.GetReplicas()[i]})
		if err != nil {
			note(g, err.Error())
			continue
		}
		hosts[0].load++
	}
	return list, total
}

// CheckMove says why the replica of a group on one host cannot be moved to another now, or
// returns its number.
func CheckMove(v View, g *fleetpb.Group, from, to ids.Host) (ids.Replica, error) {
	p := newPass(v)
	p.brake()
	s := p.survey(g)
	i := slices.IndexFunc(s.Voters, func(r *fleetpb.Replica) bool { return r.GetHostId() == string(from) })
	target := p.post(string(to))
	switch {
	case g.GetState() != fleetpb.GroupState_GROUP_STATE_OPEN:
		return 0, fmt.Errorf("the group is %s", words.StateWord(g.GetState()))
	case i < 0:
		return 0, errors.New("that host has no voter of it")
	case p.braked:
		return 0, errors.New(brakeReason)
	case !s.Whole():
		return 0, errors.New("the group is not whole; that comes first")
	case !target.up():
		return 0, errors.New("the other host is not up")
	}
	r := &request{group: g, repair: s, victim: s.Voters[i]}
	if text := p.obstacle(r, target); text != "" {
		return 0, fmt.Errorf("hosts that %s cannot be chosen", text)
	}
	f := spread.New[*post](g.GetSpec())
	for _, m := range s.Voters {
		if m != s.Voters[i] {
			f.Occupy(p.post(m.GetHostId()))
		}
	}
	if !f.Allowed(target) {
		return 0, errors.New("the group's rule of placement forbids it" + f.Rest())
	}
	return ids.Replica(s.Voters[i].GetId()), nil
}
