package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/drumline/drumline/drummer/planner/member"
	"github.com/drumline/drumline/drummer/planner/spread"
	drummerpb "github.com/drumline/drumline/drummerpb/drummer"
	fleetpb "github.com/drumline/drumline/drummerpb/fleet"
	"github.com/drumline/drumline/internal/ids"
	"github.com/drumline/drumline/internal/mutant"
)

// survey is a group's members by their condition.
type survey struct {
	group  *fleetpb.Group
	want   int
	voters []*fleetpb.Replica // by id
	conds  []condition        // of each voter
	alive  int
	dead   []*fleetpb.Replica
	// candidate is the observer being built; nil for none.
	candidate *fleetpb.Replica
	// victim is the live voter that a move takes away: the candidate, or a voter that was
	// it, is there in its place. Nil for none.
	victim *fleetpb.Replica

	// leader and members are set once the membership is known to be current.
	leader  *fleetpb.Replica
	members *drummerpb.Membership
}

// survey looks at a group's members, once for all checkers.
func (p *pass) survey(g *fleetpb.Group) *survey {
	if p.seated != g || p.surveyed == nil {
		p.seat(g, nil)
		p.surveyed = p.surveyOf(g)
	}
	return p.surveyed
}

func (p *pass) surveyOf(g *fleetpb.Group) *survey {
	s := &survey{group: g, want: int(g.GetSpec().GetReplicas()), candidate: member.Candidate(g)}
	for _, r := range g.GetReplicas() {
		if !member.Active(r) || !r.GetVoter() {
			continue
		}
		if s.voters == nil {
			n := len(g.GetReplicas())
			s.voters, s.conds = make([]*fleetpb.Replica, 0, n), make([]condition, 0, n)
		}
		c := p.condition(g, r)
		s.voters, s.conds = append(s.voters, r), append(s.conds, c)
		switch c {
		case live:
			s.alive++
		case dead:
			s.dead = append(s.dead, r)
		}
	}
	for _, r := range g.GetReplicas() {
		if old := member.Recorded(g, r.GetReplaces()); r.GetMove() && member.Active(r) && old != nil && member.Active(old) && old.GetVoter() {
			s.victim = old
		}
	}
	return s
}

// moves tells whether the candidate is to take a live voter's place.
func (s *survey) moves() bool {
	return s.victim != nil && s.candidate != nil && s.candidate.GetMove() && s.candidate.GetReplaces() == s.victim.GetId()
}

// whole tells whether nothing is to be done.
func (s *survey) whole() bool {
	return s.candidate == nil && len(s.voters) == s.want && s.alive == s.want
}

// short tells whether another voter is needed.
func (s *survey) short() bool { return len(s.dead) > 0 || len(s.voters) < s.want }

// content tells whether there is nothing to change about its members, as when a voter is
// away and may come back.
func (s *survey) content() bool {
	return s.candidate == nil && !s.short() && len(s.voters) <= s.want
}

// asleep tells whether a live voter is unloaded. To ask for the membership would load
// the group, and every group of a host that is restarted with it.
func (p *pass) asleep(g *fleetpb.Group) bool {
	return slices.ContainsFunc(g.GetReplicas(), func(r *fleetpb.Replica) bool {
		return member.Active(r) && r.GetVoter() && p.condition(g, r) == live && p.report(g, r).GetUnloaded()
	})
}

