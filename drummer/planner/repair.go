package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/planner/member"
	"github.com/drumline/drumline/drummer/planner/spread"
	"github.com/drumline/drumline/drummer/planner/survey"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/mutant"
)

// survey looks at a group's members, once for all checkers.
func (p *pass) survey(g *fleetpb.Group) *survey.Survey {
	if p.seated != g || p.surveyed == nil {
		p.seat(g, nil)
		s := p.spare
		if p.spare = nil; s == nil {
			s = &survey.Survey{}
		}
		p.fill(s, g)
		p.surveyed = s
	}
	return p.surveyed
}

// release lets the survey that was made last be used again.
func (p *pass) release() {
	if p.surveyed != nil {
		p.spare, p.surveyed = p.surveyed, nil
	}
}

// fill makes a survey.
func (p *pass) fill(s *survey.Survey, g *fleetpb.Group) {
	s.Fill(g, func(r *fleetpb.Replica) survey.Condition { return p.condition(g, r) })
}

// asleep tells whether a live voter is unloaded. To ask for the membership would load
// the group, and every group of a host that is restarted with it.
func (p *pass) asleep(g *fleetpb.Group) bool {
	return slices.ContainsFunc(g.GetReplicas(), func(r *fleetpb.Replica) bool {
		return member.Active(r) && r.GetVoter() && p.condition(g, r) == survey.Live && p.report(g, r).GetUnloaded()
	})
}

// repair takes the next step towards a group of exactly its wanted voters, all
// live. Each step leaves a live quorum of the voters that there are after it.
func (p *pass) repair(g *fleetpb.Group) {
	s := p.survey(g)
	stale := p.stale(g)
	if p.recordMembership(g) || s.Whole() && stale == nil {
		return
	}
	for i, r := range s.Voters {
		if s.Conds[i] != survey.Live {
			p.note(g, p.why(g, r))
		}
	}
	if !p.quorate(s) || s.Content() && stale == nil && p.asleep(g) || !p.current(s) {
		return
	}
	switch {
	case p.observed(g).Changing && !mutant.Is("two-changes"):
		p.note(g, "a change of its membership is on its way")
		return
	case p.Observed.Unsteady:
		p.note(g, "the supervisor was suspended a moment ago; it listens before it changes anything")
		return
	case p.braked:
		p.note(g, brakeReason)
		return
	}
	switch {
	case stale != nil:
		p.reason(g, "observer %d is no replica of the record any more; it is being removed", stale.GetId())
		p.change(s, drummerpb.ChangeKind_CHANGE_KIND_REMOVE, stale, "the record has given it up")
	case s.Candidate != nil:
		p.build(s)
	case len(s.Voters) > s.Want:
		p.shrink(s)
	case s.Short():
		p.requests = append(p.requests, replacement(s))
	}
}

// recordMembership brings the record up to the newest linearizable membership.
func (p *pass) recordMembership(g *fleetpb.Group) bool {
	seen := member.News(g, p.observed(g).Membership, p.observed(g).Absent)
	if seen == nil {
		return false
	}
	p.propose(recording, g, &fleetpb.Command{Op: &fleetpb.Command_Membership{Membership: seen}}, "the membership has changed")
	return true
}

// stale returns an observer of the group that the record gave once and has given up:
// its addition came true after all, later than anybody waited for it.
func (p *pass) stale(g *fleetpb.Group) *fleetpb.Replica {
	m := p.observed(g).Membership
	for _, id := range member.Sorted(m.GetObservers()) {
		r := member.Recorded(g, id)
		if r == nil && p.Fleet.Gave(ids.Replica(id)) || r != nil && !member.Active(r) {
			return &fleetpb.Replica{Id: id, HostId: m.GetObservers()[id]}
		}
	}
	return nil
}

// quorate tells whether the group has a live quorum. One that has lost it for good
// is never touched: only a person may give up what its dead may have known.
func (p *pass) quorate(s *survey.Survey) bool {
	need := member.Quorum(len(s.Voters))
	switch {
	case len(s.Voters)-len(s.Dead) < need:
		p.reason(s.Group, "its quorum is lost: %d of %d voters are dead; nothing is changed until enough of them return", len(s.Dead), len(s.Voters))
		return false
	case s.Alive < need:
		p.reason(s.Group, "it has no quorum: %d of %d voters are up, and %d are needed", s.Alive, len(s.Voters), need)
		return false
	}
	return true
}