// repair takes the next step towards a group of exactly its wanted voters, all
// live. Each step leaves a live quorum of the voters that there are after it.
func (p *pass) repair(g *fleetpb.Group) {
	s := p.survey(g)
	stale := p.stale(g)
	if p.recordMembership(g) || s.whole() && stale == nil {
		return
	}
	for i, r := range s.voters {
		if s.conds[i] != live {
			p.reason(g, "%s", p.why(g, r))
		}
	}
	if !p.quorate(s) || s.content() && stale == nil && p.asleep(g) || !p.current(s) {
		return
	}
	switch {
	case p.observed(g).Changing && !mutant.Is("two-changes"):
		p.reason(g, "a change of its membership is on its way")
		return
	case p.Observed.Unsteady:
		p.reason(g, "the supervisor was suspended a moment ago; it listens before it changes anything")
		return
	case p.braked:
		p.reason(g, "%s", brakeReason)
		return
	}
	switch {
	case stale != nil:
		p.reason(g, "observer %d is no replica of the record any more; it is being removed", stale.GetId())
		p.change(s, drummerpb.ChangeKind_CHANGE_KIND_REMOVE, stale, "the record has given it up")
	case s.candidate != nil:
		p.build(s)
	case len(s.voters) > s.want:
		p.shrink(s)
	case s.short():
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
func (p *pass) quorate(s *survey) bool {
	need := member.Quorum(len(s.voters))
	switch {
	case len(s.voters)-len(s.dead) < need:
		p.reason(s.group, "its quorum is lost: %d of %d voters are dead; nothing is changed until enough of them return", len(s.dead), len(s.voters))
		return false
	case s.alive < need:
		p.reason(s.group, "it has no quorum: %d of %d voters are up, and %d are needed", s.alive, len(s.voters), need)
		return false
	}
	return true
}

// current makes sure that the membership planned on is the group's newest, read
// linearizably, and the one in the record; else it asks the leader for it.
func (p *pass) current(s *survey) bool {
	leader, rep := p.leader(s.group)
	if leader == nil {
		p.leaderless(s.group, "no leader serves")
		return false
	}
	m := p.observed(s.group).Membership
	if m == nil || !mutant.Is("reported-membership") && m.GetConfigChange() < max(s.group.GetConfigChange(), rep.GetConfigChange()) {
		p.reason(s.group, "its membership is being read")
		p.order(repairing, s.group, leader, &drummerpb.Order{Body: &drummerpb.Order_Change{Change: &drummerpb.Change{}}}, "its membership is not known")
		return false
	}
	for _, id := range slices.Concat(member.Sorted(m.GetVoters()), member.Sorted(m.GetObservers())) {
		_, observer := m.GetObservers()[id]
		if member.Recorded(s.group, id) == nil && !(observer && p.Fleet.Gave(ids.Replica(id))) {
			p.reason(s.group, "replica %d is a member, and the record does not know it: a newer record exists, or existed", id)
			return false
		}
	}
	s.leader, s.members = leader, m
	return true
}

// build takes the observer being built one step further, or takes it back.
func (p *pass) build(s *survey) {
	g, c := s.group, s.candidate
	if p.takeBack(s) {
		return
	}
	h := p.host(c.GetHostId())
	if !h.Connected || h.State != Up {
		p.reason(g, "%s; another host is chosen if that lasts %s", p.why(g, c), p.patience())
		return
	}
	if _, member := s.members.GetObservers()[c.GetId()]; !member {
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
	if p.condition(g, c) != live {
		p.reason(g, "%s", p.why(g, c))
		return
	}
	if !p.caughtUp(s, c) {
		p.reason(g, "replica %d on %s is catching up", c.GetId(), p.name(c.GetHostId()))
		p.ask(s, c)
		p.proven(s, nil) // asked now, the voters answer in the same time
		return
	}
	if len(s.voters) >= s.want && len(s.dead) > 0 {
		p.removeDead(s)
		return
	}
	if need := member.Quorum(len(s.voters) + 1); p.proven(s, nil)+1 < need {
		p.reason(g, "replica %d cannot be promoted before %d other voters have shown that they are up to date", c.GetId(), need-1)
		return
	}
	p.reason(g, "replica %d on %s is being promoted", c.GetId(), p.name(c.GetHostId()))
	p.change(s, drummerpb.ChangeKind_CHANGE_KIND_PROMOTE, c, "it has caught up")
}

// caughtUp tells whether a replica's host was heard, and the replica proved that it
// has all that was committed, just now. A leader that serves has it all.
func (p *pass) caughtUp(s *survey, r *fleetpb.Replica) bool {
	if p.host(r.GetHostId()).Age > Fresh {
		return false
	}
	at, ok := p.observed(s.group).CaughtUp[ids.Replica(r.GetId())]
	return r == s.leader || ok && p.Observed.Now-at <= Fresh
}

// ask orders the catch-up gate.
func (p *pass) ask(s *survey, r *fleetpb.Replica) {
	p.order(repairing, s.group, r, &drummerpb.Order{Body: &drummerpb.Order_CatchUp{CatchUp: &drummerpb.CatchUp{}}},
		"it must have all that is committed before the next change")
}

// proven counts the voters, but for one, that are live and up to date, and asks
// those that may be. A voter that has just come back is live before it is up to date.
func (p *pass) proven(s *survey, except *fleetpb.Replica) int {
	n := 0
	for i, r := range s.voters {
		switch {
		case r == except || s.conds[i] != live:
		case p.caughtUp(s, r):
			n++
		case r != s.leader:
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
func (p *pass) takeBack(s *survey) bool {
	g, c := s.group, s.candidate
	h := p.host(c.GetHostId())
	refusal, refused := p.observed(g).Refused[ids.Replica(c.GetId())]
	var why string
	switch {
	case c.GetCancelled():
		why = "the operation was cancelled"
	case len(s.voters) > s.want && len(s.dead) == 0:
		why = "the group has voters enough"
	case p.post(c.GetHostId()).empties():
		why = fmt.Sprintf("host %s is being emptied", p.name(c.GetHostId()))
	case !s.short() && !s.moves() && s.alive == len(s.voters):
		why = "every voter is up again"
	case !s.short() && !s.moves():
		p.reason(g, "replica %d is kept until every voter is up again", c.GetId())
		return true
	case refused && p.report(g, c) == nil:
		why = fmt.Sprintf("host %s refused to start it: %s", p.name(c.GetHostId()), refusal)
	case p.condition(g, c) == dead:
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
func (p *pass) fits(s *survey) bool {
	rules := s.group.GetSpec().GetRegions()
	if len(rules) == 0 {
		return true
	}
	have := 0
	for i, r := range s.voters {
		goes := s.moves() && r == s.victim && len(s.dead) == 0
		if s.conds[i] != dead && !goes && p.region(r) == p.region(s.candidate) {
			have++
		}
	}
	return slices.ContainsFunc(rules, func(rule *fleetpb.RegionCount) bool {
		return rule.GetRegion() == p.region(s.candidate) && have < int(rule.GetCount())
	})
}

// removeDead removes the voter that the observer replaces.
func (p *pass) removeDead(s *survey) {
	victim := s.dead[0]
	for _, r := range s.dead {
		if r.GetId() == s.candidate.GetReplaces() {
			victim = r
		}
	}
	p.remove(s, victim, p.why(s.group, victim))
}

// remove removes a voter, if a quorum of those that stay was heard just now, up to
// date.
func (p *pass) remove(s *survey, victim *fleetpb.Replica, why string) {
	have, need := p.proven(s, victim), member.Quorum(len(s.voters)-1)
	if len(s.voters) < 2 || have < need && !mutant.Is("no-quorum-check") {
		p.reason(s.group, "replica %d cannot be removed before a quorum of the other voters have shown that they are up to date: %d of %d", victim.GetId(), have, need)
		return
	}
	p.reason(s.group, "replica %d on %s is being removed", victim.GetId(), p.name(victim.GetHostId()))
	p.change(s, drummerpb.ChangeKind_CHANGE_KIND_REMOVE, victim, why)
}

// shrink removes a voter too many: a dead one first, then the one that a move took the
// place of, else the one that is missed least; never the leader while another can go.
func (p *pass) shrink(s *survey) {
	if len(s.dead) > 0 {
		p.remove(s, s.dead[0], "the group has a voter too many")
		return
	}
	victim, why := s.victim, "it was moved"
	if victim != nil && !p.applied(s, victim) {
		p.reason(s.group, "replica %d is removed once the one in its place has applied its promotion", victim.GetId())
		return
	}
	if victim == nil {
		victim, why = p.dispensable(s), "the group has a voter too many"
	}
	switch {
	case victim == nil:
		p.reason(s.group, "it has %d voters and wants %d; none of those that are up can go", len(s.voters), s.want)
	case victim == s.leader:
		p.transfer(s)
	default:
		p.remove(s, victim, why)
	}
}

// applied tells whether the voter that took the victim's place says of itself that it is
// one.
func (p *pass) applied(s *survey, victim *fleetpb.Replica) bool {
	for i, r := range s.voters {
		if r.GetMove() && r.GetReplaces() == victim.GetId() && s.conds[i] == live {
			return true
		}
	}
	return false
}

// dispensable chooses the voter that a group with too many can do without: one on a host
// that is emptied, else one that its rules want away, else the one whose going keeps the
// group spread best, on the fullest host.
func (p *pass) dispensable(s *survey) *fleetpb.Replica {
	counts := map[string]int{}
	for _, r := range s.voters {
		counts[p.region(r)]++
	}
	var best *fleetpb.Replica
	for i, r := range s.voters {
		if s.conds[i] != live || !p.surplus(s.group, r, counts) {
			continue
		}
		if best == nil || p.goesBefore(s, r, best) {
			best = r
		}
	}
	return best
}

// goesBefore tells whether a is missed less than b.
func (p *pass) goesBefore(s *survey, a, b *fleetpb.Replica) bool {
	x, y := p.post(a.GetHostId()), p.post(b.GetHostId())
	spec := s.group.GetSpec()
	return cmp.Or(
		cmp.Compare(boolInt(a == s.leader), boolInt(b == s.leader)),
		cmp.Compare(boolInt(y.empties()), boolInt(x.empties())),
		cmp.Compare(boolInt(spread.Unfit(spec, y.rec) != ""), boolInt(spread.Unfit(spec, x.rec) != "")),
		cmp.Compare(spread.Crowding(p.holders(s.voters, a)), spread.Crowding(p.holders(s.voters, b))),
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
func (p *pass) transfer(s *survey) {
	to := p.successor(s, func(at *post) bool { return at.leadable() })
	if to == nil {
		to = p.successor(s, func(*post) bool { return true })
	}
	if to == nil {
		p.reason(s.group, "its leader is a voter too many, and no other voter is up")
		return
	}
	p.reason(s.group, "its leader is a voter too many; replica %d is asked to lead", to.GetId())
	p.handOver(repairing, s.group, s.leader, to, "the leader is to be removed")
}

// successor is the live voter beside the leader, on a host that is fit, that leads the
// fewest groups; nil for none.
func (p *pass) successor(s *survey, fit func(*post) bool) *fleetpb.Replica {
	p.countLeads()
	var best *fleetpb.Replica
	for i, r := range s.voters {
		at := p.post(r.GetHostId())
		if r == s.leader || r == s.victim || s.conds[i] != live || !fit(at) {
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
func (p *pass) change(s *survey, kind drummerpb.ChangeKind, r *fleetpb.Replica, why string) {
	body := &drummerpb.Order_Change{Change: &drummerpb.Change{
		Kind: kind, Replica: r.GetId(), HostId: r.GetHostId(), ConfigChange: s.members.GetConfigChange(),
	}}
	p.order(repairing, s.group, s.leader, &drummerpb.Order{Body: body}, why)
}

// moving tells whether a replica being built has a chance: one that is stuck must
// not hold a place that another group could use.
func (p *pass) moving(g *fleetpb.Group, c *fleetpb.Replica) bool {
	s := p.survey(g)
	return p.condition(g, c) != dead && s.alive >= member.Quorum(len(s.voters))
}