// current makes sure that the membership planned on is the group's newest, read
// linearizably, and the one in the record; else it asks the leader for it.
func (p *pass) current(s *survey.Survey) bool {
	leader, rep := p.leader(s.Group)
	if leader == nil {
		p.leaderless(s.Group, "no leader serves")
		return false
	}
	m := p.observed(s.Group).Membership
	if m == nil || !mutant.Is("reported-membership") && m.GetConfigChange() < max(s.Group.GetConfigChange(), rep.GetConfigChange()) {
		p.note(s.Group, "its membership is being read")
		p.order(repairing, s.Group, leader, &drummerpb.Order{Body: &drummerpb.Order_Change{Change: &drummerpb.Change{}}}, "its membership is not known")
		return false
	}
	if id := member.Stranger(s.Group, m, p.Fleet.Gave); id != 0 {
		p.reason(s.Group, "replica %d is a member, and the record does not know it: a newer record exists, or existed", id)
		return false
	}
	s.Leader, s.Members = leader, m
	return true
}

// build takes the observer being built one step further, or takes it back.
func (p *pass) build(s *survey.Survey) {
	g, c := s.Group, s.Candidate
	if p.takeBack(s) {
		return
	}
	h := p.host(c.GetHostId())
	if !h.Connected || h.State != Up {
		p.reason(g, "%s; another host is chosen if that lasts %s", p.why(g, c), p.patience())
		return
	}
	if _, member := s.Members.GetObservers()[c.GetId()]; !member {
		p.reason(g, "replica %d on %s is being added as an observer", c.GetId(), p.name(c.GetHostId()))
		kind := drummerpb.ChangeKind_CHANGE_KIND_ADD_OBSERVER
		if mutant.Is("voter-first") {
			kind = drummerpb.ChangeKind_CHANGE_KIND_PROMOTE
		}
		p.change(s, kind, c, "it is to become a voter")
		return
	}
	if p.report(g, c) == nil {
		p.reason(g, "replica %d is being started on %s", c.GetId(), p.name(c.GetHostId()))
		p.order(repairing, g, c, startOrder(g, c), "it is a member, and does not run yet")
		return
	}
	if p.condition(g, c) != survey.Live {
		p.note(g, p.why(g, c))
		return
	}
	if !p.caughtUp(s, c) {
		p.reason(g, "replica %d on %s is catching up", c.GetId(), p.name(c.GetHostId()))
		p.ask(s, c)
		p.proven(s, nil) // asked now, the voters answer in the same time
		return
	}
	if len(s.Voters) >= s.Want && len(s.Dead) > 0 {
		p.removeDead(s)
		return
	}
	if need := member.Quorum(len(s.Voters) + 1); p.proven(s, nil)+1 < need {
		p.reason(g, "replica %d cannot be promoted before %d other voters have shown that they are up to date", c.GetId(), need-1)
		return
	}
	p.reason(g, "replica %d on %s is being promoted", c.GetId(), p.name(c.GetHostId()))
	p.change(s, drummerpb.ChangeKind_CHANGE_KIND_PROMOTE, c, "it has caught up")
}

// caughtUp tells whether a replica's host was heard, and the replica proved that it
// has all that was committed, just now. A leader that serves has it all.
func (p *pass) caughtUp(s *survey.Survey, r *fleetpb.Replica) bool {
	if p.host(r.GetHostId()).Age > Fresh {
		return false
	}
	at, ok := p.observed(s.Group).CaughtUp[ids.Replica(r.GetId())]
	return r == s.Leader || ok && p.Observed.Now-at <= Fresh
}

// ask orders the catch-up gate.
func (p *pass) ask(s *survey.Survey, r *fleetpb.Replica) {
	p.order(repairing, s.Group, r, &drummerpb.Order{Body: &drummerpb.Order_CatchUp{CatchUp: &drummerpb.CatchUp{}}},
		"it must have all that is committed before the next change")
}

// proven counts the voters, but for one, that are live and up to date, and asks
// those that may be. A voter that has just come back is live before it is up to date.
func (p *pass) proven(s *survey.Survey, except *fleetpb.Replica) int {
	n := 0
	for i, r := range s.Voters {
		switch {
		case r == except || s.Conds[i] != survey.Live:
		case p.caughtUp(s, r):
			n++
		case r != s.Leader:
			p.ask(s, r)
		}
	}
	return n
}

// patience is how long an observer's host may be silent: less than a voter's, for
// nothing is lost with an observer and the group waits for it.
func (p *pass) patience() time.Duration {
	return time.Duration(min(p.policy.GetDownAfterMs(), 3*p.policy.GetSuspectAfterMs())) * time.Millisecond
}

// takeBack removes an observer that is not needed any more, or whose host failed;
// which works before the removal of the dead one as after it, when another follows.
func (p *pass) takeBack(s *survey.Survey) bool {
	g, c := s.Group, s.Candidate
	h := p.host(c.GetHostId())
	refusal, refused := p.observed(g).Refused[ids.Replica(c.GetId())]
	var why string
	switch {
	case c.GetCancelled():
		why = "the operation was cancelled"
	case len(s.Voters) > s.Want && len(s.Dead) == 0:
		why = "the group has voters enough"
	case p.post(c.GetHostId()).empties():
		why = fmt.Sprintf("host %s is being emptied", p.name(c.GetHostId()))
	case !s.Short() && !s.Moves() && s.Alive == len(s.Voters):
		why = "every voter is up again"
	case !s.Short() && !s.Moves():
		p.reason(g, "replica %d is kept until every voter is up again", c.GetId())
		return true
	case refused && p.report(g, c) == nil:
		why = fmt.Sprintf("host %s refused to start it: %s", p.name(c.GetHostId()), refusal)
	case p.condition(g, c) == survey.Dead:
		why = p.why(g, c)
	case !p.fits(s):
		why = fmt.Sprintf("the voters that are left need none in region %s", p.region(c))
	case h.State == Suspect && h.Silent > p.patience():
		why = p.why(g, c)
	default:
		return false
	}
	p.reason(g, "replica %d is being taken back: %s", c.GetId(), why)
	p.change(s, drummerpb.ChangeKind_CHANGE_KIND_REMOVE, c, why)
	return true
}

// fits tells whether the group's rule still wants the observer where it is: since it
// was chosen, another voter may have died, and the one that it was to replace may
// have returned.
func (p *pass) fits(s *survey.Survey) bool {
	rules := s.Group.GetSpec().GetRegions()
	if len(rules) == 0 {
		return true
	}
	have := 0
	for i, r := range s.Voters {
		goes := s.Moves() && r == s.Victim && len(s.Dead) == 0
		if s.Conds[i] != survey.Dead && !goes && p.region(r) == p.region(s.Candidate) {
			have++
		}
	}
	return slices.ContainsFunc(rules, func(rule *fleetpb.RegionCount) bool {
		return rule.GetRegion() == p.region(s.Candidate) && have < int(rule.GetCount())
	})
}

// removeDead removes the voter that the observer replaces.
func (p *pass) removeDead(s *survey.Survey) {
	victim := s.Dead[0]
	for _, r := range s.Dead {
		if r.GetId() == s.Candidate.GetReplaces() {
			victim = r
		}
	}
	p.remove(s, victim, p.why(s.Group, victim))
}

// remove removes a voter, if a quorum of those that stay was heard just now, up to
// date.
func (p *pass) remove(s *survey.Survey, victim *fleetpb.Replica, why string) {
	have, need := p.proven(s, victim), member.Quorum(len(s.Voters)-1)
	if len(s.Voters) < 2 || have < need && !mutant.Is("no-quorum-check") {
		p.reason(s.Group, "replica %d cannot be removed before a quorum of the other voters have shown that they are up to date: %d of %d", victim.GetId(), have, need)
		return
	}
	p.reason(s.Group, "replica %d on %s is being removed", victim.GetId(), p.name(victim.GetHostId()))
	p.change(s, drummerpb.ChangeKind_CHANGE_KIND_REMOVE, victim, why)
}

// shrink removes a voter too many: a dead one first, then the one that a move took the
// place of, else the one that is missed least; never the leader while another can go.
func (p *pass) shrink(s *survey.Survey) {
	if len(s.Dead) > 0 {
		p.remove(s, s.Dead[0], "the group has a voter too many")
		return
	}
	victim, why := s.Victim, "it was moved"
	if victim != nil && !p.applied(s, victim) {
		p.reason(s.Group, "replica %d is removed once the one in its place has applied its promotion", victim.GetId())
		return
	}
	if victim == nil {
		victim, why = p.dispensable(s), "the group has a voter too many"
	}
	switch {
	case victim == nil:
		p.reason(s.Group, "it has %d voters and wants %d; none of those that are up can go", len(s.Voters), s.Want)
	case victim == s.Leader:
		p.transfer(s)
	default:
		p.remove(s, victim, why)
	}
}

// applied tells whether the voter that took the victim's place says of itself that it is
// one.
func (p *pass) applied(s *survey.Survey, victim *fleetpb.Replica) bool {
	for i, r := range s.Voters {
		if r.GetMove() && r.GetReplaces() == victim.GetId() && s.Conds[i] == survey.Live {
			return true
		}
	}
	return false
}

// dispensable chooses the voter that a group with too many can do without: one on a host
// that is emptied, else one that its rules want away, else the one whose going keeps the
// group spread best, on the fullest host.
func (p *pass) dispensable(s *survey.Survey) *fleetpb.Replica {
	counts := map[string]int{}
	for _, r := range s.Voters {
		counts[p.region(r)]++
	}
	var best *fleetpb.Replica
	for i, r := range s.Voters {
		if s.Conds[i] != survey.Live || !p.surplus(s.Group, r, counts) {
			continue
		}
		if best == nil || p.goesBefore(s, r, best) {
			best = r
		}
	}
	return best
}

// goesBefore tells whether a is missed less than b.
func (p *pass) goesBefore(s *survey.Survey, a, b *fleetpb.Replica) bool {
	x, y := p.post(a.GetHostId()), p.post(b.GetHostId())
	spec := s.Group.GetSpec()
	return cmp.Or(
		cmp.Compare(boolInt(a == s.Leader), boolInt(b == s.Leader)),
		cmp.Compare(boolInt(y.empties()), boolInt(x.empties())),
		cmp.Compare(boolInt(spread.Unfit(spec, y.rec) != ""), boolInt(spread.Unfit(spec, x.rec) != "")),
		cmp.Compare(spread.Crowding(p.holders(s.Voters, a)), spread.Crowding(p.holders(s.Voters, b))),
		lighter(y, x),
	) < 0
}

func (p *pass) region(r *fleetpb.Replica) string {
	return p.post(r.GetHostId()).rec.GetRegion()
}

// surplus tells whether the group's rule allows the voter to go.
func (p *pass) surplus(g *fleetpb.Group, r *fleetpb.Replica, counts map[string]int) bool {
	if len(g.GetSpec().GetRegions()) == 0 {
		return true
	}
	return counts[p.region(r)] > spread.RuleOf(g.GetSpec(), p.region(r))
}

// transfer hands the leadership to another voter, so that the leader can go.
func (p *pass) transfer(s *survey.Survey) {
	to := p.successor(s, func(at *post) bool { return at.leadable() })
	if to == nil {
		to = p.successor(s, func(*post) bool { return true })
	}
	if to == nil {
		p.note(s.Group, "its leader is a voter too many, and no other voter is up")
		return
	}
	p.reason(s.Group, "its leader is a voter too many; replica %d is asked to lead", to.GetId())
	p.handOver(repairing, s.Group, s.Leader, to, "the leader is to be removed")
}

// successor is the live voter beside the leader, on a host that is fit, that leads the
// fewest groups; nil for none.
func (p *pass) successor(s *survey.Survey, fit func(*post) bool) *fleetpb.Replica {
	p.countLeads()
	var best *fleetpb.Replica
	for i, r := range s.Voters {
		at := p.post(r.GetHostId())
		if r == s.Leader || r == s.Victim || s.Conds[i] != survey.Live || !fit(at) {
			continue
		}
		if best == nil || at.leads < p.post(best.GetHostId()).leads {
			best = r
		}
	}
	return best
}

// handOver orders a leader to hand the lead over.
func (p *pass) handOver(at priority, g *fleetpb.Group, leader, to *fleetpb.Replica, why string) {
	p.post(leader.GetHostId()).leads--
	p.post(to.GetHostId()).leads++
	p.order(at, g, leader, &drummerpb.Order{Body: &drummerpb.Order_Transfer{Transfer: &drummerpb.Transfer{To: to.GetId()}}}, why)
}

// change orders a membership change at the leader's host.
func (p *pass) change(s *survey.Survey, kind drummerpb.ChangeKind, r *fleetpb.Replica, why string) {
	body := &drummerpb.Order_Change{Change: &drummerpb.Change{
		Kind: kind, Replica: r.GetId(), HostId: r.GetHostId(), ConfigChange: s.Members.GetConfigChange(),
	}}
	p.order(repairing, s.Group, s.Leader, &drummerpb.Order{Body: body}, why)
}

// moving tells whether a replica being built has a chance: one that is stuck must
// not hold a place that another group could use.
func (p *pass) moving(g *fleetpb.Group, c *fleetpb.Replica) bool {
	s := p.survey(g)
	return p.condition(g, c) != survey.Dead && s.Alive >= member.Quorum(len(s.Voters))
}
